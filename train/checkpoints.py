"""What a run leaves on disk: files that appear complete or not at all, and the state of every random generator.

    state.pt             all that a run needs to go on
    model.safetensors    the averaged weights, which are what is released, with the step that they belong to

Each file names its step, so that a kill between the two is noticed: a run that is resumed writes the weights of its
state again, and `run_weights` tells which row of metrics belongs to the weights that are there.
"""

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lmaczs.errors import CheckpointError

STATE, WEIGHTS = "state.pt", "model.safetensors"


class RunWeights(NamedTuple):
    """The averaged weights of a run.

    Attributes:
        state: by name.
        step: that they belong to; None where an older version of this script wrote them.
    """

    state: dict[str, Tensor]
    step: int | None


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


def write_checkpoint(run: Path, state: Mapping[str, Any], averaged: Mapping[str, Tensor]) -> None:
    """Write a run's state and its averaged weights.

    The weights come first: whatever a kill leaves, the run goes on from a whole state, and the weights that are there are
    those of a row of metrics.

    Args:
        run: folder.
        state: all that a run needs to go on, with its "step".
        averaged: weights by name.
    """
    write_weights(run, averaged, state["step"])
    write_whole(run / STATE, lambda path: torch.save(dict(state), path))


def write_weights(run: Path, averaged: Mapping[str, Tensor], step: int) -> None:
    """Write the averaged weights of a step."""
    weights = {name: value.contiguous() for name, value in averaged.items()}
    write_whole(run / WEIGHTS, lambda path: save_file(weights, path, {"step": str(step)}))


def read_state(run: Path) -> dict[str, Any] | None:
    """What `write_checkpoint` was given as state, or None where the run is new."""
    if not (run / STATE).exists():
        return None
    state: dict[str, Any] = torch.load(run / STATE, weights_only=True, map_location="cpu")
    return state


def run_weights(run: Path) -> RunWeights:
    """The averaged weights of a run, with the step that they belong to.

    Raises:
        CheckpointError: the folder holds no weights, or they cannot be read.
    """
    if not (run / WEIGHTS).is_file():
        raise CheckpointError(f"'{run.name}' holds no {WEIGHTS}: name the folder of a training run.")
    try:
        with safe_open(run / WEIGHTS, "pt") as file:
            step = (file.metadata() or {}).get("step")
            names = file.keys()
            state = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{WEIGHTS} of '{run.name}' cannot be read: start the run again.") from error
    return RunWeights(state, int(step) if step and step.isdecimal() else None)


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
