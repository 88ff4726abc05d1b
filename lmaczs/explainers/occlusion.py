"""Occlusion (Zeiler and Fergus 2014): how far the score falls when a patch of the sound is silenced."""

from collections.abc import Iterator, Sequence
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
    part_of,
)
from lmaczs.explainers.hooks import evaluation_mode
from lmaczs.explainers.perturbing import patch_cells, score_masked, to_grid
from lmaczs.types import AudioState, MaskDomain, Progress, TextState


class Occlusion(AttributionExplainer):
    """Silences one rectangle of mel bands and time after another; a cell gets the mean fall over the patches on it.

    No gradients. The resolution is that of the patches.
    """

    name: ClassVar[str] = "occlusion"
    label: ClassVar[str] = "Occlusion"

    def __init__(
        self,
        backend: CLAPBackend,
        domain: MaskDomain = "stft",
        *,
        bands: int = 8,
        seconds: float = 0.5,
        overlap: int = 2,
        score: str = "logit",
        rivals: Sequence[str] = (),
    ) -> None:
        """Choose the patches; other arguments as in `AttributionExplainer`.

        Args:
            backend: the CLAP; never changed.
            domain: of the masks.
            bands: height of a patch, mel bands.
            seconds: width of a patch, s.
            overlap: patches begin at every 1 / overlap of their height and width; 1 lays them side by side. Encoder
                passes grow with its square.
            score: what is explained.
            rivals: for the scores that compare.

        Raises:
            LMACError: a number is too small, or as in `AttributionExplainer`.
        """
        super().__init__(backend, domain, score=score, rivals=rivals)
        self.size = patch_cells(backend, bands, seconds)
        overlap = check_whole("overlap", overlap)
        self.stride = tuple(max(length // overlap, 1) for length in self.size)

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
        rows, columns = (
            patch_starts(length, size, stride)
            for length, size, stride in zip(grid.shape, self.size, self.stride, strict=True)
        )
        patches = [(row, column) for row in rows for column in columns]
        whole = self.score(window.embedding, prompt)
        fall, cover, done = torch.zeros_like(grid), torch.zeros_like(grid), 0
        masks = self._kept(patches, *grid.shape)
        for chunk, scores in score_masked(self.backend, self.score, window, prompt, masks, self.domain):
            fall += torch.einsum("n,nft->ft", self.score.told(whole - scores, whole), 1 - chunk)
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
