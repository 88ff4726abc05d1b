"""Any CSV of recordings: `path`, and what else it has of captions, label, concept, dataset, fold and original."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from lmaczs.data.base import Dataset, DatasetClip, Listing, Rows, original_of
from lmaczs.errors import DatasetError

PAGE = "its maker"
COLUMNS = ("path", "dataset", "fold", "label", "concept", "captions", "original")


def list_csv(table: str | Path) -> Listing:
    """Clips of a CSV; paths are relative to its folder.

    Columns: `path` is needed, and `captions` (`|` between them) or `label`. `dataset` names the collection, and
    `original` what a clip was cut from, e.g. "freesound 100032"; it is read off names like ESC-50's where it is missing.

    Raises:
        DatasetError: no such file, or no column path.
    """
    table = Path(table)
    rows = Rows(
        Dataset("csv", f"'{table.name}'", PAGE, "", "training", "", table.name, (), read), table.parent
    )
    if not table.is_file():
        raise DatasetError(f"'{table.name}' is not there: give a CSV with the columns path and captions.")
    read(rows)
    return rows.listing()


def read(rows: Rows) -> None:
    """Rows of the CSV."""
    for row in rows.table(rows.dataset.table, ("path",)):
        captions = [text for text in row["captions"].split("|") if text.strip()]
        labels = [row["label"]] if row["label"] else []
        if not captions and not labels:
            rows.refuse(row.place, "it has neither captions nor a label")
            continue
        rows.add(
            row.place,
            row["path"],
            split=f"fold {row['fold']}" if row["fold"] else row["split"],
            captions=captions,
            labels=labels,
            original=row["original"] or original_of(Path(row["path"]).name),
            name=row["path"],
            concept=row["concept"],
            dataset=row["dataset"],
        )


def as_csv(clips: Sequence[DatasetClip], table: str | Path) -> str:
    """The text of a CSV that `list_csv` reads, and `evaluate --clips` where every clip has a label.

    Args:
        clips: with files of their own.
        table: where the CSV will lie; its paths are relative to that folder, and do not lead out of it.

    Raises:
        DatasetError: a clip lies in a shard or outside the CSV's folder.
    """
    table = Path(table)
    if any(clip.size for clip in clips):
        raise DatasetError("Recordings in shards have no paths of their own: unpack the .tar files first.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip in clips:
        try:
            path = clip.file.resolve().relative_to(table.resolve().parent).as_posix()
        except ValueError as error:
            raise DatasetError(
                f"'{table.name}' must lie in a folder above the recordings, as its paths are relative to it: choose "
                "another --out."
            ) from error
        captions = "|".join(caption.replace("|", "/") for caption in clip.captions)
        label = clip.labels[0] if len(clip.labels) == 1 else ""
        fold = clip.split.removeprefix("fold ")
        writer.writerow((path, clip.dataset, fold, label, clip.concept, captions, clip.original))
    return text.getvalue()
