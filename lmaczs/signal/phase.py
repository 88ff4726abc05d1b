"""A phase that fits a magnitude (Griffin and Lim 1984)."""

import torch
from torch import Tensor

from lmaczs.signal.spectral import SpectralConfig, istft, stft


def griffin_lim(spectrum: Tensor, config: SpectralConfig, num_samples: int, steps: int) -> Tensor:
    """Sound whose spectrogram comes near to a magnitude that no sound has exactly, as that of a masked spectrum.

    Each round takes the phase of the sound's own spectrum, starting from the one that is given; the distance of the
    sound's magnitude from the wanted one never rises.

    Args:
        spectrum: (batch, bins, frames) complex: the magnitude that is wanted, and the phase to begin with.
        config: the grid.
        num_samples: length of the sound.
        steps: rounds; 0 is the plain inverse STFT.

    Returns:
        (batch, num_samples).
    """
    magnitude = spectrum.abs()
    for _ in range(steps):
        own = stft(istft(spectrum, config, num_samples), config)
        spectrum = torch.polar(magnitude, own.angle())
    return istft(spectrum, config, num_samples)
