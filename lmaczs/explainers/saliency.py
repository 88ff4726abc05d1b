"""Saliency (Simonyan et al. 2014): how much the score moves when the level of one cell does."""

from typing import ClassVar

from lmaczs.explainers.base import Attribution, AttributionExplainer, no_progress
from lmaczs.explainers.decibels import grid_levels, level_gradient
from lmaczs.explainers.hooks import evaluation_mode
from lmaczs.types import AudioState, Progress, TextState


class Saliency(AttributionExplainer):
    """Magnitude of the score's gradient with respect to each cell's level, through the front end.

    The sign is dropped, as in the paper: a cell counts that could speak for the prompt as well as one that does.
    """

    name: ClassVar[str] = "saliency"
    label: ClassVar[str] = "Saliency"

    def attribute(self, audio: AudioState, text: TextState, progress: Progress = no_progress) -> Attribution:
        """See `AttributionExplainer.attribute`; values are >= 0, in score per dB."""
        levels = grid_levels(self.backend, audio, self.domain)
        with evaluation_mode(self.backend):
            gradient = level_gradient(self.backend, self.score, levels, text.embedding, self.domain)
        progress(1.0, self.label)
        return Attribution(gradient.abs())
