"""Masks that no method made, on the visitor's own recording: a method that does no better explains nothing."""

from dataclasses import dataclass, field
from typing import ClassVar

from lmaczs.clap.recording import Recording
from lmaczs.clap.target import Target
from lmaczs.evaluation.masks import control_mask
from lmaczs.explainers.base import Method, MethodEntry
from lmaczs.types import Explanation, Progress, no_progress

# Key in `lmaczs.evaluation.masks.CONTROLS` -> label.
PAGE_CONTROLS = {
    "random": "Random cells",
    "energy": "The loudest cells",
}


@dataclass(frozen=True, eq=False)
class Control(Method):
    """Goes the way of every method, from the mask over what is heard to the numbers.

    Attributes:
        control: key in `PAGE_CONTROLS`.
    """

    entry: ClassVar[MethodEntry] = MethodEntry("control", "Control", "", "Knows nothing of the classifier.")
    control: str = field(kw_only=True)

    def passes(self) -> float:
        """See `Method.passes`."""
        return 0.0

    def explain(self, recording: Recording, target: Target, progress: Progress = no_progress) -> Explanation:
        """See `Method.explain`; the prompt makes no difference."""
        waveform = recording.clip.waveform.to(self.backend.mel_filters.device)
        mask = control_mask(self.control, waveform, self.backend, self.domain, "page")
        return Explanation(self.control, target.prompt, mask.cpu(), self.domain)
