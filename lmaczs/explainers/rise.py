"""RISE (Petsiuk et al. 2018): which cells tend to be kept in the random masks that score high."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lmaczs.clap.target import Target
from lmaczs.explainers.base import PASSES_AT_ONCE, MethodEntry
from lmaczs.explainers.options import check_number, check_whole
from lmaczs.explainers.perturbing import PerturbationMethod, patch_cells, to_grid
from lmaczs.signal.masking import resize_mask
from lmaczs.types import AudioState, Progress


@dataclass(frozen=True, eq=False)
class RISE(PerturbationMethod):
    """A cell's value is the mean score of the masks that keep it, less the mean score of all masks.

    The paper (eq. 6) has the first part alone and stretches the map to [0, 1] for a picture. Without the second part
    every cell would carry the score that any half of the sound has, and the mask would keep almost everything; and
    the mean is taken over the share that the masks really kept of a cell, not over the share expected.

    Masks are coarse random grids, smoothed and shifted; only running sums of them are held, so memory
    does not grow with their number.

    Attributes:
        n: random masks, each of them one encoder pass.
        bands: height of a cell of the coarse grid, mel bands.
        seconds: width of a cell of the coarse grid, s.
        keep: probability that a cell of the coarse grid is kept, 0.01 to 0.99.
        seed: of the masks; every window gets the same ones.
    """

    entry = MethodEntry(
        "rise",
        "RISE",
        "Petsiuk et al. 2018",
        "Keeps random parts of the sound and looks which of them score high.",
    )
    n: int = 500
    bands: int = 8
    seconds: float = 0.5
    keep: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options."""
        check_whole("n", self.n)
        check_whole("seed", self.seed, 0)
        check_number("keep", self.keep, 0.01, 0.99)
        patch_cells(self.backend, self.bands, self.seconds)

    def passes(self) -> float:
        """See `Method.passes`."""
        return self.n

    def map_window(self, window: AudioState, target: Target, progress: Progress) -> Tensor:
        """See `PerturbationMethod.map_window`."""
        grid = window.mel_power[0]
        rows, frames = grid.shape
        whole = target(window.embedding)
        scored, kept, total, done = torch.zeros_like(grid), torch.zeros_like(grid), 0.0, 0
        cell = patch_cells(self.backend, self.bands, self.seconds)
        masks = random_masks(self.n, rows, frames, cell, self.keep, self.seed)
        for chunk, scores in self.score_masked(window, target, masks):
            # A constant cancels out below; small sums are exact.
            change = target.zero_below_rounding(scores - whole, whole)
            scored += torch.einsum("n,nft->ft", change, chunk)
            kept += chunk.sum(0)
            total += float(change.sum())
            done += len(chunk)
            progress(done / self.n, f"{self.label}: {done} of {self.n} masks")
        # A cell that no mask ever kept tells nothing.
        mean = torch.where(kept > 0, scored / kept.clamp_min(1e-6), total / self.n)
        values = target.zero_below_rounding(mean - total / self.n, whole)
        return to_grid(self.backend, values, self.domain)


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
