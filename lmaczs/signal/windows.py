"""Fixed windows over recordings of any length, and masks brought back to the recording's own time axis.

A recording shorter than a window is tiled, and what was found on the copies is averaged back. A longer one is covered by
windows side by side wherever it sounds: silence at its ends, and silence within it that is longer than a window, belongs
to no window. Nothing is explained there, and it has no vote. Everything is deterministic: no random crop.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lmaczs.signal.audio import tile_to_length
from lmaczs.signal.spectral import SpectralConfig

# Of a window: 50 ms of 5 s.
TAIL = 0.01
BLOCK_S = 0.01
LOUDEST_BLOCKS = 10
# Measured together: in double precision a whole recording of minutes would take hundreds of MB.
BLOCKS_AT_ONCE = 1000
SILENT_DB = 40.0


@dataclass(frozen=True)
class Window:
    """One window of a recording.

    Attributes:
        start: its first sample in the recording.
        first: first sample of the recording that this window explains.
        stop: sample after the last one that it explains; what windows explain does not overlap.
        weight: its vote, in (0, 1]: its share of all the time that sounds. Votes of a recording add up to 1.
    """

    start: int
    first: int
    stop: int
    weight: float


@dataclass(frozen=True)
class WindowPlan:
    """Where the windows of one recording lie.

    Attributes:
        num_samples: length of the recording.
        clip_samples: length of a window.
        windows: in order of time; at least one.
    """

    num_samples: int
    clip_samples: int
    windows: tuple[Window, ...]

    @property
    def valid_samples(self) -> int:
        """Samples of each window that are the recording and not its tiled copy."""
        return min(self.num_samples, self.clip_samples)


def plan_windows(waveform: Tensor, clip_samples: int, sample_rate: int) -> WindowPlan:
    """Cover what sounds in a recording with windows.

    A sound shorter than a window keeps its surroundings. A tail shorter than `TAIL` of a window gets no window of its
    own and shares the last column of the window before: a "5 second" clip is often a few samples longer, and a second
    pass would double the work for nothing.

    Args:
        waveform: (samples,).
        clip_samples: length of a window.
        sample_rate: Hz.
    """
    length = waveform.shape[-1]
    block = max(1, round(BLOCK_S * sample_rate))
    sounding = sounding_blocks(waveform, block)
    if length < (1 + TAIL) * clip_samples:
        return WindowPlan(length, clip_samples, (Window(0, 0, length, 1.0),))
    spans: list[tuple[int, int, int]] = []
    for first, stop in _stretches(waveform, sounding, block, clip_samples):
        for start, begin, end in _cover(first, stop, length, clip_samples):
            # Surroundings of two short sounds may meet; the silence there belongs to the first of them.
            spans.append((start, max(begin, spans[-1][2] if spans else 0), end))
    votes = [float(sounding[first // block : -(-stop // block)].sum()) for _, first, stop in spans]
    chosen = [(span, vote) for span, vote in zip(spans, votes, strict=True) if vote > 0]
    total = sum(vote for _, vote in chosen)
    return WindowPlan(length, clip_samples, tuple(Window(*span, vote / total) for span, vote in chosen))


def sounding_blocks(waveform: Tensor, block: int) -> Tensor:
    """Which parts of a recording sound: (blocks,) bool.

    A part is silent if it is more than `SILENT_DB` quieter than the loudest tenth of a second. In a recording without
    any sound all parts count.

    Args:
        waveform: (samples,).
        block: samples of a part.
    """
    padding = -waveform.shape[-1] % block
    parts = F.pad(waveform, (0, padding)).view(-1, block).split(BLOCKS_AT_ONCE)
    power = torch.cat([part.double().square().mean(1) for part in parts])
    size = min(LOUDEST_BLOCKS, len(power))
    loudest = F.avg_pool1d(power[None, None], size, stride=1).amax()
    return power >= loudest * 10 ** (-SILENT_DB / 10)


def _stretches(
    waveform: Tensor, sounding: Tensor, block: int, clip_samples: int
) -> Iterator[tuple[int, int]]:
    """First and last + 1 sample of each stretch of sound; shorter silence than a window is part of a stretch."""
    places = torch.nonzero(sounding)[:, 0]
    gaps = torch.nonzero(places.diff() * block > clip_samples)[:, 0] + 1
    for part in places.tensor_split(gaps.cpu()):
        first, stop = int(part[0]) * block, min((int(part[-1]) + 1) * block, waveform.shape[-1])
        # The same sound between zeros gets the same window, to the sample.
        heard = (waveform[first:stop] != 0).byte()
        last = stop - int(heard.flip(0).argmax())
        yield (first + int(heard.argmax()), last) if heard.any() else (first, stop)


def _cover(first: int, stop: int, length: int, clip_samples: int) -> Iterator[tuple[int, int, int]]:
    """Start of each window over a stretch, and the samples that it explains."""
    if stop - first < clip_samples:
        start = min(max(first - (clip_samples - (stop - first)) // 2, 0), length - clip_samples)
        yield start, start, start + clip_samples
        return
    starts = list(range(first, stop - clip_samples + 1, clip_samples))
    if stop - (starts[-1] + clip_samples) >= TAIL * clip_samples:
        starts.append(stop - clip_samples)
    begins = [first + index * clip_samples for index in range(len(starts))]
    yield from zip(starts, begins, [*begins[1:], stop], strict=True)


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
    chosen = plan.windows[first:last]
    return torch.stack([waveform[window.start : window.start + plan.clip_samples] for window in chosen])


def clip_frames(num_samples: int, config: SpectralConfig) -> int:
    """STFT frames of a whole recording."""
    return 1 + num_samples // config.hop_length


def stitch(maps: Iterable[Tensor], plan: WindowPlan, config: SpectralConfig) -> Tensor:
    """One map for the whole recording from the maps of its windows; one of them in memory at a time.

    Args:
        maps: (..., frames) of each window, in order.
        plan: of this recording.
        config: grid of the maps' time axis.

    Returns:
        (..., 1 + num_samples // hop_length) on the CPU; 0 where no window lies.
    """
    hop = config.hop_length
    sample = torch.arange(clip_frames(plan.num_samples, config)) * hop
    result: Tensor | None = None
    for window, values in zip(plan.windows, maps, strict=True):
        values = values.detach().cpu()
        if result is None:
            result = values.new_zeros(*values.shape[:-1], len(sample))
        if plan.num_samples < plan.clip_samples:
            # Whole copies only.
            copies = range(max(plan.clip_samples // plan.num_samples, 1))
            for copy in copies:
                result += _at(values, (sample + copy * plan.num_samples) / hop) / len(copies)
            continue
        stop = window.stop if window.stop < plan.num_samples else plan.num_samples + 1
        owned = slice(-(-window.first // hop), -(-stop // hop))
        result[..., owned] = _at(values, (sample[owned] - window.start) / hop)
    assert result is not None
    return result


def _at(values: Tensor, position: Tensor) -> Tensor:
    """Columns of (..., frames) at fractional positions, linearly interpolated."""
    position = position.clamp(0, values.shape[-1] - 1)
    left = position.floor().long()
    share = position - left
    if not share.any():
        return values[..., left]
    right = (left + 1).clamp_max(values.shape[-1] - 1)
    return values[..., left] * (1 - share) + values[..., right] * share
