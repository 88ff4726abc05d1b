"""Occlusion (Zeiler and Fergus 2014): how far the score falls when a patch of the sound is silenced."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lmaczs.clap.target import Target
from lmaczs.explainers.base import PASSES_AT_ONCE, MethodEntry
from lmaczs.explainers.options import check_whole
from lmaczs.explainers.perturbing import PerturbationMethod, patch_cells, to_grid
from lmaczs.types import AudioState, Progress


@dataclass(frozen=True, eq=False)
class Occlusion(PerturbationMethod):
    """Silences one rectangle of mel bands and time after another; a cell gets the mean fall over the patches on it.

    The resolution is that of the patches.

    Attributes:
        bands: height of a patch, mel bands.
        seconds: width of a patch, s.
        overlap: patches begin at every 1 / overlap of their height and width; 1 lays them side by side. Encoder passes
            grow with its square.
    """

    entry = MethodEntry(
        "occlusion",
        "Occlusion",
        "Zeiler and Fergus 2014",
        "Silences one patch after another and looks how far the score falls.",
    )
    bands: int = 8
    seconds: float = 0.5
    overlap: int = 2

    def __post_init__(self) -> None:
        """Check the options."""
        patch_cells(self.backend, self.bands, self.seconds)
        check_whole("overlap", self.overlap)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a patch, in cells of the mel grid."""
        return patch_cells(self.backend, self.bands, self.seconds)

    def patches(self, frames: int) -> list[tuple[int, int]]:
        """First mel band and first frame of every patch of a window with so many frames."""
        size = self.size
        lengths = (self.backend.spectral.n_mels, frames)
        rows, columns = (
            patch_starts(length, cells, max(cells // self.overlap, 1))
            for length, cells in zip(lengths, size, strict=True)
        )
        return [(row, column) for row in rows for column in columns]

    def passes(self) -> float:
        """See `Method.passes`."""
        return len(self.patches(1 + self.backend.clip_samples // self.backend.spectral.hop_length))

    def map_window(self, window: AudioState, target: Target, progress: Progress) -> Tensor:
        """See `PerturbationMethod.map_window`."""
        grid = window.mel_power[0]
        patches = self.patches(grid.shape[1])
        whole = target(window.embedding)
        fall, cover, done = torch.zeros_like(grid), torch.zeros_like(grid), 0
        masks = self._kept(patches, *grid.shape)
        for chunk, scores in self.score_masked(window, target, masks):
            change = target.zero_below_rounding(whole - scores, whole)
            fall += torch.einsum("n,nft->ft", change, 1 - chunk)
            cover += (1 - chunk).sum(0)
            done += len(chunk)
            progress(done / len(patches), f"{self.label}: {done} of {len(patches)} patches")
        return to_grid(self.backend, fall / cover, self.domain)

    def _kept(self, patches: list[tuple[int, int]], rows: int, frames: int) -> Iterator[Tensor]:
        """Masks that are 0 in one patch and 1 elsewhere, in chunks."""
        for first in range(0, len(patches), PASSES_AT_ONCE):
            chunk = patches[first : first + PASSES_AT_ONCE]
            kept = torch.ones(len(chunk), rows, frames)
            for mask, (row, column) in zip(kept, chunk, strict=True):
                mask[row : row + self.size[0], column : column + self.size[1]] = 0.0
            yield kept


def patch_starts(length: int, size: int, stride: int) -> range:
    """First cells of patches that together cover an axis; the last ones may reach beyond its end."""
    return range(0, max(length - size, 0) + stride, stride)
