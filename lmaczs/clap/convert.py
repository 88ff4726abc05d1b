"""Foreign checkpoints: read them without running code from them, rename their keys, load them strictly.

Every key of a checkpoint is either used or on the explicit list of what is known and not needed. Nothing is skipped in
silence: that would also hide a checkpoint of another model.
"""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.release_config import LFS_POINTER
from lmaczs.signal.spectral import SpectralConfig

SHOWN_KEYS = 2
HANN_TOLERANCE = 1e-6
FOURIER_TOLERANCE = 1e-4  # largest weight of a Fourier kernel is 1


@dataclass(frozen=True)
class KeyMap:
    """How the keys of one checkpoint layout become ours.

    Attributes:
        renamed: (pattern, replacement) pairs of `re.sub`, applied one after the other.
        ignored: patterns of whole foreign keys that are known and not needed.
        joined: pattern of whole renamed keys that are parts of one tensor; its groups are what comes before the part,
            the part's number, and what comes after it. Parts are concatenated along the first axis in order.
    """

    renamed: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...] = ()
    joined: str | None = None

    def apply(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Foreign names -> our names; floating tensors become float32."""
        result: dict[str, Tensor] = {}
        parts: dict[str, dict[int, Tensor]] = {}
        for name, value in state.items():
            if any(re.fullmatch(pattern, name) for pattern in self.ignored):
                continue
            for pattern, replacement in self.renamed:
                name = re.sub(pattern, replacement, name)
            value = value.float() if value.is_floating_point() else value
            if self.joined and (found := re.fullmatch(self.joined, name)):
                parts.setdefault(found[1] + found[3], {})[int(found[2])] = value
            else:
                result[name] = value
        for name, pieces in parts.items():
            result[name] = torch.cat([pieces[number] for number in sorted(pieces)])
        return result


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors, .pth, .pt or .bin file; code in the file is never run.

    Args:
        path: of the file. A dictionary under "model" or "state_dict" is taken in the place of the whole.

    Raises:
        BackendUnavailableError: there is no such file.
        CheckpointError: it is damaged, a Git LFS pointer, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise BackendUnavailableError(
            f"There is no file '{path.name}' with weights: check its name and folder, or leave out --weights to fetch "
            "the published ones."
        )
    with open(path, "rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise CheckpointError(
                f"'{path.name}' is a Git LFS pointer, not the weights: run 'git lfs pull' where it comes from."
            )
    try:
        content = _read(path)
    except Exception as error:  # damaged files raise whatever their bytes happen to mean
        raise CheckpointError(
            f"'{path.name}' cannot be read as weights: it is damaged or only partly there, or holds code besides "
            "tensors, which is never run; fetch it again."
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = {name: value for name, value in dict(content).items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"'{path.name}' holds no tensors: choose a checkpoint.")
    return tensors


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    # Memory-mapped: an optimizer that lies beside the weights is then never read. Files of old torch are no zip archives.
    with torch.serialization.safe_globals(_plain_numbers()):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _plain_numbers() -> list[Any]:
    """What NumPy's numbers are made of: training scripts leave their best scores beside the weights."""
    scalar: Any = np.float64(0).__reduce__()[0]
    # Under the name that it had before NumPy 2, and the one that it has now.
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    kinds = (np.dtype(kind) for kind in (np.float64, np.float32, np.int64, np.int32))
    return [*((scalar, name) for name in names), np.dtype, *(type(kind) for kind in kinds)]


def load_strictly(
    model: nn.Module, state: Mapping[str, Tensor], keys: KeyMap, name: str, rebuilt: tuple[str, ...] = ()
) -> None:
    """Load a foreign state; every weight must be there, none may be left over, and all shapes must fit.

    Args:
        model: ours.
        state: as read.
        keys: of its layout.
        name: of the file, for messages.
        rebuilt: our keys that the checkpoint need not hold, because they follow from the model's shape.

    Raises:
        CheckpointError: names what is missing, unknown or of another shape.
    """
    own = model.state_dict()
    given = keys.apply(state)
    given |= {key: own[key] for key in rebuilt if key in own}
    misfits = [
        f"{key} is {tuple(given[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    for words, found in (
        ("lacks", [key for key in own if key not in given]),
        ("has unknown weights", [key for key in given if key not in own]),
        ("has weights of another shape", misfits),
    ):
        if found:
            more = f" and {len(found) - SHOWN_KEYS} more" if len(found) > SHOWN_KEYS else ""
            raise CheckpointError(
                f"'{name}' does not fit this model, it {words}: {', '.join(found[:SHOWN_KEYS])}{more}; choose the "
                "checkpoint that belongs to it, or leave out --weights to fetch it."
            )
    model.load_state_dict(given)


def honour_stft(config: SpectralConfig, real: Tensor, imaginary: Tensor, name: str) -> SpectralConfig:
    """The grid with the window that a checkpoint's own STFT uses.

    torchlibrosa stores its STFT as kernels of a convolution, window times cosine and minus sine. The first kernel has
    frequency 0: it is the window itself.

    Args:
        config: the grid otherwise.
        real: (bins, 1, n_fft).
        imaginary: (bins, 1, n_fft).
        name: of the checkpoint, for messages.

    Raises:
        CheckpointError: the kernels are no windowed Fourier transform, so masks could not be turned into sound.
    """
    real, imaginary = real[:, 0].double(), imaginary[:, 0].double()
    bins, n_fft = real.shape
    window = real[0]
    sample, frequency = torch.arange(n_fft).double(), torch.arange(bins).double()
    angle = 2 * torch.pi / n_fft * (frequency[:, None] * sample[None] % n_fft)
    wrong = max(
        float((real - window * angle.cos()).abs().max()),
        float((imaginary + window * angle.sin()).abs().max()),
    )
    if bins != n_fft // 2 + 1 or wrong > FOURIER_TOLERANCE:
        raise CheckpointError(
            f"The STFT stored in '{name}' is no windowed Fourier transform, so nothing could be played back from it: "
            "choose a checkpoint with the published front end."
        )
    hann = torch.hann_window(n_fft, dtype=torch.float64)
    own = None if float((window - hann).abs().max()) < HANN_TOLERANCE else tuple(window.tolist())
    return SpectralConfig(**{**vars(config), "n_fft": n_fft, "window": own})
