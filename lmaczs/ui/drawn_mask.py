"""What if: a mask that a visitor drew, asked about like an explanation."""

import re
from dataclasses import dataclass
from typing import ClassVar

import torch

from lmaczs.clap.recording import Recording
from lmaczs.clap.target import Target
from lmaczs.errors import LMACError
from lmaczs.explainers.base import Method, MethodEntry
from lmaczs.hearing.boxes import Box, cells_of
from lmaczs.types import Explanation, Progress, no_progress
from lmaczs.ui import text

# Key of a method that is made of boxes: "boxes:0.5-1.25@300-3000;2-3@0-16000", seconds at hertz.
PREFIX = "boxes:"
MOST_BOXES = 40
NUMBER = r"(\d{1,6}(?:\.\d{1,3})?)"
BOX = re.compile(rf"{NUMBER}-{NUMBER}@{NUMBER}-{NUMBER}")


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
        mask = cells_of(read_boxes(self.key), samples, self.backend, self.domain)
        return Explanation(self.name, target.prompt, mask, self.domain)
