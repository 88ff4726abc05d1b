"""Adding sounds at stated levels: the only place that does."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lmaczs.errors import AudioError

FRAME = 320  # samples; 20 ms at 16 kHz
ACTIVE_DB = 60.0  # a frame further below the loudest one is padding or silence, not part of the sound
QUIETEST_RMS = 1e-6  # silence is not brought to a level


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


def add_at_gain(waveform: Tensor, other: Tensor, gain_db: float | Tensor) -> Tensor:
    """Add a second sound.

    Args:
        waveform: (..., samples).
        other: of the same shape.
        gain_db: of the second sound, dB; a number, or a tensor that broadcasts, such as (batch, 1).
    """
    return waveform + 10 ** (gain_db / 20) * other


def mix_at_gains(parts: Sequence[Tensor], gains_db: Sequence[float], peak: float = 0.9) -> Tensor:
    """Bring sounds to one root mean square, add them, each at its gain, and scale the sum to a peak.

    Args:
        parts: (samples,) each, of equal length.
        gains_db: of each, dB.
        peak: of the result, re full scale.
    """
    total = torch.zeros_like(parts[0])
    for part, gain in zip(parts, gains_db, strict=True):
        total = add_at_gain(total, part / part.square().mean().sqrt().clamp_min(QUIETEST_RMS), gain)
    return peak * total / total.abs().max().clamp_min(QUIETEST_RMS)


def mix_powers(power: Tensor, other: Tensor, snr_db: Tensor) -> Tensor:
    """Add sounds as spectrograms, whose powers add where the sounds are independent.

    Args:
        power: (batch, freq, frames), linear power.
        other: of the same shape.
        snr_db: (batch,), mean power of the first over that of the second, dB.
    """
    level = power.mean(dim=(1, 2)).clamp_min(1e-10) / other.mean(dim=(1, 2)).clamp_min(1e-10)
    gain = level * 10 ** (-snr_db / 10)
    return power + gain[:, None, None] * other
