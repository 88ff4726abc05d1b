"""What single cells of a spectrogram show: their level, and how far they stand out from their neighbours."""

import math

import torch
from torch import Tensor

DETAILS = 3  # channels of `details`


def details(log_power: Tensor) -> Tensor:
    """What a single cell shows: its loudness, and how far it stands out from its neighbours in time and in frequency.

    Args:
        log_power: (pairs, freq, frames) dB.

    Returns:
        (pairs, DETAILS, freq, frames), standardised.
    """
    loudness = standardise(log_power)
    return torch.stack([loudness, *contrasts(loudness)], dim=1)


def contrasts(loudness: Tensor) -> tuple[Tensor, Tensor]:
    """How far cells stand out from their neighbours in time, and in frequency; each of the shape of `loudness`."""
    return loudness - box_mean(loudness, 2), loudness - box_mean(loudness, 1)


def standardise(log_power: Tensor) -> Tensor:
    """Zero mean and unit deviation over a window, so that the level of the recording does not matter."""
    centred = log_power - log_power.mean(dim=(1, 2), keepdim=True)
    return centred / (_around_zero(centred) + 1e-4)


def deviation(values: Tensor) -> Tensor:
    """Standard deviation over a window: (pairs, freq, frames) -> (pairs, 1, 1)."""
    return _around_zero(values - values.mean(dim=(1, 2), keepdim=True))


def _around_zero(centred: Tensor) -> Tensor:
    """Standard deviation of values whose mean is 0: ten times as fast as `std`, which is summed up in doubles."""
    length: Tensor = torch.linalg.vector_norm(centred, dim=(1, 2), keepdim=True)
    return length / math.sqrt(centred.shape[1:].numel() - 1)


def box_mean(maps: Tensor, axis: int, reach: int = 12) -> Tensor:
    """Mean over up to 2 * reach + 1 neighbours along an axis, by running sums: as fast for wide boxes as for narrow.

    Args:
        maps: (maps, freq, frames).
        axis: 1 or 2.
        reach: cells to each side.
    """
    size = maps.shape[axis]
    sums = maps.cumsum(axis)
    before = torch.zeros_like(sums.narrow(axis, 0, 1)).repeat_interleave(reach + 1, axis)
    after = sums.narrow(axis, size - 1, 1).repeat_interleave(reach, axis)
    sums = torch.cat([before, sums, after], dim=axis)
    position = torch.arange(size, device=maps.device)
    count = (position + reach + 1).clamp_max(size) - (position - reach).clamp_min(0)
    found = sums.narrow(axis, 2 * reach + 1, size) - sums.narrow(axis, 0, size)
    return found / (count.view(-1, 1) if axis == 1 else count)
