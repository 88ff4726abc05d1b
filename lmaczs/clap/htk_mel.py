"""Front end of the AudioSet MobileNets: mel bands equal in HTK's scale, pre-emphasis, a short window in a long frame."""

import math

import torch
from torch import Tensor

from lmaczs.signal.spectral import SpectralConfig, frequencies_hz

PRE_EMPHASIS = 0.97


def to_mel(hertz: Tensor) -> Tensor:
    """HTK's scale: 1127 ln(1 + f / 700)."""
    return 1127.0 * torch.log1p(hertz / 700.0)


def band_edges_mel(config: SpectralConfig) -> Tensor:
    """(n_mels + 2,) edges and centres of the bands, equally far apart in mel."""
    low, high = (1127.0 * math.log1p(hertz / 700.0) for hertz in (config.f_min, config.f_max))
    return torch.linspace(low, high, config.n_mels + 2, dtype=torch.float64)


def htk_filterbank(config: SpectralConfig, pre_emphasis: float = PRE_EMPHASIS) -> Tensor:
    """Triangles in mel without area normalisation, times the power response of the pre-emphasis.

    x[t] - a x[t - 1] scales the power at w rad per sample by 1 + a^2 - 2 a cos w. Put into the filters it leaves the STFT
    to be that of the recording, which masks act on and people hear; it differs from filtering the waveform by the
    window's edges only.

    Returns:
        (n_mels, n_fft // 2 + 1) float32 >= 0; the Nyquist bin has weight 0.
    """
    # Bands follow from settings: they are computed on the CPU also where a model is built without memory.
    with torch.device("cpu"):
        edges, hertz = band_edges_mel(config), frequencies_hz(config).double()
    mel = to_mel(hertz)[None]
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = torch.minimum((mel - left) / (centre - left), (right - mel) / (right - centre)).clamp_min(0)
    triangles[:, -1] = 0
    angle = 2 * math.pi * hertz / config.sample_rate
    response = 1 + pre_emphasis**2 - 2 * pre_emphasis * torch.cos(angle)
    return (triangles * response).float()


def centred_window(length: int, n_fft: int) -> tuple[float, ...]:
    """Symmetric Hann window of `length` samples in the middle of a frame of `n_fft`."""
    # On the CPU also where a model is built without memory: these are settings.
    window = torch.zeros(n_fft, dtype=torch.float64, device="cpu")
    start = (n_fft - length) // 2
    window[start : start + length] = torch.hann_window(
        length, periodic=False, dtype=torch.float64, device="cpu"
    )
    return tuple(window.tolist())


def band_centres_hz(config: SpectralConfig) -> Tensor:
    """Centre of each band: (n_mels,) Hz."""
    return (700 * torch.expm1(band_edges_mel(config)[1:-1] / 1127)).float()
