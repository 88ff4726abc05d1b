"""Gradients of a score with respect to the level of each cell of the mask's grid, in decibels.

Why decibels: an encoder's front end takes a logarithm, so the gradient with respect to power is largest where there is
least of it, and a map of it shows the quietest cells. The gradient with respect to a cell's level, per dB, is that of
power times the power; it is also, but for a constant factor, the gradient with respect to a mask that multiplies the
cell, taken at 1. It goes through the whole front end: on the "stft" grid through decibels, power, the mel filters, the
encoder's logarithm and everything after; on the "mel" grid from the mel power on. (It does not go through the waveform:
a cell is changed without what overlapping frames would leak into it.)
"""

import math

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.scores import Score
from lmaczs.signal.spectral import power_of, power_to_db
from lmaczs.types import AudioState, MaskDomain

SILENT_POWER = 1e-10  # mel power that front ends no longer tell from silence


def grid_power(audio: AudioState, domain: str) -> Tensor:
    """Power of every cell that a mask has: (batch, freq, frames) >= 0."""
    return power_of(audio.stft) if domain == "stft" else audio.mel_power


def silence_db(backend: CLAPBackend, domain: MaskDomain) -> float:
    """Level of every cell in silence, dB: at SILENT_POWER in the mel bands, or so low on the bins that they get there."""
    if domain == "mel":
        return 10 * math.log10(SILENT_POWER)
    return 10 * math.log10(SILENT_POWER / float(backend.mel_filters.sum(1).median()))


def grid_levels(backend: CLAPBackend, audio: AudioState, domain: MaskDomain) -> Tensor:
    """Level of every cell: (batch, freq, frames) dB, not below silence; without autograd graph."""
    floor = 10 ** (silence_db(backend, domain) / 10)
    return power_to_db(grid_power(audio, domain).detach(), amin=floor)


def score_levels(
    backend: CLAPBackend, score: Score, levels: Tensor, text: Tensor, domain: MaskDomain
) -> Tensor:
    """Score of windows given by their levels; differentiable in them.

    Args:
        backend: in evaluation mode.
        score: what is explained.
        levels: (windows, freq, frames) dB, freq as `domain` says.
        text: (windows, embed_dim) or (1, embed_dim), unit norm.
        domain: of the grid.

    Returns:
        (windows,).
    """
    power = torch.exp(levels * (math.log(10) / 10))
    return score(backend.encode(backend.mel_power(power) if domain == "stft" else power)[0], text)


def level_gradient(
    backend: CLAPBackend, score: Score, levels: Tensor, text: Tensor, domain: MaskDomain
) -> Tensor:
    """Gradient of each window's score with respect to its levels: (windows, freq, frames), per dB.

    Nothing but the levels gets a gradient, whatever the caller's mode. Arguments as in `score_levels`.
    """
    # Callers may be in no_grad or inference_mode; a copy made here is an ordinary tensor in both cases.
    with torch.inference_mode(False), torch.enable_grad():
        leaf = levels.detach().clone().requires_grad_(True)
        # Windows do not influence each other in evaluation mode, so the sum's gradient holds all of theirs.
        total = score_levels(backend, score, leaf, text.detach().clone(), domain).sum()
        (gradient,) = torch.autograd.grad(total, leaf)
    return gradient
