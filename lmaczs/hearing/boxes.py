"""Rectangles of a spectrogram, in seconds and hertz, as cells of a mask."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.signal.spectral import frequencies_hz, times_s
from lmaczs.signal.windows import clip_frames
from lmaczs.types import MaskDomain


@dataclass(frozen=True)
class Box:
    """A rectangle of a spectrogram.

    Attributes:
        start_s: s.
        end_s: s, after the start.
        low_hz: Hz.
        high_hz: Hz, above the low edge.
    """

    start_s: float
    end_s: float
    low_hz: float
    high_hz: float


def cells_of(boxes: Sequence[Box], samples: int, backend: CLAPBackend, domain: MaskDomain) -> Tensor:
    """1 in the cells whose centre lies in a box, else 0: (freq, frames) for a recording of so many samples."""
    grid = backend.spectral
    hertz = frequencies_hz(grid) if domain == "stft" else backend.mel_frequencies_hz.cpu()
    seconds = times_s(clip_frames(samples, grid), grid)
    mask = torch.zeros(len(hertz), len(seconds))
    for box in boxes:
        # A picture ends with the last cell: a box up to its edge takes that cell, too.
        high = math.inf if box.high_hz >= float(hertz[-1]) else box.high_hz
        rows = (hertz >= box.low_hz) & (hertz <= high)
        columns = (seconds >= box.start_s) & (seconds <= box.end_s)
        mask[rows[:, None] & columns[None]] = 1.0
    return mask
