"""GradCAM and GradCAM++ for a text-audio similarity, on any layer of any backend.

The explained number is by default the prompt's logit, logit_scale * cosine. Gradients are taken at the layer's output,
not at the input: the map that results lives on the layer's own (time, mel) grid and is only then brought to
the grid of the mask, along the mel axis. (A plain resize to STFT rows, as in public code, would put a map of
the low mel bands over the middle of the linear frequency axis.)
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import LMACError
from lmaczs.explainers.base import Attribution, AttributionExplainer, no_progress
from lmaczs.explainers.hooks import evaluation_mode, output_as_leaf
from lmaczs.signal.spectral import mel_to_bins
from lmaczs.types import AudioState, MaskDomain, Progress, TextState

RELATIVE_EPSILON = 1e-6


class _CAM(AttributionExplainer):
    """What both share: activation and gradient at the layer, and the way to the mask's grid."""

    def __init__(
        self,
        backend: CLAPBackend,
        domain: MaskDomain = "stft",
        *,
        layer: str | None = None,
        score: str = "logit",
        rivals: Sequence[str] = (),
    ) -> None:
        """Choose the layer; other arguments as in `AttributionExplainer`.

        Args:
            backend: the CLAP; never changed.
            domain: of the masks.
            layer: key in `backend.cam_layers`; None is the last, deepest one. An earlier one gives finer
                maps.
            score: what is explained.
            rivals: for the scores that compare.

        Raises:
            LMACError: the backend has no such layer, or as in `AttributionExplainer`.
        """
        super().__init__(backend, domain, score=score, rivals=rivals)
        layers = backend.cam_layers
        self.layer = list(layers)[-1] if layer is None else layer
        if self.layer not in layers:
            known = ", ".join(f"'{key}'" for key in layers)
            raise LMACError(
                f"The backend '{backend.name}' has no layer '{self.layer}': choose one of {known}."
            )

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

    def attribute(self, audio: AudioState, text: TextState, progress: Progress = no_progress) -> Attribution:
        """See `AttributionExplainer.attribute`; values are >= 0, in units of activation times gradient."""
        activation, gradient = self._activation_and_gradient(audio, text)
        cam = class_activation_map(self.from_rest(activation), gradient, self.channel_weights)
        rows, frames = audio.mel_power.shape[1:]
        mel_map = stretch(stretch(cam, frames, dim=1), rows, dim=2).transpose(1, 2)
        progress(1.0, self.label)
        if self.domain == "stft":
            return Attribution(mel_to_bins(self.backend.mel_filters) @ mel_map)
        return Attribution(mel_map)

    def _activation_and_gradient(self, audio: AudioState, text: TextState) -> tuple[Tensor, Tensor]:
        """Output of the layer and the gradient of each window's score at it."""
        module = self.backend.cam_layers[self.layer]
        # Callers may be in no_grad or inference_mode; a copy made here is an ordinary tensor in both cases.
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            evaluation_mode(self.backend),
            output_as_leaf(module) as outputs,
        ):
            embedding, _ = self.backend.encode(audio.mel_power.detach().clone())
            scores = self.score(embedding, text.embedding.detach().clone())
            # Windows do not influence each other in evaluation mode, so the sum's gradient holds all of
            # theirs.
            (gradient,) = torch.autograd.grad(scores.sum(), outputs[-1])
        return outputs[-1].detach(), gradient


class GradCAM(_CAM):
    """GradCAM (Selvaraju et al. 2017): channels weighted by their mean gradient at the layer.

    The paper averages, code often sums; the mask is divided by its maximum, so that makes no difference.
    """

    name: ClassVar[str] = "grad-cam"
    label: ClassVar[str] = "GradCAM"

    def channel_weights(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """See `_CAM.channel_weights`."""
        return gradient.mean(dim=(2, 3))


class GradCAMPlusPlus(_CAM):
    """GradCAM++ (Chattopadhay et al. 2018): channels weighted by their positive gradients at the layer.

    With G the gradient of the logit and S_k the sum of channel k's activations, a cell's share is
    alpha = G^2 / (2 G^2 + S_k G^3), and the weight of a channel is the sum of alpha * max(G, 0) (eq. 19,
    which holds for a score exp(logit)). Two traps are avoided: S_k is summed over the map before it meets
    G^3; and the small number that keeps the quotient finite is relative to the clip's own gradients, because
    gradients of a cosine are so small that an absolute 1e-6 would decide the result.
    """

    name: ClassVar[str] = "grad-cam++"
    label: ClassVar[str] = "GradCAM++"

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
    if (
        length // width != cells
    ):  # not pooled by twos, e.g. patches of a resized map: the cells share the whole axis
        width = length / cells
    position = (torch.arange(length, device=maps.device, dtype=maps.dtype) + 0.5) / width - 0.5
    position = position.clamp(0, cells - 1)
    left = position.floor().long().clamp_max(max(cells - 2, 0))
    share = (position - left).view([-1] + [1] * (maps.ndim - 1 - dim % maps.ndim))
    right = (left + 1).clamp_max(cells - 1)
    return maps.index_select(dim, left) * (1 - share) + maps.index_select(dim, right) * share
