"""Everything about one explanation in one file."""

import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lmaczs.cli.explain import result_row
from lmaczs.plots import save_explanation_figure
from lmaczs.signal.audio import save_wav
from lmaczs.types import ExplainResult


def write_archive(result: ExplainResult, path: Path, backend_name: str, method_label: str) -> None:
    """Write the same files as `python -m lmaczs explain`, and the recording, into a zip.

    Args:
        result: one explanation, scored.
        path: of the zip.
        backend_name: key of the CLAP.
        method_label: name of the method for people.
    """
    with TemporaryDirectory(prefix="lmaczs-") as name:
        folder = Path(name)
        save_wav(result.clip, folder / "original.wav")
        save_wav(result.listening.kept, folder / "kept.wav")
        save_wav(result.listening.removed, folder / "removed.wav")
        np.savez_compressed(
            folder / "mask.npz",
            mask=result.explanation.mask.numpy(),
            times_s=result.times_s.numpy(),
            frequencies_hz=result.frequencies_hz.numpy(),
        )
        save_explanation_figure(result, folder / "explanation.png", method_label)
        row = json.dumps(result_row(result, backend_name), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / "result.json").write_text(row + "\n", "utf-8")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, file.name)
