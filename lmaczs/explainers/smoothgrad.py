"""SmoothGrad (Smilkov et al. 2017): the mean map of noisy copies, for any method that works by gradients."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lmaczs.clap.target import Target
from lmaczs.errors import LMACError
from lmaczs.explainers.base import PASSES_AT_ONCE, MethodEntry
from lmaczs.explainers.gradients import GradientMethod
from lmaczs.explainers.options import check_number, check_whole
from lmaczs.types import AudioState, Progress, no_progress

# What lies further below the loudest cell is not part of the range that sigma is a share of, dB.
RANGE_DB = 80.0
WRAPPED = ("saliency", "integrated-gradients", "grad-cam", "grad-cam++")


@dataclass(frozen=True, eq=False)
class SmoothGrad(GradientMethod):
    """Mean attribution over copies of the levels with fresh Gaussian noise in each.

    Two traps of public code are avoided: noise is drawn anew for every copy (drawn once, all maps are the same), and
    for every window from the same seed (so that a window's map does not depend on its neighbours in a batch).

    Attributes:
        of: method whose maps are averaged, one of `WRAPPED`; the paper's is saliency.
        n: noisy copies of each window, 1 or more.
        sigma: deviation of the noise, as a share of the range of the window's levels (at most RANGE_DB), >= 0; the paper
            advises 0.1 to 0.2. With n = 1 and sigma = 0 the result is that of the method itself.
        seed: of the noise.
    """

    entry = MethodEntry(
        "smoothgrad",
        "SmoothGrad",
        "Smilkov et al. 2017",
        "Averages the saliency of many copies with a little noise in them.",
    )
    of: str = "saliency"
    n: int = 25
    sigma: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options."""
        if self.of not in WRAPPED:
            known = ", ".join(f"'{name}'" for name in WRAPPED)
            raise LMACError(
                f"The option of is '{self.of}': choose a method that works by gradients, one of {known}."
            )
        check_whole("n", self.n)
        check_number("sigma", self.sigma, 0)
        check_whole("seed", self.seed, 0)

    @property
    def wrapped(self) -> GradientMethod:
        """The method whose maps are averaged."""
        from lmaczs.explainers import load_explainer

        method = load_explainer(self.of, self.backend, self.domain)
        assert isinstance(method, GradientMethod)
        return method

    def passes(self) -> float:
        """See `Method.passes`."""
        return self.n * self.wrapped.passes()

    def attribute_levels(
        self, levels: Tensor, audio: AudioState, target: Target, progress: Progress = no_progress
    ) -> tuple[Tensor, None]:
        """See `GradientMethod.attribute_levels`; values in the unit of the method that is averaged."""
        wrapped, total, done = self.wrapped, torch.zeros_like(levels), 0
        for row, window in enumerate(levels):
            for noisy in self._copies(window):
                total[row] += wrapped.attribute_levels(noisy, audio.window(row), target)[0].sum(0)
                done += len(noisy)
                progress(done / (self.n * len(levels)), f"{self.label}: {done} noisy copies")
        return total / self.n, None

    def _copies(self, window: Tensor) -> Iterator[Tensor]:
        """(copies, freq, frames) dB at a time; drawn on the CPU, so that every device gets the same noise."""
        generator = torch.Generator().manual_seed(self.seed)
        spread = (window.amax() - window.amin()).clamp_max(RANGE_DB)
        for first in range(0, self.n, PASSES_AT_ONCE):
            shape = (min(PASSES_AT_ONCE, self.n - first), *window.shape)
            drawn = torch.randn(shape, generator=generator).to(window.device)
            yield window + self.sigma * spread * drawn
