"""The examples' stored explanations: the page shows its point before any model is loaded.

Stored are the recording, what is kept of it (both FLAC), the pictures and the numbers; what is ignored is the rest.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from lmaczs.ui.components import with_files
from lmaczs.ui.examples import Example

# Beside the examples, a folder for each.
STORED = "stored"
PAYLOAD = "payload.json"
PCM_16 = np.iinfo(np.int16)


def load_stored(example: Example) -> dict[str, Any] | None:
    """What `lmaczs.ui.build_stored` wrote: "backend", "scores" and "player"; None if there is nothing.

    Files of "player", which is what an event gives the player, are those that `unpack` wrote.

    Args:
        example: in a folder of which `unpack` made a copy.
    """
    folder = folder_of(example)
    if not (folder / PAYLOAD).is_file():
        return None
    stored: dict[str, Any] = json.loads((folder / PAYLOAD).read_text("utf-8"))
    return stored | {"player": with_files(stored["player"], folder)}


def folder_of(example: Example) -> Path:
    """Where its stored explanation lies."""
    return example.path.parent / STORED / example.path.stem


def pack(folder: Path) -> None:
    """Make the files of an explanation small: the counterpart of `unpack`.

    Args:
        folder: has "original.wav", and in one subfolder "kept.wav" and "removed.wav", of 16 bits.

    Raises:
        ValueError: a sound has floats, which a part that peaks above the whole would need.
    """
    for path in [folder / "original.wav", *folder.glob("*/kept.wav")]:
        if soundfile.info(path).subtype != "PCM_16":
            raise ValueError(f"{path.name} has no 16 bits: it peaks above full scale.")
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path.with_suffix(".flac"), samples, rate)
        path.unlink()
    for path in folder.glob("*/removed.wav"):
        path.unlink()
    for path in folder.rglob("*.png"):
        with Image.open(path) as picture:
            picture.load()
        picture.save(path, optimize=True)


def unpack(examples: Path) -> None:
    """Write the WAV files of all stored explanations, as the player fetches them.

    Args:
        examples: a copy of the examples' folder.
    """
    for path in examples.glob(f"{STORED}/*/original.flac"):
        original, rate = soundfile.read(path, dtype="int16")
        _write(path.with_name("original.wav"), original, rate)
        for kept_path in path.parent.glob("*/kept.flac"):
            kept, _ = soundfile.read(kept_path, dtype="int16")
            removed = np.clip(original.astype(np.int32) - kept, PCM_16.min, PCM_16.max).astype(np.int16)
            _write(kept_path.with_name("kept.wav"), kept, rate)
            _write(kept_path.with_name("removed.wav"), removed, rate)


def _write(path: Path, samples: NDArray[np.int16], rate: int) -> None:
    soundfile.write(path, samples, rate, subtype="PCM_16")
