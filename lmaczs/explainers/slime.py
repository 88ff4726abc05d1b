"""SLIME (Mishra et al. 2017): a linear model of the score over segments of the spectrogram, fitted around one sound."""

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
    part_of,
)
from lmaczs.explainers.hooks import evaluation_mode
from lmaczs.explainers.perturbing import score_masked, to_grid
from lmaczs.types import AudioState, MaskDomain, Progress, TextState


class SLIME(AttributionExplainer):
    """Silences random halves of the segments; a segment's value is its weight in a ridge regression of the score.

    Samples count the more, the more segments they keep: LIME's kernel (Ribeiro et al. 2016) of the cosine distance from
    the whole sound. Segments are of equal height in mel bands, where the encoder hears, and of equal width in time.

    No gradients. The resolution is that of the segments.
    """

    name: ClassVar[str] = "slime"
    label: ClassVar[str] = "SLIME"

    def __init__(
        self,
        backend: CLAPBackend,
        domain: MaskDomain = "stft",
        *,
        n: int = 1000,
        rows: int = 4,
        columns: int = 6,
        alpha: float = 1.0,
        width: float = 0.25,
        seed: int = 0,
        score: str = "logit",
        rivals: Sequence[str] = (),
    ) -> None:
        """Choose segments and samples; other arguments as in `AttributionExplainer`.

        Args:
            backend: the CLAP; never changed.
            domain: of the masks.
            n: samples, each of them one encoder pass; the first is the whole sound.
            rows: segments along frequency, at most the mel bands.
            columns: segments along time, at most the frames of a window.
            alpha: strength of the ridge, 0.0001 or more.
            width: of LIME's kernel, 0.01 or more; larger values count distant samples more.
            seed: of the samples; every window gets the same ones.
            score: what is explained.
            rivals: for the scores that compare.

        Raises:
            LMACError: a number is out of range, or as in `AttributionExplainer`.
        """
        super().__init__(backend, domain, score=score, rivals=rivals)
        grid = backend.spectral
        self.n, self.seed = check_whole("n", n, 2), check_whole("seed", seed, 0)
        self.rows = round(check_number("rows", check_whole("rows", rows), 1, grid.n_mels))
        frames = 1 + backend.clip_samples // grid.hop_length
        self.columns = round(check_number("columns", check_whole("columns", columns), 1, frames))
        self.segment = segments(grid.n_mels, frames, self.rows, self.columns)
        self.alpha, self.width = check_number("alpha", alpha, 1e-4), check_number("width", width, 0.01)

    def attribute(self, audio: AudioState, text: TextState, progress: Progress = no_progress) -> Attribution:
        """See `AttributionExplainer.attribute`; values are signed, in units of the score."""
        weights = self.segment_weights(audio, text, progress)
        return Attribution(to_grid(self.backend, self.spread(weights), self.domain))

    def segment_weights(self, audio: AudioState, text: TextState, progress: Progress = no_progress) -> Tensor:
        """Weights of the linear model, one for each segment.

        Args:
            audio: as in `masks`, and so are the others.
            text: prompts.
            progress: called after each chunk of samples.

        Returns:
            (batch, segments), signed, in units of the score; numbered as in `segments`.
        """
        count = len(audio.waveform)
        with evaluation_mode(self.backend):
            found = [
                self._weights(
                    audio[row : row + 1], text.embedding[row : row + 1], part_of(progress, row, count)
                )
                for row in range(count)
            ]
        return torch.stack(found)

    def spread(self, values: Tensor) -> Tensor:
        """Give every cell its segment's value: (batch, segments) -> (batch, n_mels, frames)."""
        return values[:, self.segment.to(values.device)]

    @torch.no_grad()
    def _weights(self, window: AudioState, prompt: Tensor, progress: Progress) -> Tensor:
        """One window's weights: (segments,)."""
        kept = random_halves(self.n, self.rows * self.columns, self.seed)
        whole = self.score(window.embedding, prompt)
        found: list[Tensor] = []
        masks = (self.spread(chunk) for chunk in kept.to(whole).split(PASSES_AT_ONCE))
        for _, scores in score_masked(self.backend, self.score, window, prompt, masks, self.domain):
            found.append(self.score.told(scores - whole, whole))
            done = min(PASSES_AT_ONCE * len(found), self.n)
            progress(done / self.n, f"{self.label}: {done} of {self.n} samples")
        weights = fit_ridge(kept, torch.cat(found).cpu(), self.alpha, self.width)
        return self.score.told(weights.to(whole), whole)


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
