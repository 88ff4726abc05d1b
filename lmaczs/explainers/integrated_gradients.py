"""Integrated gradients (Sundararajan et al. 2017): the way from silence to the sound, shared out among the cells."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmaczs.clap.target import Target
from lmaczs.explainers.base import FORWARD_AND_BACKWARD, PASSES_AT_ONCE, MethodEntry
from lmaczs.explainers.gradients import GradientMethod, level_gradient, score_levels, silence_db
from lmaczs.explainers.options import check_whole
from lmaczs.types import AudioState, Progress, no_progress


@dataclass(frozen=True, eq=False)
class IntegratedGradients(GradientMethod):
    """Gradients with respect to the levels, integrated on the straight line from silence to the window.

    The baseline is silence in decibels, `silence_db` in every cell; a zero would be none, 0 dB is louder than most cells.
    The line runs in decibels and not in power, where it would be one sound at growing volume, of which an encoder that
    takes the level out sees nothing. (Such an encoder hears the baseline as a sound without any contrast. Its own
    floor, still 60 dB lower, could be reached too, but the way from there is so rough that 50 steps miss the sum by
    up to a third.)

    The values of all cells add up to score(window) - score(silence); `completeness_error` says how well. The mask takes
    the positive part: what raised the score.

    Attributes:
        steps: points on the line, 1 or more; more of them make the completeness error smaller.
    """

    entry = MethodEntry(
        "integrated-gradients",
        "Integrated gradients",
        "Sundararajan et al. 2017",
        "Shares the change of the score from silence to the sound out among the cells.",
    )
    steps: int = 50

    def __post_init__(self) -> None:
        """Check the options."""
        check_whole("steps", self.steps)

    def passes(self) -> float:
        """See `Method.passes`."""
        return FORWARD_AND_BACKWARD * self.steps + 2

    def attribute_levels(
        self, levels: Tensor, audio: AudioState, target: Target, progress: Progress = no_progress
    ) -> tuple[Tensor, Tensor]:
        """See `GradientMethod.attribute_levels`; values are signed, in units of the score."""
        silence = silence_db(self.backend, self.domain)
        points, weights = line_rule(self.steps)
        mean = torch.zeros_like(levels)
        done = 0
        for row, window in enumerate(levels):
            for first in range(0, self.steps, PASSES_AT_ONCE):
                share = points[first : first + PASSES_AT_ONCE].to(window)[:, None, None]
                line = silence + share * (window - silence)
                gradient = level_gradient(self.backend, target, line, audio.window(row), self.domain)
                weight = weights[first : first + PASSES_AT_ONCE].to(window)
                mean[row] += torch.einsum("s,sft->ft", weight, gradient)
                done += len(share)
                progress(done / (self.steps * len(levels)), f"{self.label}: {done} steps")
        values = mean * (levels - silence)
        return values, self._completeness_error(values, levels, audio, target)

    @torch.no_grad()
    def _completeness_error(
        self, values: Tensor, levels: Tensor, audio: AudioState, target: Target
    ) -> Tensor:
        """How far the values' sum misses the change of the score, relative to it; both ends are encoded anew."""
        silence = torch.full_like(levels, silence_db(self.backend, self.domain))
        sound, nothing = (
            score_levels(self.backend, target, end, audio, self.domain) for end in (levels, silence)
        )
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
