"""GradCAM and GradCAM++ for a text-audio similarity, on any layer of any backend.

The explained number is by default the prompt's logit, logit_scale * cosine. Gradients are taken at the layer's output,
not at the input: the map that results lives on the layer's own (time, mel) grid and is only then brought to
the grid of the mask, along the mel axis. (A plain resize to STFT rows, as in public code, would put a map of
the low mel bands over the middle of the linear frequency axis.)
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lmaczs.clap.hooks import evaluation_mode, output_as_leaf
from lmaczs.clap.target import Target
from lmaczs.errors import LMACError
from lmaczs.explainers.base import FORWARD_AND_BACKWARD, MethodEntry, WindowMaps
from lmaczs.explainers.gradients import GradientMethod, grid_power, levels_to_power, stretch
from lmaczs.signal.spectral import mel_to_bins
from lmaczs.types import AudioState, Progress, no_progress

RELATIVE_EPSILON = 1e-6


@dataclass(frozen=True, eq=False)
class _CAM(GradientMethod):
    """What both share: activation and gradient at the layer, and the way to the mask's grid.

    Attributes:
        layer: key in `backend.cam_layers`; None is the last, deepest one. An earlier one gives finer maps.
    """

    layer: str | None = None

    def __post_init__(self) -> None:
        """Check the layer."""
        layers = self.backend.cam_layers
        if not layers:
            raise LMACError(
                f"{self.entry.label} needs a layer with maps, and none was found in '{self.backend.name}': "
                "name some with layers=, or choose another method, such as 'lmac-any'."
            )
        if self.layer is not None and self.layer not in layers:
            known = ", ".join(f"'{key}'" for key in layers)
            raise LMACError(
                f"The backend '{self.backend.name}' has no layer '{self.layer}': choose one of {known}."
            )

    def passes(self) -> float:
        """See `Method.passes`."""
        return FORWARD_AND_BACKWARD

    @abstractmethod
    def channel_weights(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """How much each channel speaks for the prompt.

        Args:
            activation: (batch, channels, time, freq), output of the layer.
            gradient: same shape, of the score.

        Returns:
            (batch, channels).
        """

    def from_rest(self, activation: Tensor) -> Tensor:
        """The activation counted from where the method takes a channel to be at rest: (batch, channels, time, freq)."""
        return activation

    def map_windows(self, audio: AudioState, target: Target, progress: Progress = no_progress) -> WindowMaps:
        """See `Method.map_windows`."""
        values = self._attribute(grid_power(audio, self.domain), audio, target)
        progress(1.0, self.label)
        return WindowMaps(values)

    def attribute_levels(
        self, levels: Tensor, audio: AudioState, target: Target, progress: Progress = no_progress
    ) -> tuple[Tensor, None]:
        """See `GradientMethod.attribute_levels`; values are >= 0, in units of activation times gradient."""
        return self._attribute(levels_to_power(levels), audio, target), None

    def _attribute(self, power: Tensor, audio: AudioState, target: Target) -> Tensor:
        """(windows, freq, frames) power on the mask's grid -> the same shape."""
        activation, gradient = self._activation_and_gradient(power, audio, target)
        cam = class_activation_map(self.from_rest(activation), gradient, self.channel_weights)
        rows, frames = len(self.backend.mel_filters), power.shape[-1]
        mel_map = stretch(stretch(cam, frames, dim=1), rows, dim=2).transpose(1, 2)
        return mel_to_bins(self.backend.mel_filters) @ mel_map if self.domain == "stft" else mel_map

    def _activation_and_gradient(
        self, power: Tensor, audio: AudioState, target: Target
    ) -> tuple[Tensor, Tensor]:
        """Output of the layer and the gradient of each window's score at it."""
        layers = self.backend.cam_layers
        name = self.layer or list(layers)[-1]
        # Callers may be in no_grad or inference_mode; a copy made here is an ordinary tensor in both cases.
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            evaluation_mode(self.backend),
            output_as_leaf(layers[name]) as outputs,
        ):
            embedding, _ = self.backend.encode_changed(power.detach().clone(), audio, self.domain)
            # Windows do not influence each other in evaluation mode, so the sum's gradient holds all of theirs.
            (gradient,) = torch.autograd.grad(target(embedding).sum(), outputs[-1])
        samples = audio.waveform.shape[-1]
        return (
            self.backend.layer_map(name, outputs[-1].detach(), samples),
            self.backend.layer_map(name, gradient, samples),
        )


@dataclass(frozen=True, eq=False)
class GradCAM(_CAM):
    """GradCAM (Selvaraju et al. 2017): channels weighted by their mean gradient at the layer.

    The paper averages, code often sums; the mask is divided by its maximum, so that makes no difference.
    """

    entry = MethodEntry(
        "grad-cam",
        "GradCAM",
        "Selvaraju et al. 2017",
        "Shows where the deepest layer's features speak for the prompt.",
    )

    def channel_weights(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """See `_CAM.channel_weights`."""
        return gradient.mean(dim=(2, 3))


@dataclass(frozen=True, eq=False)
class GradCAMPlusPlus(_CAM):
    """GradCAM++ (Chattopadhay et al. 2018): channels weighted by their positive gradients at the layer.

    With G the gradient of the logit and S_k the sum of channel k's activations, a cell's share is
    alpha = G^2 / (2 G^2 + S_k G^3), and the weight of a channel is the sum of alpha * max(G, 0) (eq. 19,
    which holds for a score exp(logit)). Two traps are avoided: S_k is summed over the map before it meets
    G^3; and the small number that keeps the quotient finite is relative to the clip's own gradients, because
    gradients of a cosine are so small that an absolute 1e-6 would decide the result.
    """

    entry = MethodEntry(
        "grad-cam++",
        "GradCAM++",
        "Chattopadhay et al. 2018",
        "GradCAM that also sees several places at once.",
    )

    def from_rest(self, activation: Tensor) -> Tensor:
        """See `_CAM.from_rest`: from the channel's lowest value in the window where that is negative.

        Nothing changes after a ReLU, which eq. 19 presumes. A transformer's channels have an offset of either sign that
        its next layer's bias could take over as well; left in, it decides alone whether a map is empty or full.
        """
        return activation - activation.amin(dim=(2, 3), keepdim=True).clamp_max(0)

    def channel_weights(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """See `_CAM.channel_weights`."""
        # A cube of a small float32 gradient may be zero; in double precision it is not.
        gradient, total = gradient.double(), activation.double().sum(dim=(2, 3), keepdim=True)
        square = gradient.square()
        epsilon = RELATIVE_EPSILON * square.amax(dim=(1, 2, 3), keepdim=True)
        denominator = 2 * square + total * gradient * square + epsilon
        # Activations after a ReLU make it positive wherever the gradient is; other layers may not, and eq. 19
        # then has no meaning.
        alpha = torch.where(denominator > 0, square / denominator.clamp_min(1e-300), 0.0)
        return (alpha * gradient.clamp_min(0)).sum(dim=(2, 3)).to(activation.dtype)


def class_activation_map(
    activation: Tensor, gradient: Tensor, channel_weights: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Positive part of the weighted sum of channels.

    Args:
        activation: (batch, channels, time, freq).
        gradient: same shape.
        channel_weights: (activation, gradient) -> (batch, channels).

    Returns:
        (batch, time, freq) >= 0.
    """
    weights = channel_weights(activation, gradient)
    return torch.relu(torch.einsum("bc,bctf->btf", weights, activation))
