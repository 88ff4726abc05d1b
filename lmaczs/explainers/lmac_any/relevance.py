"""What any differentiable classifier can say about a decision: where its margin changes, and what its maps contribute.

One forward and one backward pass. Nothing here is specific to a model: the channels of its maps are already contracted
with the gradient of the margin, so a network that reads these maps can read those of every model.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.hooks import evaluation_mode, outputs_of
from lmaczs.explainers.details import box_mean, standardise
from lmaczs.explainers.gradients import stretch
from lmaczs.signal.spectral import power_to_db
from lmaczs.types import AudioState

# Maps of the classifier that are used, from its deepest ones upwards.
MAPS = 4
# Of `Relevance.maps`: the level, gradient x power, and two for each map.
CHANNELS = 2 + 2 * MAPS
# Of `Relevance.scalars`.
SCALARS = 5
# Attributions have a heavy tail: in units of so many standard deviations they are cut off at LARGEST.
DEVIATIONS, LARGEST = 2.5, 4.0
# Over what gradient x power is spread to find the region of the decision: a share of the bands, and s.
REGION_BANDS, REGION_S = 0.5, 1.0
# Classifiers with labels have a logit scale of 1 and margins far beyond those of cosines, which the network has learned.
LEAST_SCALE = 20.0
# Change of the log odds that all cells together may make: below, the classifier listens to none of them.
LEAST_CHANGE = 1e-3


@dataclass(frozen=True)
class Relevance:
    """What a decoder for any classifier sees of windows; without autograd graph.

    Attributes:
        maps: (windows, CHANNELS, frames, n_mels); level, gradient x power, and for each map, shallow to deep, activation
            x gradient and activation x mean gradient, summed over channels. Signed; all but the level in units of 2.5
            standard deviations.
        scalars: (windows, SCALARS); cosine, log odds, log of what speaks for and against, whether there are rivals.
        gradient: (windows, n_mels, frames), of the margin with respect to mel power.
        log_odds: (windows,), of the prompt against its rivals; 0 without rivals.
        depends: (windows,) bool, whether the decision depends on any cell by more than rounding.
        region: (windows, n_mels, frames), where gradient x power speaks for the prompt in the large; standardised.
        hidden: the classifier's maps, as in `AudioState`.
    """

    maps: Tensor
    scalars: Tensor
    gradient: Tensor
    log_odds: Tensor
    depends: Tensor
    region: Tensor
    hidden: tuple[Tensor, ...]

    def __getitem__(self, rows: slice) -> "Relevance":
        """Pick windows."""
        picked: dict[str, Any] = {part.name: getattr(self, part.name) for part in fields(self)}
        hidden = tuple(level[rows] for level in picked.pop("hidden"))
        return Relevance(**{name: value[rows] for name, value in picked.items()}, hidden=hidden)


def relevance(
    backend: CLAPBackend, margin: Callable[[Tensor], Tensor], audio: AudioState, scale: float, compared: bool
) -> Relevance:
    """Run the classifier forwards and backwards once.

    Args:
        backend: the classifier; nothing of it changes.
        margin: (windows, embed_dim) -> (windows,), as `Target.margin`; differentiable.
        audio: the windows.
        scale: the classifier's logit scale.
        compared: whether the prompt has rivals.
    """
    layers = dict(list(backend.cam_layers.items())[-MAPS:])
    mel_power = audio.mel_power
    # Callers may be in no_grad or inference_mode; a copy made here is an ordinary tensor in both cases.
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        evaluation_mode(backend),
        outputs_of(list(layers.values())) as outputs,
    ):
        power = mel_power.detach().clone().requires_grad_(True)
        embedding, hidden = backend.encode_changed(power, audio, "mel")
        score = margin(embedding)
        # Windows do not influence each other in evaluation mode, so the sum's gradient holds all of theirs.
        gradients = torch.autograd.grad(score.sum(), [power, *outputs], allow_unused=True)
    with torch.no_grad():
        # With respect to the logarithm of the power.
        attribution = gradients[0] * mel_power
        channels = [standardise(power_to_db(mel_power)), in_deviations(attribution)]
        grid = mel_power.shape[:0:-1]
        for layer, activation, gradient in zip(layers, outputs, gradients[1:], strict=True):
            samples = audio.waveform.shape[-1]
            sloped = None if gradient is None else backend.layer_map(layer, gradient, samples)
            found = _contributions(backend.layer_map(layer, activation, samples), sloped, grid)
            channels += [in_deviations(values) for values in found]
        # A classifier with fewer maps leaves the shallow ones out.
        missing = CHANNELS - len(channels)
        channels[2:2] = [torch.zeros_like(attribution)] * missing
        speaks, denies = (
            scale * part.sum(dim=(1, 2)) for part in (attribution.relu(), (-attribution).relu())
        )
        odds = scale * score.detach() if compared else torch.zeros_like(speaks)
        scalars = torch.stack(
            [
                score.detach() * (scale / max(scale, LEAST_SCALE)),
                (odds / 6).clamp(-3, 3),
                speaks.log1p(),
                denies.log1p(),
                torch.full_like(odds, float(compared)),
            ],
            dim=1,
        )
    maps = torch.stack(channels, dim=1).transpose(2, 3)
    region = region_of(attribution, backend.spectral.hop_length / backend.spectral.sample_rate)
    depends = speaks + denies > LEAST_CHANGE
    hidden = tuple(level.detach() for level in hidden)
    return Relevance(maps, scalars.float(), gradients[0], odds, depends, region, hidden)


def region_of(attribution: Tensor, hop_s: float) -> Tensor:
    """Where an attribution speaks for the prompt in the large: its positive part, spread over half of the bands and 1 s.

    Args:
        attribution: (windows, n_mels, frames), signed.
        hop_s: seconds from one frame to the next.

    Returns:
        The same shape, its logarithm, standardised.
    """
    bands = attribution.shape[1]
    spread = box_mean(attribution.clamp_min(0), 1, round(REGION_BANDS * bands / 2))
    spread = box_mean(spread, 2, round(REGION_S / hop_s / 2))
    level = spread / spread.mean(dim=(1, 2), keepdim=True).clamp_min(1e-30)
    return standardise(torch.log(level + 1e-3))


def grid_attribution(power: Tensor, found: Relevance, mel_filters: Tensor | None) -> Tensor:
    """Gradient x power on the grid of a mask, the gradient with respect to its cells' logarithm.

    Args:
        power: (windows, rows, frames) on the mask's grid.
        found: relevance of the same windows.
        mel_filters: (n_mels, rows) where the mask lies on STFT bins, None where it lies on mel bands.
    """
    gradient = found.gradient if mel_filters is None else mel_filters.T @ found.gradient
    return gradient * power


def _contributions(activation: Tensor, gradient: Tensor | None, grid: tuple[int, ...]) -> list[Tensor]:
    """Two maps of what a layer does for the margin, on the mel grid.

    Args:
        activation: (windows, channels, time, freq).
        gradient: same shape; None where the margin does not depend on the layer.
        grid: frames and bands.

    Returns:
        activation x gradient, and activation x mean gradient (GradCAM without the ReLU); each (windows, n_mels, frames).
    """
    if gradient is None:
        return [activation.new_zeros(len(activation), *grid[::-1])] * 2
    mean = gradient.mean(dim=(2, 3), keepdim=True)
    found = [(activation * weight).sum(dim=1) for weight in (gradient, mean)]
    return [stretch(stretch(values, grid[0], 1), grid[1], 2).transpose(1, 2) for values in found]


def in_deviations(values: Tensor) -> Tensor:
    """Signed values in units of DEVIATIONS standard deviations of a window, cut off at ±LARGEST: the same shape."""
    spread = values.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return (values / (DEVIATIONS * spread).clamp_min(1e-30)).clamp(-LARGEST, LARGEST)
