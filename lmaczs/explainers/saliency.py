"""Saliency (Simonyan et al. 2014): how much the score moves when the level of one cell does."""

from dataclasses import dataclass

from torch import Tensor

from lmaczs.clap.target import Target
from lmaczs.explainers.base import FORWARD_AND_BACKWARD, MethodEntry
from lmaczs.explainers.gradients import GradientMethod, level_gradient
from lmaczs.types import AudioState, Progress, no_progress


@dataclass(frozen=True, eq=False)
class Saliency(GradientMethod):
    """Magnitude of the score's gradient with respect to each cell's level, through the front end; in score per dB.

    The sign is dropped, as in the paper: a cell counts that could speak for the prompt as well as one that does.
    """

    entry = MethodEntry(
        "saliency",
        "Saliency",
        "Simonyan et al. 2014",
        "Shows where a small change of level would change the score most.",
    )

    def passes(self) -> float:
        """See `Method.passes`."""
        return FORWARD_AND_BACKWARD

    def attribute_levels(
        self, levels: Tensor, audio: AudioState, target: Target, progress: Progress = no_progress
    ) -> tuple[Tensor, None]:
        """See `GradientMethod.attribute_levels`; values are >= 0."""
        gradient = level_gradient(self.backend, target, levels, audio, self.domain)
        progress(1.0, self.label)
        return gradient.abs(), None
