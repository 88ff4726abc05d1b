"""One clip's result as a row of a Parquet file."""

import io
import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from lmaczs.errors import LMACError
from lmaczs.metrics.registry import explanation_keys
from lmaczs.results import result_row
from lmaczs.types import ExplainResult

if TYPE_CHECKING:
    import pyarrow

Row = dict[str, Any]
GROUP = 1000  # rows in memory at once
TEXT_COLUMNS = ("path", "sha256", "error", "prompt", "predicted", "evidence", "verdict", "notes", "files")
COLUMNS = (
    *(
        "path",
        "sha256",
        "error",
        "prompt",
        "predicted",
        "similarity",
        "probabilities",
        "duration_s",
        "evidence",
        "verdict",
        "notes",
    ),
    *explanation_keys(),
    *("completeness_error", "seconds", "files"),
)


def missing_extra(package: str) -> LMACError:
    """What to install where a package of the optional extra is missing."""
    return LMACError(f'explain-many needs the package "{package}": run pip install "{package}".')


def explained_row(
    path: str, sha256: str | None, result: ExplainResult, backend_name: str, seconds: float, files: str
) -> Row:
    """Row of a clip that was explained.

    Args:
        path: names the clip.
        sha256: of the recording's bytes.
        result: its explanation.
        backend_name: key of the CLAP.
        seconds: that it took, reading excluded.
        files: folder of its sounds and mask below the results; "" if they were not asked for.
    """
    values = result_row(result, backend_name)
    prediction = values["prediction"]
    return {
        "path": path,
        "sha256": sha256,
        "prompt": values["target"],
        "predicted": prediction["prompts"][prediction["predicted"]],
        "similarity": values["target_similarity"],
        "probabilities": prediction["probabilities"],
        "duration_s": values["duration_s"],
        "evidence": result.explanation.evidence,
        "verdict": (values["verdict"] or {}).get("key"),
        "notes": " ".join(values["notes"]) or None,
        **values["metrics"],
        "completeness_error": values["completeness_error"],
        "seconds": seconds,
        "files": files or None,
    }


def failed_row(path: str, sha256: str | None, sentence: str) -> Row:
    """Row of a clip that could not be explained."""
    return {"path": path, "sha256": sha256, "error": sentence}


def parquet_bytes(rows: Iterable[Mapping[str, Any]]) -> tuple[bytes, int]:
    """A Parquet file with all `COLUMNS`; what a row lacks is null.

    Args:
        rows: read in groups of `GROUP`, each sorted by path, so that memory does not grow with them.

    Returns:
        The file, and how many rows it holds.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow") from None
    buffer, count, rest = io.BytesIO(), 0, iter(rows)
    with pyarrow.parquet.ParquetWriter(buffer, schema()) as writer:
        while group := sorted(islice(rest, GROUP), key=lambda row: row["path"]):
            columns = {name: [_finite(row.get(name)) for row in group] for name in COLUMNS}
            writer.write_table(pyarrow.table(columns, schema=schema()))
            count += len(group)
    return buffer.getvalue(), count


def schema() -> "pyarrow.Schema":
    """Names and types of the columns."""
    import pyarrow

    def kind(name: str) -> pyarrow.DataType:
        if name in TEXT_COLUMNS:
            return pyarrow.string()
        return pyarrow.list_(pyarrow.float64()) if name == "probabilities" else pyarrow.float64()

    return pyarrow.schema([(name, kind(name)) for name in COLUMNS])


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
