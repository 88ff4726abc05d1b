"""What single cells of a spectrogram show: their level, and how far they stand out from their neighbours."""

import torch
import torch.nn.functional as F
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
    return torch.stack([loudness, loudness - box_mean(loudness, 2), loudness - box_mean(loudness, 1)], dim=1)


def standardise(log_power: Tensor) -> Tensor:
    """Zero mean and unit deviation over a window, so that the level of the recording does not matter."""
    mean = log_power.mean(dim=(1, 2), keepdim=True)
    deviation = log_power.std(dim=(1, 2), keepdim=True)
    return (log_power - mean) / (deviation + 1e-4)


def box_mean(maps: Tensor, axis: int, reach: int = 12) -> Tensor:
    """Mean over up to 2 * reach + 1 neighbours along an axis, by running sums: as fast for wide boxes as for narrow.

    Args:
        maps: (maps, freq, frames).
        axis: 1 or 2.
        reach: cells to each side.
    """
    size = maps.shape[axis]
    sums = F.pad(maps.cumsum(axis), (1, 0) if axis == 2 else (0, 0, 1, 0))
    position = torch.arange(size, device=maps.device)
    last, first = (position + reach + 1).clamp_max(size), (position - reach).clamp_min(0)
    count = (last - first).view(-1, 1) if axis == 1 else last - first
    return (sums.index_select(axis, last) - sums.index_select(axis, first)) / count
