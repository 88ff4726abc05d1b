"""The only place where a mask meets a sound.

In the "stft" domain the mask multiplies the complex STFT, and what is heard is what is scored. In the "mel" domain it
multiplies linear mel power; its sound is made with the mask mapped to STFT bins. Decibels are never multiplied: a mask
of 0 would turn -60 dB into 0 dB, that is, louder.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lmaczs.errors import MaskShapeError
from lmaczs.signal.spectral import BLOCK_FRAMES, SpectralConfig, istft, stft
from lmaczs.types import MaskDomain


def check_mask(mask: Tensor, rows: int, frames: int, domain: MaskDomain) -> None:
    """Refuse a mask that does not lie on its grid.

    Raises:
        MaskShapeError: names both shapes.
    """
    if mask.shape[-2:] != (rows, frames):
        raise MaskShapeError(
            f"The mask has {mask.shape[-2]} x {mask.shape[-1]} cells, but the {domain} grid of this recording has "
            f"{rows} x {frames}: use a mask made for this recording and domain."
        )


def mel_mask_to_stft(mask: Tensor, mel_filters: Tensor) -> Tensor:
    """Spread a mel power mask over STFT bins by the filters' normalised transpose, as an amplitude mask.

    Args:
        mask: (..., n_mels, frames) in [0, 1], on power.
        mel_filters: (n_mels, bins).

    Returns:
        (..., bins, frames) in [0, 1], on amplitude; bins that no filter sees follow the nearest one that is seen. The
        gradient is finite everywhere.
    """
    return amplitude_of(spread_over_bins(mask, mel_filters).clamp(0, 1))


def spread_over_bins(values: Tensor, mel_filters: Tensor) -> Tensor:
    """Factors on the power of mel bands as factors on that of bins: (..., n_mels, frames) -> (..., bins, frames)."""
    weight = mel_filters.T
    seen = weight.sum(1) > 0
    nearest = torch.nonzero(seen)[:, 0]
    bins = torch.arange(len(weight), device=weight.device)
    source = nearest[(bins[:, None] - nearest[None]).abs().argmin(1)]
    return weight[source] / weight[source].sum(1, keepdim=True) @ values


def amplitude_of(power: Tensor) -> Tensor:
    """Root of a factor on power >= 0, with a finite gradient everywhere: a root has no slope at 0."""
    root = power.clamp_min(torch.finfo(power.dtype).tiny).sqrt()
    return torch.where(power > 0, root, power)


def resize_mask(mask: Tensor, rows: int, frames: int) -> Tensor:
    """Bilinear resize of (batch, freq, frames) masks; stays within [0, 1]."""
    return F.interpolate(mask.unsqueeze(1), (rows, frames), mode="bilinear", align_corners=False)[:, 0]


def masked_power(power: Tensor, mask: Tensor, domain: MaskDomain) -> Tensor:
    """Power of a masked window; differentiable in the mask, without a way through the waveform.

    Args:
        power: (batch, bins or n_mels, frames) >= 0, on the mask's grid.
        mask: (batch, bins or n_mels, frames) in [0, 1]; on amplitude in the domain "stft", on power in "mel".
        domain: of both.

    Returns:
        The same shape, >= 0.
    """
    return power * (mask.square() if domain == "stft" else mask)


def heard_spectrum(spectrum: Tensor, mask: Tensor, config: SpectralConfig, num_samples: int) -> Tensor:
    """STFT of the sound that a mask leaves; differentiable in the mask.

    Through the sound and back: overlapping frames fill the holes of a mask with what leaks from their neighbours.
    Judged on the masked bins alone, a decoder would be rewarded for depths of silence that nobody can hear.

    Args:
        spectrum: (batch, bins, frames) complex64.
        mask: (batch, bins, frames) in [0, 1], on amplitude.
        config: the grid.
        num_samples: length of the windows.

    Returns:
        (batch, bins, frames) complex64.
    """
    # As pairs of numbers: a product with complex ones makes the mask complex first.
    masked = torch.view_as_complex(torch.view_as_real(spectrum) * mask.unsqueeze(-1))
    return stft(istft(masked, config, num_samples), config)


def masked_waveform(waveform: Tensor, mask: Tensor, config: SpectralConfig) -> Tensor:
    """The sound that an STFT mask keeps, in blocks, so that memory does not grow with the recording.

    Equal to the inverse STFT of the masked STFT of the whole recording.

    Args:
        waveform: (samples,), more than n_fft // 2 samples.
        mask: (bins, 1 + samples // hop_length) in [0, 1], on amplitude.
        config: the grid.

    Returns:
        (samples,).

    Raises:
        MaskShapeError: the mask is not on this recording's grid.
    """
    n_fft, hop = config.n_fft, config.hop_length
    frames = 1 + waveform.shape[-1] // hop
    check_mask(mask, config.n_bins, frames, "stft")
    window = config.window_like(waveform)
    padded = F.pad(waveform[None, None], (n_fft // 2, n_fft // 2), mode="reflect")[0, 0]
    length = (frames - 1) * hop + n_fft
    total = waveform.new_zeros(max(length, padded.shape[-1]))
    for first in range(0, frames, BLOCK_FRAMES):
        last = min(first + BLOCK_FRAMES, frames)
        span = slice(first * hop, (last - 1) * hop + n_fft)
        spectrum = torch.fft.rfft(padded[span].unfold(0, n_fft, hop) * window)
        parts = torch.fft.irfft(spectrum * mask[:, first:last].T, n=n_fft) * window
        size = (1, span.stop - span.start)
        total[span] += F.fold(parts.T[None], size, (1, n_fft), stride=(1, hop))[0, 0, 0]
    # In place and in blocks: of ten minutes, each copy takes 77 MB.
    for start in range(0, length, BLOCK_FRAMES * hop):
        stop = min(start + BLOCK_FRAMES * hop, length)
        # Frames that reach into these samples.
        first, last = max(0, (start - n_fft) // hop + 1), min(frames, (stop - 1) // hop + 1)
        weight = _overlap(last - first, config)[start - first * hop : stop - first * hop]
        total[start:stop] /= weight.clamp_min(1e-8).to(waveform)
    return total[n_fft // 2 : n_fft // 2 + waveform.shape[-1]]


# A block is up to BLOCK_FRAMES long, so this is small, and every prompt of a recording needs it.
@lru_cache(maxsize=8)
def _overlap(frames: int, config: SpectralConfig) -> Tensor:
    """Sum of the squared windows of so many frames: ((frames - 1) * hop_length + n_fft,)."""
    squares = config.window_like(torch.empty(0)).square().expand(frames, -1).T[None]
    size = (1, (frames - 1) * config.hop_length + config.n_fft)
    return F.fold(squares, size, (1, config.n_fft), stride=(1, config.hop_length))[0, 0, 0]
