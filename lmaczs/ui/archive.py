"""Everything about one explanation in one file."""

import zipfile
from pathlib import Path

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
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, file.name)
