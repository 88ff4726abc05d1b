"""What a run leaves on disk: files that appear complete or not at all, and the state of every random generator."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lmaczs.errors import CheckpointError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name, and give it its own when it is safely on disk.

    A kill or a power cut at any moment leaves the older file whole.

    Args:
        path: of the file.
        write: writes to the path that it is given.
    """
    fresh = path.with_name(path.name + ".new")
    write(fresh)
    _flush(fresh)
    fresh.replace(path)
    _flush(path.parent)


def check_run(run: Path) -> None:
    """Refuse a folder that a training has left no weights in.

    Raises:
        CheckpointError: there is no model.safetensors.
    """
    if not (run / "model.safetensors").is_file():
        raise CheckpointError(f"'{run.name}' holds no model.safetensors: name the folder of a training run.")


def _flush(path: Path) -> None:
    """Wait until a file or the names of a folder are on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def random_state() -> dict[str, Any]:
    """State of Python's, NumPy's and torch's generators of this process, as plain values and tensors."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, [int(key) for key in keys], position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Go on where `random_state` was taken."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    name, numbers, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(numbers, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
