"""SmoothGrad (Smilkov et al. 2017): the mean saliency of noisy copies."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.base import (
    PASSES_AT_ONCE,
    Attribution,
    AttributionExplainer,
    check_number,
    check_whole,
    no_progress,
)
from lmaczs.explainers.decibels import grid_levels, level_gradient
from lmaczs.explainers.hooks import evaluation_mode
from lmaczs.types import AudioState, MaskDomain, Progress, TextState

RANGE_DB = 80.0  # what lies further below the loudest cell is not part of the range that sigma is a share of


class SmoothGrad(AttributionExplainer):
    """Mean magnitude of the gradient over copies of the levels with fresh Gaussian noise in each.

    Two traps of public code are avoided: noise is drawn anew for every copy (drawn once, all maps are the same), and
    for every window from the same seed (so that a window's map does not depend on its neighbours in a batch).
    """

    name: ClassVar[str] = "smoothgrad"
    label: ClassVar[str] = "SmoothGrad"

    def __init__(
        self,
        backend: CLAPBackend,
        domain: MaskDomain = "stft",
        *,
        n: int = 25,
        sigma: float = 0.15,
        seed: int = 0,
        score: str = "logit",
        rivals: Sequence[str] = (),
    ) -> None:
        """Choose the noise; other arguments as in `AttributionExplainer`.

        Args:
            backend: the CLAP; never changed.
            domain: of the masks.
            n: noisy copies of each window, 1 or more.
            sigma: deviation of the noise, as a share of the range of the window's levels (at most RANGE_DB), >= 0;
                the paper advises 0.1 to 0.2. With n = 1 and sigma = 0 the result is that of `Saliency`.
            seed: of the noise.
            score: what is explained.
            rivals: for the scores that compare.

        Raises:
            LMACError: n or sigma is too small, or as in `AttributionExplainer`.
        """
        super().__init__(backend, domain, score=score, rivals=rivals)
        self.n, self.sigma = check_whole("n", n), check_number("sigma", sigma, 0)
        self.seed = check_whole("seed", seed, 0)

    def attribute(self, audio: AudioState, text: TextState, progress: Progress = no_progress) -> Attribution:
        """See `AttributionExplainer.attribute`; values are >= 0, in score per dB."""
        levels = grid_levels(self.backend, audio, self.domain)
        total = torch.zeros_like(levels)
        done = 0
        with evaluation_mode(self.backend):
            for row, window in enumerate(levels):
                generator = torch.Generator().manual_seed(self.seed)
                for first in range(0, self.n, PASSES_AT_ONCE):
                    count = min(PASSES_AT_ONCE, self.n - first)
                    noisy = window + self._noise(window, count, generator)
                    prompt = text.embedding[row : row + 1]
                    gradient = level_gradient(self.backend, self.score, noisy, prompt, self.domain)
                    total[row] += gradient.abs().sum(0)
                    done += count
                    progress(done / (self.n * len(levels)), f"{self.label}: {done} noisy copies")
        return Attribution(total / self.n)

    def _noise(self, window: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """(count, freq, frames) dB; drawn on the CPU, so that every device gets the same."""
        spread = (window.amax() - window.amin()).clamp_max(RANGE_DB)
        drawn = torch.randn(count, *window.shape, generator=generator)
        return self.sigma * spread * drawn.to(window.device)
