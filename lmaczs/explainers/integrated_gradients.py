"""Integrated gradients (Sundararajan et al. 2017): the way from silence to the sound, shared out among the cells."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.base import (
    PASSES_AT_ONCE,
    Attribution,
    AttributionExplainer,
    check_whole,
    no_progress,
)
from lmaczs.explainers.decibels import grid_levels, level_gradient, score_levels, silence_db
from lmaczs.explainers.hooks import evaluation_mode
from lmaczs.types import AudioState, MaskDomain, Progress, TextState


class IntegratedGradients(AttributionExplainer):
    """Gradients with respect to the levels, integrated on the straight line from silence to the window.

    The baseline is silence in decibels, `silence_db` in every cell; a zero would be none, 0 dB is louder than most cells.
    The line runs in decibels and not in power, where it would be one sound at growing volume, of which an encoder that
    takes the level out sees nothing. (Such an encoder hears the baseline as a sound without any contrast. Its own
    floor, still 60 dB lower, could be reached too, but the way from there is so rough that 50 steps miss the sum by
    up to a third.)

    The values of all cells add up to score(window) - score(silence); `Attribution.completeness_error` says how well.
    The mask takes the positive part: what raised the score.
    """

    name: ClassVar[str] = "integrated-gradients"
    label: ClassVar[str] = "Integrated gradients"

    def __init__(
        self,
        backend: CLAPBackend,
        domain: MaskDomain = "stft",
        *,
        steps: int = 50,
        score: str = "logit",
        rivals: Sequence[str] = (),
    ) -> None:
        """Choose the steps; other arguments as in `AttributionExplainer`.

        Args:
            backend: the CLAP; never changed.
            domain: of the masks.
            steps: points on the line, 1 or more; more of them make the completeness error smaller.
            score: what is explained.
            rivals: for the scores that compare.

        Raises:
            LMACError: steps is too small, or as in `AttributionExplainer`.
        """
        super().__init__(backend, domain, score=score, rivals=rivals)
        self.steps = check_whole("steps", steps)

    def attribute(self, audio: AudioState, text: TextState, progress: Progress = no_progress) -> Attribution:
        """See `AttributionExplainer.attribute`; values are signed, in units of the score."""
        levels = grid_levels(self.backend, audio, self.domain)
        silence = silence_db(self.backend, self.domain)
        points, weights = line_rule(self.steps)
        mean = torch.zeros_like(levels)
        done = 0
        with evaluation_mode(self.backend):
            for row, window in enumerate(levels):
                prompt = text.embedding[row : row + 1]
                for first in range(0, self.steps, PASSES_AT_ONCE):
                    share = points[first : first + PASSES_AT_ONCE].to(window)[:, None, None]
                    line = silence + share * (window - silence)
                    gradient = level_gradient(self.backend, self.score, line, prompt, self.domain)
                    weight = weights[first : first + PASSES_AT_ONCE].to(window)
                    mean[row] += torch.einsum("s,sft->ft", weight, gradient)
                    done += len(share)
                    progress(done / (self.steps * len(levels)), f"{self.label}: {done} steps")
            values = mean * (levels - silence)
            return Attribution(values, self._completeness_error(values, levels, text.embedding))

    @torch.no_grad()
    def _completeness_error(self, values: Tensor, levels: Tensor, text: Tensor) -> Tensor:
        """How far the values' sum misses the change of the score, relative to it; both ends are encoded anew."""
        ends = torch.cat([levels, torch.full_like(levels, silence_db(self.backend, self.domain))])
        sound, nothing = score_levels(self.backend, self.score, ends, text.repeat(2, 1), self.domain).chunk(2)
        change = (sound - nothing).double()
        return ((values.double().sum(dim=(1, 2)) - change).abs() / change.abs().clamp_min(1e-9)).float()


def line_rule(steps: int) -> tuple[Tensor, Tensor]:
    """Midpoint rule in the root of the share of the way: denser near silence, where the score changes fastest.

    Returns:
        points: (steps,) float64, shares of the way in (0, 1).
        weights: (steps,) float64, sum 1.
    """
    root = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    return root.square(), 2 * root / steps
