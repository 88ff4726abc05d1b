"""Everything about one explanation, or the report of several, in one file."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from lmaczs.report.writing import write_page
from lmaczs.results import write_explanation
from lmaczs.signal.audio import save_wav
from lmaczs.types import ExplainResult
from lmaczs.ui.cache import passing_folder


def write_archive(result: ExplainResult, path: Path, backend_name: str, method_label: str) -> None:
    """Write the same files as `python -m lmaczs explain`, and the recording, into a zip.

    Args:
        result: one explanation, scored.
        path: of the zip.
        backend_name: key of the CLAP.
        method_label: name of the method for people.
    """
    with passing_folder() as name:
        folder = Path(name)
        save_wav(result.clip, folder / "original.wav")
        write_explanation(result, folder, backend_name, method_label)
        _pack(folder, path)


def write_report_archive(results: Sequence[ExplainResult], path: Path, backend_name: str) -> None:
    """Write the same pages as `python -m lmaczs report`, which open offline, into a zip.

    Args:
        results: of one recording and one prompt, by a method each, scored.
        path: of the zip.
        backend_name: key of the CLAP.
    """
    with passing_folder() as name:
        write_page(results, Path(name), backend_name)
        _pack(Path(name), path)


def _pack(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
