"""What if: a mask that a visitor drew, asked about like an explanation."""

import math
import re
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import Recording
from lmaczs.clap.target import Target
from lmaczs.errors import LMACError
from lmaczs.explainers.base import Method, MethodEntry
from lmaczs.signal.spectral import frequencies_hz, times_s
from lmaczs.signal.windows import clip_frames
from lmaczs.types import Explanation, MaskDomain, Progress, no_progress
from lmaczs.ui import text

# Key of a method that is made of boxes: "boxes:0.5-1.25@300-3000;2-3@0-16000", seconds at hertz.
PREFIX = "boxes:"
MOST_BOXES = 40
NUMBER = r"(\d{1,6}(?:\.\d{1,3})?)"
BOX = re.compile(rf"{NUMBER}-{NUMBER}@{NUMBER}-{NUMBER}")


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


def read_boxes(key: str) -> tuple[Box, ...]:
    """Boxes of a method's key.

    Raises:
        LMACError: it is not written like that, or holds too many.
    """
    parts = key.removeprefix(PREFIX).split(";")
    found = [BOX.fullmatch(part) for part in parts[: MOST_BOXES + 1]]
    boxes = tuple(Box(*map(float, match.groups())) for match in found if match)
    whole = len(boxes) == len(parts) and all(
        box.start_s < box.end_s and box.low_hz < box.high_hz for box in boxes
    )
    if not key.startswith(PREFIX) or not whole or len(boxes) > MOST_BOXES:
        raise LMACError(text.BAD_BOXES.format(most=MOST_BOXES))
    return boxes


@dataclass(frozen=True, eq=False)
class DrawnMask(Method):
    """Keeps what lies in some boxes, and nothing else.

    Attributes:
        key: says which boxes, see `read_boxes`.
    """

    entry: ClassVar[MethodEntry] = MethodEntry(
        "boxes", "What you marked", "", "A mask that was drawn by hand."
    )
    key: str = ""

    def __post_init__(self) -> None:
        """Refuse what says no boxes."""
        read_boxes(self.key)

    @property
    def name(self) -> str:
        """Key of these boxes."""
        return self.key

    def passes(self) -> float:
        """See `Method.passes`: the encoder is not asked for the mask."""
        return 0.0

    @torch.no_grad()
    def explain(self, recording: Recording, target: Target, progress: Progress = no_progress) -> Explanation:
        """See `Method.explain`; classifier and prompt make no difference."""
        samples = recording.clip.waveform.shape[-1]
        mask = drawn_mask(read_boxes(self.key), samples, self.backend, self.domain)
        return Explanation(self.name, target.prompt, mask, self.domain)


def drawn_mask(boxes: tuple[Box, ...], samples: int, backend: CLAPBackend, domain: MaskDomain) -> Tensor:
    """1 in the cells whose centre lies in a box, else 0: (freq, frames) for a recording of so many samples."""
    grid = backend.spectral
    hertz = frequencies_hz(grid) if domain == "stft" else backend.mel_frequencies_hz.cpu()
    seconds = times_s(clip_frames(samples, grid), grid)
    mask = torch.zeros(len(hertz), len(seconds))
    for box in boxes:
        # The picture ends with the last cell: a box up to its edge takes that cell, too.
        high = math.inf if box.high_hz >= float(hertz[-1]) else box.high_hz
        rows = (hertz >= box.low_hz) & (hertz <= high)
        columns = (seconds >= box.start_s) & (seconds <= box.end_s)
        mask[rows[:, None] & columns[None]] = 1.0
    return mask
