"""RISE (Petsiuk et al. 2018): which cells tend to be kept in the random masks that score high."""

from collections.abc import Iterator, Sequence
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
from lmaczs.explainers.perturbing import patch_cells, score_masked, to_grid
from lmaczs.signal.masking import resize_mask
from lmaczs.types import AudioState, MaskDomain, Progress, TextState


class RISE(AttributionExplainer):
    """A cell's value is the mean score of the masks that keep it, less the mean score of all masks.

    The paper (eq. 6) has the first part alone and stretches the map to [0, 1] for a picture. Without the second part
    every cell would carry the score that any half of the sound has, and the mask would keep almost everything; and
    the mean is taken over the share that the masks really kept of a cell, not over the share expected.

    No gradients. Masks are coarse random grids, smoothed and shifted; only running sums of them are held, so memory
    does not grow with their number.
    """

    name: ClassVar[str] = "rise"
    label: ClassVar[str] = "RISE"

    def __init__(
        self,
        backend: CLAPBackend,
        domain: MaskDomain = "stft",
        *,
        n: int = 500,
        bands: int = 8,
        seconds: float = 0.5,
        keep: float = 0.5,
        seed: int = 0,
        score: str = "logit",
        rivals: Sequence[str] = (),
    ) -> None:
        """Choose the masks; other arguments as in `AttributionExplainer`.

        Args:
            backend: the CLAP; never changed.
            domain: of the masks.
            n: random masks, each of them one encoder pass.
            bands: height of a cell of the coarse grid, mel bands.
            seconds: width of a cell of the coarse grid, s.
            keep: probability that a cell of the coarse grid is kept, 0.01 to 0.99.
            seed: of the masks; every window gets the same ones.
            score: what is explained.
            rivals: for the scores that compare.

        Raises:
            LMACError: a number is out of range, or as in `AttributionExplainer`.
        """
        super().__init__(backend, domain, score=score, rivals=rivals)
        self.n, self.seed = check_whole("n", n), check_whole("seed", seed, 0)
        self.keep = check_number("keep", keep, 0.01, 0.99)
        self.cell = patch_cells(backend, bands, seconds)

    def attribute(self, audio: AudioState, text: TextState, progress: Progress = no_progress) -> Attribution:
        """See `AttributionExplainer.attribute`; values are signed, in units of the score."""
        count = len(audio.waveform)
        with evaluation_mode(self.backend):
            maps = [
                self._map(audio[row : row + 1], text.embedding[row : row + 1], part_of(progress, row, count))
                for row in range(count)
            ]
        return Attribution(torch.stack(maps))

    @torch.no_grad()
    def _map(self, window: AudioState, prompt: Tensor, progress: Progress) -> Tensor:
        """One window's values: (freq, frames)."""
        grid = window.mel_power[0]
        rows, frames = grid.shape
        whole = self.score(window.embedding, prompt)
        scored, kept, total, done = torch.zeros_like(grid), torch.zeros_like(grid), 0.0, 0
        masks = random_masks(self.n, rows, frames, self.cell, self.keep, self.seed)
        for chunk, scores in score_masked(self.backend, self.score, window, prompt, masks, self.domain):
            change = self.score.told(
                scores - whole, whole
            )  # a constant cancels out below; small sums are exact
            scored += torch.einsum("n,nft->ft", change, chunk)
            kept += chunk.sum(0)
            total += float(change.sum())
            done += len(chunk)
            progress(done / self.n, f"{self.label}: {done} of {self.n} masks")
        # A cell that no mask ever kept tells nothing.
        mean = torch.where(kept > 0, scored / kept.clamp_min(1e-6), total / self.n)
        return to_grid(self.backend, self.score.told(mean - total / self.n, whole), self.domain)


def random_masks(
    n: int, rows: int, frames: int, cell: tuple[int, int], keep: float, seed: int
) -> Iterator[Tensor]:
    """Smooth random masks (Petsiuk et al. 2018, section 3.3), in chunks of at most PASSES_AT_ONCE.

    Args:
        n: masks in all.
        rows: height of a mask.
        frames: width of a mask.
        cell: height and width of a cell of the coarse grid.
        keep: probability that a cell is 1.
        seed: the same masks for the same seed, however many are asked for.

    Yields:
        (masks, rows, frames) in [0, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    coarse = [-(-length // size) + 1 for length, size in zip((rows, frames), cell, strict=True)]
    for first in range(0, n, PASSES_AT_ONCE):
        chunk = []
        for _ in range(min(PASSES_AT_ONCE, n - first)):
            grid = (torch.rand(1, *coarse, generator=generator) < keep).float()
            up, left = (int(torch.randint(size, (), generator=generator)) for size in cell)
            smooth = resize_mask(grid, coarse[0] * cell[0], coarse[1] * cell[1])[0]
            chunk.append(smooth[up : up + rows, left : left + frames])
        yield torch.stack(chunk)
