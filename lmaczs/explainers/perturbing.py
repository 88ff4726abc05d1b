"""Scores of masked copies of a window, a few at a time: all that methods without gradients need of a model.

Masks are drawn on the mel axis, where the encoder hears, also for the "stft" domain: cells of equal width in Hz would
hold the whole of speech in one of them, and nothing in the next ten. There they are spread over the STFT bins.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.hooks import evaluation_mode
from lmaczs.clap.target import Target
from lmaczs.explainers.base import AttributionMethod, WindowMaps
from lmaczs.explainers.gradients import grid_power
from lmaczs.explainers.options import check_number, check_whole
from lmaczs.signal.masking import masked_power
from lmaczs.signal.spectral import mel_to_bins
from lmaczs.types import AudioState, MaskDomain, Progress, no_progress, part_of

# No window is longer.
MAX_SECONDS = 60.0


class PerturbationMethod(AttributionMethod):
    """Silences parts of a window and looks at its score; works on one window at a time, without gradients."""

    @abstractmethod
    def map_window(self, window: AudioState, target: Target, progress: Progress) -> Tensor:
        """One window's values, signed and in units of the score: (freq, frames).

        Args:
            window: a batch of one.
            target: what is explained.
            progress: called after each chunk of masks; may raise to stop.
        """

    @torch.no_grad()
    def map_windows(self, audio: AudioState, target: Target, progress: Progress = no_progress) -> WindowMaps:
        """See `Method.map_windows`."""
        count = len(audio.waveform)
        with evaluation_mode(self.backend):
            maps = [
                self.map_window(
                    audio[row : row + 1], target, part_of(progress, row / count, (row + 1) / count)
                )
                for row in range(count)
            ]
        return WindowMaps(torch.stack(maps))

    def score_masked(
        self, window: AudioState, target: Target, chunks: Iterable[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Score one window under many masks, in memory for one chunk of them.

        What a mask removes is silence; it is removed from the power of each cell, without the way through the sound, in
        which overlapping frames would fill it up a little.

        Args:
            window: a batch of one.
            target: what is asked.
            chunks: (masks, n_mels, frames) in [0, 1] each.

        Yields:
            A chunk and its scores (masks,).
        """
        power, backend = grid_power(window, self.domain), self.backend
        for chunk in chunks:
            chunk = chunk.to(power.device)
            mask = to_grid(backend, chunk, self.domain)
            heard = masked_power(power, mask, self.domain)
            yield chunk, target(backend.encode_changed(heard, window, self.domain)[0])


def patch_cells(backend: CLAPBackend, bands: int, seconds: float) -> tuple[int, int]:
    """Height and width of a patch, in cells of the mel grid.

    Args:
        backend: whose grid it is.
        bands: mel bands, 1 or more.
        seconds: at least one frame, at most MAX_SECONDS.

    Raises:
        LMACError: a number is out of range.
    """
    hop_s = backend.spectral.hop_length / backend.spectral.sample_rate
    bands = check_whole("bands", bands)
    return bands, round(check_number("seconds", seconds, hop_s, MAX_SECONDS) / hop_s)


def to_grid(backend: CLAPBackend, mel_maps: Tensor, domain: MaskDomain) -> Tensor:
    """Bring maps over mel bands to the grid of a domain's masks.

    Args:
        backend: whose mel axis it is.
        mel_maps: (..., n_mels, frames).
        domain: of the masks.

    Returns:
        (..., freq, frames); a constant stays that constant.
    """
    return mel_to_bins(backend.mel_filters) @ mel_maps if domain == "stft" else mel_maps
