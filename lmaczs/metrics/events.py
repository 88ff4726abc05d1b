"""Does an explanation sound when the event that it explains does? For scenes whose events are known by time."""

import math

import torch
from torch import Tensor

from lmaczs.metrics.statistics import pearson

# Over what energy is summed, s.
FRAME_S = 0.1
# Below the loudest frame of what is kept: what counts as kept at the fixed threshold, dB.
FIXED_DB = -20.0


def frame_energy(waveform: Tensor, sample_rate: int) -> Tensor:
    """Energy in frames of FRAME_S: (samples,) -> (frames,) float64; the last one may be shorter."""
    size = round(FRAME_S * sample_rate)
    padded = torch.nn.functional.pad(waveform.double(), (0, -len(waveform) % size))
    return padded.view(-1, size).square().sum(1)


def frames_of(spans: list[tuple[float, float]], count: int) -> Tensor:
    """Frames of which at least a half lies in one of the spans (onset, offset), s: (count,) bool."""
    start = torch.arange(count, dtype=torch.float64) * FRAME_S
    covered = torch.zeros(count, dtype=torch.float64)
    for onset, offset in spans:
        covered += (
            torch.minimum(start + FRAME_S, torch.tensor(offset)) - torch.maximum(start, torch.tensor(onset))
        ).clamp_min(0)
    # Times are decimals, and their sums are not quite.
    return covered >= FRAME_S / 2 - 1e-6


def located(energy: Tensor, active: Tensor) -> dict[str, float]:
    """Compare when something is kept with when the event sounds (the frame-based F1 of sound event detection).

    Args:
        energy: (frames,) of what is kept, >= 0.
        active: (frames,) bool, where the event sounds.

    Returns:
        precision, recall and F1 at FIXED_DB below the loudest frame, F1 at the best threshold, and the point-biserial
        correlation of the kept amplitude with the event. Nothing kept: 0 for all but the precision and the correlation,
        which it has not (nan).

    Raises:
        ValueError: the shapes differ, or the event sounds in no frame.
    """
    if energy.shape != active.shape or not bool(active.any()):
        raise ValueError(f"{tuple(energy.shape)} frames of energy for {tuple(active.shape)} with an event.")
    peak = energy.max()
    if not bool(peak > 0):
        nothing = dict.fromkeys(("event_recall", "event_f1", "event_f1_best"), 0.0)
        return nothing | {"event_precision": math.nan, "event_correlation": math.nan}
    kept = energy >= peak * 10 ** (FIXED_DB / 10)
    hits = float((kept & active).sum())
    order = energy.argsort(descending=True)
    found = active[order].double().cumsum(0)
    taken = torch.arange(1, len(energy) + 1, dtype=torch.float64)
    # A threshold takes all frames of equal energy together.
    last = torch.ones(len(energy), dtype=torch.bool)
    last[:-1] = energy[order][1:] < energy[order][:-1]
    every = 2 * found / (taken + active.sum())
    return {
        "event_precision": hits / float(kept.sum()),
        "event_recall": hits / float(active.sum()),
        "event_f1": 2 * hits / float(kept.sum() + active.sum()),
        "event_f1_best": float(every[last].max()),
        # The point-biserial correlation is Pearson's with a side of 0 and 1.
        "event_correlation": pearson(energy.sqrt(), active),
    }
