"""Adding one sound to another at a stated level."""

import math

import torch
from torch import Tensor

from lmaczs.errors import AudioError

FRAME = 320  # samples; 20 ms at 16 kHz
ACTIVE_DB = 60.0  # a frame further below the loudest one is padding or silence, not part of the sound


def active_power(waveform: Tensor) -> float:
    """Mean power over the parts where something sounds.

    Many clips are padded with silence; a mean over all of it would call them quieter than they are.

    Args:
        waveform: (samples,).

    Returns:
        Power re full scale, >= 0; 0 for silence.
    """
    padded = torch.nn.functional.pad(waveform.double(), (0, -len(waveform) % FRAME))
    power = padded.view(-1, FRAME).square().mean(1)
    return float(power[power >= power.max() * 10 ** (-ACTIVE_DB / 10)].mean())


def white_noise(num_samples: int, seed: int) -> Tensor:
    """Gaussian noise of power 1, the same for the same seed: (num_samples,) float32."""
    return torch.randn(num_samples, generator=torch.Generator().manual_seed(seed))


def mix_at_snr(target: Tensor, interferer: Tensor, snr_db: float) -> tuple[Tensor, Tensor]:
    """Bring an interferer to a level below the target and add them.

    Args:
        target: (samples,), its level is kept.
        interferer: (samples,).
        snr_db: power of the target over that of the interferer, each measured where it sounds, dB.

    Returns:
        mixture: (samples,) = target + interferer as it is heard in it; may exceed full scale.
        interferer: (samples,), at its level in the mixture.

    Raises:
        AudioError: one of them is silent.
    """
    powers = active_power(target), active_power(interferer)
    if min(powers) == 0:
        raise AudioError("A silent sound cannot be mixed at a signal-to-noise ratio: choose two that sound.")
    gain = math.sqrt(powers[0] / powers[1] / 10 ** (snr_db / 10))
    interferer = interferer * gain
    return target + interferer, interferer
