"""SLIME (Mishra et al. 2017): a linear model of the score over segments of the spectrogram, fitted around one sound."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lmaczs.clap.target import Target
from lmaczs.explainers.base import PASSES_AT_ONCE, MethodEntry
from lmaczs.explainers.options import check_number, check_whole
from lmaczs.explainers.perturbing import PerturbationMethod, to_grid
from lmaczs.types import AudioState, Progress, no_progress


@dataclass(frozen=True, eq=False)
class SLIME(PerturbationMethod):
    """Silences random halves of the segments; a segment's value is its weight in a ridge regression of the score.

    Samples count the more, the more segments they keep: LIME's kernel (Ribeiro et al. 2016) of the cosine distance from
    the whole sound. Segments are of equal height in mel bands, where the encoder hears, and of equal width in time. The
    resolution is that of the segments.

    Attributes:
        n: samples, each of them one encoder pass; the first is the whole sound.
        rows: segments along frequency, at most the mel bands.
        columns: segments along time, at most the frames of a window.
        alpha: strength of the ridge, 0.0001 or more.
        width: of LIME's kernel, 0.01 or more; larger values count distant samples more.
        seed: of the samples; every window gets the same ones.
    """

    entry = MethodEntry(
        "slime",
        "SLIME",
        "Mishra et al. 2017",
        "Silences random halves of 24 segments and fits a linear model of the score.",
    )
    n: int = 1000
    rows: int = 4
    columns: int = 6
    alpha: float = 1.0
    width: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options."""
        check_whole("n", self.n, 2)
        check_whole("seed", self.seed, 0)
        grid = self.backend.spectral
        check_whole("rows", self.rows, 1, grid.n_mels)
        check_whole("columns", self.columns, 1, 1 + self.backend.clip_samples // grid.hop_length)
        check_number("alpha", self.alpha, 1e-4)
        check_number("width", self.width, 0.01)

    def passes(self) -> float:
        """See `Method.passes`."""
        return self.n

    def map_window(self, window: AudioState, target: Target, progress: Progress) -> Tensor:
        """See `PerturbationMethod.map_window`."""
        weights = self.segment_weights(window, target, progress)
        spread = self.spread(weights.unsqueeze(0), window.mel_power.shape[2])
        return to_grid(self.backend, spread[0], self.domain)

    def spread(self, values: Tensor, frames: int) -> Tensor:
        """Give every cell its segment's value: (batch, segments) -> (batch, n_mels, frames)."""
        segment = segments(self.backend.spectral.n_mels, frames, self.rows, self.columns)
        return values[:, segment.to(values.device)]

    @torch.no_grad()
    def segment_weights(self, window: AudioState, target: Target, progress: Progress = no_progress) -> Tensor:
        """Weights of the linear model, one for each segment.

        Args:
            window: a batch of one.
            target: what is explained.
            progress: called after each chunk of samples.

        Returns:
            (segments,), signed, in units of the score; numbered as in `segments`.
        """
        kept = random_halves(self.n, self.rows * self.columns, self.seed)
        whole = target(window.embedding)
        found: list[Tensor] = []
        frames = window.mel_power.shape[2]
        masks = (self.spread(chunk, frames) for chunk in kept.to(whole).split(PASSES_AT_ONCE))
        for _, scores in self.score_masked(window, target, masks):
            found.append(target.zero_below_rounding(scores - whole, whole))
            done = min(PASSES_AT_ONCE * len(found), self.n)
            progress(done / self.n, f"{self.label}: {done} of {self.n} samples")
        weights = fit_ridge(kept, torch.cat(found).cpu(), self.alpha, self.width)
        return target.zero_below_rounding(weights.to(whole), whole)


def segments(n_mels: int, frames: int, rows: int, columns: int) -> Tensor:
    """Number the segments of a grid: (n_mels, frames) int64 in [0, rows * columns), along time first."""
    row = torch.arange(n_mels) * rows // n_mels
    column = torch.arange(frames) * columns // frames
    return row[:, None] * columns + column


def random_halves(n: int, count: int, seed: int) -> Tensor:
    """Samples of LIME: (n, count) of zeros and ones, each a fair coin; the first sample keeps everything."""
    kept = (torch.rand(n, count, generator=torch.Generator().manual_seed(seed)) < 0.5).float()
    kept[0] = 1.0
    return kept


def fit_ridge(kept: Tensor, scores: Tensor, alpha: float, width: float) -> Tensor:
    """Weights of the segments in a linear model with an intercept, ridge and LIME's kernel.

    Args:
        kept: (samples, segments) of zeros and ones.
        scores: (samples,).
        alpha: strength of the ridge; the intercept is free of it.
        width: of the kernel sqrt(exp(-d^2 / width^2)), d the cosine distance from the sample that keeps everything (1
            for one that keeps nothing).

    Returns:
        (segments,) float32, in units of the score.
    """
    from sklearn.linear_model import Ridge

    near = kept.double().mean(1).sqrt()  # cosine of a sample and the whole: sqrt(kept / all)
    kernel = torch.exp(-0.5 * ((1 - near) / width).square())
    model = Ridge(alpha=alpha).fit(kept.double(), scores.double(), sample_weight=kernel)
    return torch.from_numpy(model.coef_).float()
