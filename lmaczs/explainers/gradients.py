"""Methods that attribute a score by gradients; the levels of the cells go in, so that noise can be added to them.

Gradients are taken with respect to the level of each cell of the mask's grid, in decibels. Why decibels: an encoder's
front end takes a logarithm, so the gradient with respect to power is largest where there is least of it, and a map of it
shows the quietest cells. The gradient with respect to a cell's level, per dB, is that of power times the power; it is
also, but for a constant factor, the gradient with respect to a mask that multiplies the cell, taken at 1. It goes through
the whole front end: on the "stft" grid through decibels, power, the mel filters, the encoder's logarithm and everything
after; on the "mel" grid from the mel power on. (It does not go through the waveform: a cell is changed without what
overlapping frames would leak into it.)
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.hooks import evaluation_mode
from lmaczs.clap.target import Target
from lmaczs.explainers.base import AttributionMethod, WindowMaps
from lmaczs.signal.spectral import power_of, power_to_db
from lmaczs.types import AudioState, MaskDomain, Progress, no_progress

# Mel power that front ends no longer tell from silence.
SILENT_POWER = 1e-10


class GradientMethod(AttributionMethod):
    """Attributes the score to the levels of the cells."""

    @abstractmethod
    def attribute_levels(
        self, levels: Tensor, audio: AudioState, target: Target, progress: Progress = no_progress
    ) -> tuple[Tensor, Tensor | None]:
        """Attribute the score of windows that are given by their levels.

        Args:
            levels: (windows, freq, frames) dB, as `grid_levels` gives them; freq as the domain says.
            audio: the windows that the levels are those of, (windows) or one for all.
            target: what is explained.
            progress: called after each step; may raise to stop.

        Returns:
            (windows, freq, frames) in the unit of the method; and the completeness error, see `WindowMaps`.
        """

    def map_windows(self, audio: AudioState, target: Target, progress: Progress = no_progress) -> WindowMaps:
        """See `Method.map_windows`."""
        levels = grid_levels(self.backend, audio, self.domain)
        with evaluation_mode(self.backend):
            values, error = self.attribute_levels(levels, audio, target, progress)
        return WindowMaps(values, completeness_error=error)


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


def levels_to_power(levels: Tensor) -> Tensor:
    """Power of cells given by their levels in dB; differentiable in them."""
    return torch.exp(levels * (math.log(10) / 10))


def score_levels(
    backend: CLAPBackend, target: Target, levels: Tensor, audio: AudioState, domain: MaskDomain
) -> Tensor:
    """Score of windows given by their levels: (windows,); differentiable in them.

    Args:
        backend: in evaluation mode.
        target: what is explained.
        levels: (windows, freq, frames) dB, freq as `domain` says.
        audio: the windows, (windows) or one for all.
        domain: of the grid.
    """
    return target(backend.encode_changed(levels_to_power(levels), audio, domain)[0])


def level_gradient(
    backend: CLAPBackend, target: Target, levels: Tensor, audio: AudioState, domain: MaskDomain
) -> Tensor:
    """Gradient of each window's score with respect to its levels: (windows, freq, frames), per dB.

    Nothing but the levels gets a gradient, whatever the caller's mode. Arguments as in `score_levels`.
    """
    # Callers may be in no_grad or inference_mode; a copy made here is an ordinary tensor in both cases.
    with torch.inference_mode(False), torch.enable_grad():
        leaf = levels.detach().clone().requires_grad_(True)
        # Windows do not influence each other in evaluation mode, so the sum's gradient holds all of theirs.
        (gradient,) = torch.autograd.grad(score_levels(backend, target, leaf, audio, domain).sum(), leaf)
    return gradient


def stretch(maps: Tensor, length: int, dim: int) -> Tensor:
    """Bring a pooled axis back to its full length by linear interpolation between cell centres.

    Pooling drops the cells that do not fill a window: 251 frames give 15 cells of 16, and the last 11 frames
    belong to none. Cells therefore keep their true width, and what lies beyond the last centre follows the
    last cell.

    Args:
        maps: any shape.
        length: of the axis before pooling.
        dim: the axis.

    Returns:
        Same shape, with `length` along `dim`.
    """
    cells = maps.shape[dim]
    width: float = 2 ** int(math.log2(max(length / cells, 1)))
    # Not pooled by twos, e.g. patches of a resized map: the cells share the whole axis.
    if length // width != cells:
        width = length / cells
    position = (torch.arange(length, device=maps.device, dtype=maps.dtype) + 0.5) / width - 0.5
    position = position.clamp(0, cells - 1)
    left = position.floor().long().clamp_max(max(cells - 2, 0))
    share = (position - left).view([-1] + [1] * (maps.ndim - 1 - dim % maps.ndim))
    right = (left + 1).clamp_max(cells - 1)
    return maps.index_select(dim, left) * (1 - share) + maps.index_select(dim, right) * share
