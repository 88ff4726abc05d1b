"""STFT pair, mel filterbank and decibels; all differentiable, all on the caller's device."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_FRAMES = 500


@dataclass(frozen=True)
class SpectralConfig:
    """The grid of a front end.

    Attributes:
        sample_rate: Hz.
        n_fft: samples of one window (1024 = 64 ms at 16 kHz).
        hop_length: samples between frames (320 = 20 ms at 16 kHz).
        n_mels: mel bands.
        f_min: lower edge of the lowest band, Hz.
        f_max: upper edge of the highest band, Hz.
        window: (n_fft) weights of the window; None is a periodic Hann window.
    """

    sample_rate: int = 16000
    n_fft: int = 1024
    hop_length: int = 320
    n_mels: int = 64
    f_min: float = 50.0
    f_max: float = 8000.0
    window: tuple[float, ...] | None = None

    @property
    def n_bins(self) -> int:
        """Rows of the STFT."""
        return self.n_fft // 2 + 1

    def window_like(self, tensor: Tensor) -> Tensor:
        """The window: (n_fft,), on the device and in the precision of a real tensor."""
        if self.window is None:
            return torch.hann_window(self.n_fft, device=tensor.device, dtype=tensor.dtype)
        return torch.tensor(self.window, device=tensor.device, dtype=tensor.dtype)


def stft(waveform: Tensor, config: SpectralConfig) -> Tensor:
    """Short-time Fourier transform with centred windows and reflected edges.

    Args:
        waveform: (batch, samples), more than n_fft // 2 samples.
        config: the grid.

    Returns:
        (batch, n_fft // 2 + 1, 1 + samples // hop_length) complex64.
    """
    return torch.stft(
        waveform,
        config.n_fft,
        config.hop_length,
        window=config.window_like(waveform),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )


def power_of(spectrum: Tensor) -> Tensor:
    """Squared magnitude of complex values, without the root that `abs` takes: any shape, >= 0, differentiable."""
    return spectrum.real.square() + spectrum.imag.square()


def power_blocks(waveform: Tensor, config: SpectralConfig) -> Iterator[Tensor]:
    """STFT power of a recording of any length, in blocks, so that memory does not grow with the recording.

    Args:
        waveform: (samples,), more than n_fft // 2 samples.
        config: the grid.

    Yields:
        (n_fft // 2 + 1, frames) >= 0, one block after the other; together the frames of `stft`.
    """
    n_fft, hop = config.n_fft, config.hop_length
    padded = F.pad(waveform[None, None], (n_fft // 2, n_fft // 2), mode="reflect")[0]
    window = config.window_like(waveform)
    for first in range(0, 1 + waveform.shape[-1] // hop, BLOCK_FRAMES):
        last = min(first + BLOCK_FRAMES, 1 + waveform.shape[-1] // hop)
        span = padded[:, first * hop : (last - 1) * hop + n_fft]
        yield power_of(torch.stft(span, n_fft, hop, window=window, center=False, return_complex=True)[0])


def istft(spectrum: Tensor, config: SpectralConfig, num_samples: int) -> Tensor:
    """Invert `stft`; exact for an unmodified spectrum, least squares for a masked one.

    Args:
        spectrum: (batch, n_fft // 2 + 1, frames) complex64.
        config: the grid.
        num_samples: length of the waveform that `stft` saw.

    Returns:
        (batch, num_samples).
    """
    window = config.window_like(spectrum.real)
    return torch.istft(
        spectrum, config.n_fft, config.hop_length, window=window, center=True, length=num_samples
    )


def mel_filterbank(config: SpectralConfig) -> Tensor:
    """Slaney mel filters with Slaney normalisation, as in torchlibrosa and CNN14.

    Returns:
        (n_mels, n_fft // 2 + 1) float32 >= 0.
    """
    from librosa.filters import mel  # librosa takes a second to import; only builders of models need it

    filters = mel(
        sr=config.sample_rate,
        n_fft=config.n_fft,
        n_mels=config.n_mels,
        fmin=config.f_min,
        fmax=config.f_max,
    )
    return torch.from_numpy(filters).float()


def mel_to_bins(mel_filters: Tensor) -> Tensor:
    """Weights that bring a map over mel bands to STFT bins, by linear interpolation between the bands' centres.

    Args:
        mel_filters: (n_mels, bins) >= 0.

    Returns:
        (bins, n_mels), rows sum to 1; bins below the first or above the last centre follow that band.
    """
    bins = torch.arange(mel_filters.shape[1], device=mel_filters.device, dtype=mel_filters.dtype)
    centre = (mel_filters @ bins) / mel_filters.sum(1).clamp_min(1e-12)
    right = torch.searchsorted(centre.contiguous(), bins).clamp(1, len(centre) - 1)
    left = right - 1
    # Narrow low bands can share a bin, and so a centre.
    share = ((bins - centre[left]) / (centre[right] - centre[left]).clamp_min(1e-6)).clamp(0, 1)
    rows = torch.arange(len(bins), device=mel_filters.device)
    weights = mel_filters.new_zeros(len(bins), len(centre))
    weights[rows, left] = 1 - share
    weights[rows, right] = share
    return weights


def power_to_db(power: Tensor, amin: float = 1e-10) -> Tensor:
    """10 * log10(max(power, amin)): dB re a power of 1, never below -100 dB for the default amin.

    In an STFT with a Hann window a full-scale sine reaches 20 * log10(n_fft / 4), 48 dB for 1024 samples.
    """
    return 10.0 * torch.log10(power.clamp_min(amin))


def frequencies_hz(config: SpectralConfig) -> Tensor:
    """Centre frequency of each STFT row: (n_fft // 2 + 1,) Hz."""
    return torch.arange(config.n_bins) * (config.sample_rate / config.n_fft)


def mel_frequencies_hz(config: SpectralConfig) -> Tensor:
    """Centre frequency of each mel band: (n_mels,) Hz."""
    from librosa import mel_frequencies

    edges = mel_frequencies(config.n_mels + 2, fmin=config.f_min, fmax=config.f_max)
    return torch.from_numpy(edges[1:-1]).float()


def filter_centres_hz(mel_filters: Tensor, config: SpectralConfig) -> Tensor:
    """Centre of gravity of each mel filter, whatever it was designed for: (n_mels, bins) -> (n_mels,) Hz."""
    return (mel_filters @ frequencies_hz(config)) / mel_filters.sum(1).clamp_min(1e-12)


def times_s(num_frames: int, config: SpectralConfig) -> Tensor:
    """Centre time of each STFT column: (num_frames,) seconds."""
    return torch.arange(num_frames) * (config.hop_length / config.sample_rate)
