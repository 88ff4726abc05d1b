"""Files of one release folder, read with suspicion: a release may come from anybody, and may be damaged.

Whatever is wrong with a file is said in one sentence (`CheckpointError`): sizes are checked before anything is read, and
values before anything is built from them.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from lmaczs.errors import CheckpointError
from lmaczs.release_config import CONFIG, GOLDEN, LFS_POINTER, WEIGHTS, bytes_of


def read_weights(folder: Path, digest: str) -> dict[str, Tensor]:
    """Weights by name; floating tensors become float32.

    Args:
        folder: of the release.
        digest: sha256 that the file must have.

    Raises:
        CheckpointError: the file is missing, damaged, too large, or holds a weight that is not a finite number.
    """
    data = bytes_of(folder, WEIGHTS)
    if data.startswith(LFS_POINTER):
        raise CheckpointError(
            f"{WEIGHTS} of '{folder.name}' is a Git LFS pointer, not the weights: run 'git lfs install', "
            "then 'git lfs pull' in the repository."
        )
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise CheckpointError(
            f"{WEIGHTS} of '{folder.name}' is damaged (sha256 {found[:12]}…, expected {digest[:12]}…): fetch "
            "the release again."
        )
    state = _tensors(data, folder, WEIGHTS)
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def read_golden(folder: Path) -> dict[str, Tensor] | None:
    """Tensors that a release must reproduce, or None if it carries none.

    Raises:
        CheckpointError: the file cannot be read.
    """
    return _tensors(bytes_of(folder, GOLDEN), folder, GOLDEN) if (folder / GOLDEN).exists() else None


def storable(name: str, value: Tensor, half: bool) -> Tensor:
    """A weight as it is written: on the CPU, matrices as float16 where that was asked for and fits.

    Raises:
        ValueError: it is not finite.
    """
    value = value.detach().cpu()
    if value.is_floating_point():
        if not torch.isfinite(value).all():
            raise ValueError(f"weight '{name}' is not finite")
        fits = bool(value.abs().max() <= torch.finfo(torch.float16).max) if value.numel() else False
        value = value.half() if half and fits and value.ndim >= 2 else value
    return value.clone(memory_format=torch.contiguous_format)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that every reader takes."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def swap_in(fresh: Path, folder: Path) -> None:
    """Put a complete folder in place; a reader sees the old release or the new one, never a mixture.

    Raises:
        ValueError: there are other files in that place.
    """
    if not folder.exists():
        os.replace(fresh, folder)
        return
    if not (folder / CONFIG).is_file() and any(folder.iterdir()):
        raise ValueError(f"'{folder.name}' is a folder of other files, not a release: choose another name")
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    os.replace(folder, old / folder.name)
    os.replace(fresh, folder)
    shutil.rmtree(old)


def _tensors(data: bytes, folder: Path, name: str) -> dict[str, Tensor]:
    try:
        state = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{name} of '{folder.name}' is no safetensors file: fetch the release again."
        ) from error
    for key, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(
                f"{name} of '{folder.name}' holds a value that is not a finite number, in '{key}': fetch the release "
                "again."
            )
    return state
