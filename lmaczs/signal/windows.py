"""Fixed windows over recordings of any length, and masks brought back to the recording's own time axis.

A recording shorter than a window is tiled, and what was found on the copies is averaged back; a longer one is covered
by windows side by side, the last one ending with the recording. Everything is deterministic: no random crop.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmaczs.signal.audio import tile_to_length
from lmaczs.signal.spectral import SpectralConfig

TAIL = 0.01  # of a window: 50 ms of 5 s


@dataclass(frozen=True)
class WindowPlan:
    """Where the windows of one recording lie.

    Attributes:
        num_samples: length of the recording.
        clip_samples: length of a window.
        starts: first sample of each window; (0,) for a recording no longer than one window.
    """

    num_samples: int
    clip_samples: int
    starts: tuple[int, ...]

    @property
    def valid_samples(self) -> int:
        """Samples of each window that are the recording and not its tiled copy."""
        return min(self.num_samples, self.clip_samples)


def plan_windows(num_samples: int, clip_samples: int) -> WindowPlan:
    """Cover a recording with windows.

    A tail shorter than `TAIL` of a window gets no window of its own and shares the last column of the window before:
    a "5 second" clip is often a few samples longer, and hearing it twice would double the work for nothing.
    """
    starts = list(range(0, max(num_samples - clip_samples, 0) + 1, clip_samples))
    if num_samples - (starts[-1] + clip_samples) >= TAIL * clip_samples:
        starts.append(num_samples - clip_samples)
    return WindowPlan(num_samples, clip_samples, tuple(starts))


def cut_windows(waveform: Tensor, plan: WindowPlan, first: int, last: int) -> Tensor:
    """Windows `first` to `last` - 1 of a recording.

    Args:
        waveform: (samples,).
        plan: of this recording.

    Returns:
        (last - first, clip_samples), a short recording tiled.
    """
    if plan.num_samples < plan.clip_samples:
        return tile_to_length(waveform, plan.clip_samples).unsqueeze(0)
    return torch.stack([waveform[start : start + plan.clip_samples] for start in plan.starts[first:last]])


def clip_frames(num_samples: int, config: SpectralConfig) -> int:
    """STFT frames of a whole recording."""
    return 1 + num_samples // config.hop_length


def _sample_frames(mask: Tensor, position: Tensor) -> Tensor:
    """Columns of (freq, frames) at fractional positions, linearly interpolated."""
    position = position.clamp(0, mask.shape[1] - 1)
    left = position.floor().long().clamp_max(max(mask.shape[1] - 2, 0))
    share = position - left
    right = (left + 1).clamp_max(mask.shape[1] - 1)
    return mask[:, left] * (1 - share) + mask[:, right] * share


def stitch_mask(masks: Tensor, plan: WindowPlan, config: SpectralConfig) -> Tensor:
    """One mask for the whole recording from the masks of its windows.

    Args:
        masks: (windows, freq, frames), one for each of `plan.starts`.
        plan: of this recording.
        config: grid of the masks' time axis.

    Returns:
        (freq, 1 + num_samples // hop_length).
    """
    hop = config.hop_length
    frames = torch.arange(clip_frames(plan.num_samples, config), device=masks.device)
    sample = frames * hop
    if plan.num_samples < plan.clip_samples:
        copies = max(plan.clip_samples // plan.num_samples, 1)  # whole copies only
        shifted = [(sample + k * plan.num_samples) / hop for k in range(copies)]
        return torch.stack([_sample_frames(masks[0], position) for position in shifted]).mean(0)
    if len(frames) == masks.shape[2]:  # the window is the recording
        return masks[0]
    result = masks.new_zeros(masks.shape[1], len(frames))
    window = torch.clamp(sample // plan.clip_samples, max=len(plan.starts) - 1)
    for index, start in enumerate(plan.starts):
        columns = window == index
        result[:, columns] = _sample_frames(masks[index], (sample[columns] - start) / hop)
    return result
