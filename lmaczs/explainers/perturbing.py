"""Scores of masked copies of a window, a few at a time: all that methods without gradients need of a model.

Masks are drawn on the mel axis, where the encoder hears, also for the "stft" domain: cells of equal width in Hz would
hold the whole of speech in one of them, and nothing in the next ten. There they are spread over the STFT bins.
"""

from collections.abc import Iterable, Iterator

from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.base import check_number, check_whole
from lmaczs.explainers.scores import Score
from lmaczs.signal.masking import masked_mel_power
from lmaczs.signal.spectral import mel_to_bins, power_of
from lmaczs.types import AudioState, MaskDomain

MAX_SECONDS = 60.0  # no window is longer


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


def score_masked(
    backend: CLAPBackend,
    score: Score,
    window: AudioState,
    text: Tensor,
    chunks: Iterable[Tensor],
    domain: MaskDomain,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Score one window under many masks, in memory for one chunk of them.

    What a mask removes is silence; it is removed from the power of each cell, without the way through the sound, in
    which overlapping frames would fill it up a little.

    Args:
        backend: in evaluation mode; the caller switches gradients off.
        score: what is asked.
        window: a batch of one.
        text: (1, embed_dim), unit norm.
        chunks: (masks, n_mels, frames) in [0, 1] each.
        domain: where the masks apply.

    Yields:
        A chunk and its scores (masks,).
    """
    power = power_of(window.stft)
    for chunk in chunks:
        chunk = chunk.to(power.device)
        mel = masked_mel_power(power, to_grid(backend, chunk, domain), backend.mel_filters, domain)
        yield chunk, score(backend.encode(mel)[0], text)
