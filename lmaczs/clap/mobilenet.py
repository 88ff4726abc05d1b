"""MobileNetV3 audio encoder (Howard et al. 2019) in the shape of Schmid et al. 2023's small AudioSet networks.

Maps are (batch, channels, time, freq) as in every encoder here; the published kernels are (freq, time) and are turned
when they are read. Convolutions, norms and activations are not computed in place, so hidden maps stay intact.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-3  # of batch normalisation, as published


class BlockShape(NamedTuple):
    """One row of the network's table.

    Attributes:
        kernel: side of the depthwise kernel.
        expanded: channels inside the block; equal to those that come in: there is no expansion.
        out: channels that leave it.
        excite: whether channels are weighed by squeeze-and-excitation.
        hard_swish: activation; False is ReLU.
        stride: of time and frequency.
    """

    kernel: int
    expanded: int
    out: int
    excite: bool
    hard_swish: bool
    stride: int


STEM, LAST, FEATURES, CLASSES = 8, 384, 512, 527
BLOCKS = (
    BlockShape(3, 8, 8, False, False, 1),
    BlockShape(3, 24, 16, False, False, 2),
    BlockShape(3, 32, 16, False, False, 1),
    BlockShape(5, 32, 16, True, False, 2),
    BlockShape(5, 48, 16, True, False, 1),
    BlockShape(5, 48, 16, True, False, 1),
    BlockShape(3, 96, 32, False, True, 2),
    BlockShape(3, 80, 32, False, True, 1),
    BlockShape(3, 72, 32, False, True, 1),
    BlockShape(3, 72, 32, False, True, 1),
    BlockShape(3, 192, 48, True, True, 1),
    BlockShape(3, 272, 48, True, True, 1),
    BlockShape(5, 272, 64, True, True, 2),
    BlockShape(5, 384, 64, True, True, 1),
    BlockShape(5, 384, 64, True, True, 1),
)
HIDDEN_AFTER = (3, 6, 12)  # blocks, counted from 1, whose maps are given out; layer 16 is the fourth


def _eighth(value: float) -> int:
    """The multiple of 8 that is nearest, never more than a tenth below `value`."""
    found = max(8, int(value + 4) // 8 * 8)
    return found + 8 if found < 0.9 * value else found


class _Folded(NamedTuple):
    """A convolution and the norm behind it as one convolution.

    Attributes:
        state: place in memory and version of each of `values`.
        values: that it was made of; kept, so that nothing else comes to lie in their place.
        weight: of the one convolution.
        bias: likewise.
    """

    state: list[tuple[int, int]]
    values: tuple[Tensor, ...]
    weight: Tensor
    bias: Tensor


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation, activation."""

    def __init__(
        self, channels: tuple[int, int], kernel: int = 1, stride: int = 1, depthwise: bool = False
    ) -> None:
        """Build with fresh weights.

        Args:
            channels: in and out.
            kernel: side.
            stride: of time and frequency.
            depthwise: one kernel for each channel.
        """
        super().__init__()
        groups = channels[0] if depthwise else 1
        self.conv = nn.Conv2d(*channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels[1], eps=EPS)
        self._folded: _Folded | None = None

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, in, time, freq) -> (batch, out, time / stride, freq / stride), before the activation."""
        folded = self._fold()
        if folded is None:
            found: Tensor = self.norm(self.conv(maps))
            return found
        conv = self.conv
        return F.conv2d(maps, folded.weight, folded.bias, conv.stride, conv.padding, groups=conv.groups)

    def _fold(self) -> "_Folded | None":
        """One convolution for both, which with its backward pass takes a third less time; None: weights are learnt."""
        conv, norm = self.conv, self.norm
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        values = (conv.weight, norm.weight, norm.bias, mean, variance)
        # What a norm measures is written past the counters of versions.
        if norm.training or any(value.requires_grad or value.is_inference() for value in values):
            self._folded = None
            return None
        state = [(value.data_ptr(), value._version) for value in values]
        if self._folded is None or self._folded.state != state:
            with torch.inference_mode(False), torch.no_grad():
                # In doubles: a gradient jumps where rounding carries a value over the corner of a ReLU.
                scale = norm.weight.double() * torch.rsqrt(variance.double() + norm.eps)
                weight, bias = conv.weight * scale.view(-1, 1, 1, 1), norm.bias - mean * scale
            self._folded = _Folded(state, values, weight.to(conv.weight), bias.to(norm.bias))
        return self._folded


def active_mean(maps: Tensor, activity: Tensor | None) -> Tensor:
    """Mean over time and frequency, silent times left out: (batch, channels, time, freq) -> (batch, channels).

    Args:
        maps: of any stride.
        activity: (batch, frames) in [0, 1] as in `MobileNet`; None weighs all times alike.
    """
    rows = maps.mean(dim=3)
    if activity is None:
        return rows.mean(dim=2)
    weight = F.adaptive_avg_pool1d(activity.unsqueeze(1), rows.shape[2])
    return (rows * weight).sum(dim=2) / weight.sum(dim=2).clamp_min(1e-6)


class SqueezeExcite(nn.Module):
    """Weighs channels by what the whole map holds (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, _eighth(channels / 4))
        self.excite = nn.Linear(_eighth(channels / 4), channels)

    def forward(self, maps: Tensor, activity: Tensor | None = None) -> Tensor:
        """(batch, channels, time, freq), and `activity` as in `MobileNet` -> the same."""
        weight = torch.sigmoid(self.excite(F.relu(self.squeeze(active_mean(maps, activity)))))
        return maps * weight[:, :, None, None]


class Block(nn.Module):
    """Inverted residual block: expand, filter each channel, weigh channels, reduce."""

    def __init__(self, channels: int, shape: BlockShape) -> None:
        super().__init__()
        self.expand = ConvNorm((channels, shape.expanded)) if shape.expanded != channels else None
        self.filter = ConvNorm((shape.expanded, shape.expanded), shape.kernel, shape.stride, depthwise=True)
        self.excite = SqueezeExcite(shape.expanded) if shape.excite else None
        self.reduce = ConvNorm((shape.expanded, shape.out))
        self.activation = F.hardswish if shape.hard_swish else F.relu
        self.residual = shape.stride == 1 and channels == shape.out

    def forward(self, maps: Tensor, activity: Tensor | None = None) -> Tensor:
        """(batch, in, time, freq), and `activity` as in `MobileNet` -> (batch, out, time / stride, freq / stride)."""
        inner = maps if self.expand is None else self.activation(self.expand(maps))
        inner = self.activation(self.filter(inner))
        inner = inner if self.excite is None else self.excite(inner, activity)
        found: Tensor = self.reduce(inner)
        return maps + found if self.residual else found


class MobileNet(nn.Module):
    """Log-mel map -> class scores, features and four hidden maps.

    Attributes:
        hidden_channels: of the four maps, shallow to deep.
    """

    def __init__(
        self, blocks: tuple[BlockShape, ...] = BLOCKS, last: int = LAST, classes: int = CLASSES
    ) -> None:
        """Build with fresh weights.

        Args:
            blocks: rows of the table, at least as many as `HIDDEN_AFTER` names.
            last: channels of the last map.
            classes: class scores.
        """
        super().__init__()
        self.stem = ConvNorm((1, STEM), kernel=3, stride=2)
        widths = (STEM, *(shape.out for shape in blocks))
        self.blocks = nn.ModuleList(Block(width, shape) for width, shape in zip(widths, blocks, strict=False))
        self.last = ConvNorm((widths[-1], last))
        self.features = nn.Linear(last, FEATURES)
        self.classes = nn.Linear(FEATURES, classes)
        self.hidden_channels = (*(widths[number] for number in HIDDEN_AFTER), last)

    def forward(
        self, log_mel: Tensor, activity: Tensor | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Encode a log-mel map.

        Args:
            log_mel: (batch, n_mels, frames), as scaled by the front end.
            activity: (batch, frames) in [0, 1], how much each frame counts in means over time; None: all alike, as
                published.

        Returns:
            logits: (batch, classes), before the sigmoid.
            features: (batch, 512), after the hard-swish.
            hidden: maps after blocks 3, 6, 12 and the last layer, each (batch, channels, time, freq) at strides 4, 8,
                16 and 32.
        """
        maps = log_mel.transpose(1, 2).unsqueeze(1)
        # Measured on CPUs: depthwise kernels run twice as fast with channels last.
        maps = maps.contiguous(memory_format=torch.channels_last)
        maps = F.hardswish(self.stem(maps))
        hidden = []
        for number, block in enumerate(self.blocks, start=1):
            maps = block(maps, activity)
            if number in HIDDEN_AFTER:
                hidden.append(_full(maps))
        maps = _full(F.hardswish(self.last(maps)))
        hidden.append(maps)
        features = F.hardswish(self.features(active_mean(maps, activity)))
        return self.classes(features), features, tuple(hidden)

    @property
    def cam_layers(self) -> dict[str, nn.Module]:
        """Modules whose output GradCAM can use; the last one is the default."""
        return {**{f"block{number}": self.blocks[number - 1] for number in HIDDEN_AFTER}, "last": self.last}


def _full(maps: Tensor) -> Tensor:
    """Under autocast: decoders and heads work on full-precision maps."""
    return maps if maps.dtype in (torch.float32, torch.float64) else maps.float()


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names and layout of `MobileNet` for the weights that Schmid et al. published.

    Args:
        state: of the published network; kernels (out, in, freq, time).

    Returns:
        State of a `MobileNet`, to be loaded strictly.

    Raises:
        KeyError: it holds a name that the network doesn't have.
    """
    return {
        _own_name(key): value.transpose(2, 3) if value.ndim == 4 else value for key, value in state.items()
    }


def _own_name(key: str) -> str:
    """Published name -> name here."""
    parts = key.split(".")
    if parts[0] == "classifier":
        return f"{ {'2': 'features', '5': 'classes'}[parts[1]] }.{parts[2]}".replace(" ", "")
    number = int(parts[1])
    if number in (0, len(BLOCKS) + 1):
        return f"{'last' if number else 'stem'}.{_part(parts[2])}.{parts[3]}"
    prefix, place = f"blocks.{number - 1}", int(parts[3])
    if parts[4] == "conc_se_layers":
        return f"{prefix}.excite.{ {'fc1': 'squeeze', 'fc2': 'excite'}[parts[6]] }.{parts[7]}".replace(
            " ", ""
        )
    roles = ["expand", "filter", "excite", "reduce"]
    if number == 1:  # has no expansion
        roles = roles[1:]
    if not BLOCKS[number - 1].excite:
        roles.remove("excite")
    return f"{prefix}.{roles[place]}.{_part(parts[4])}.{parts[5]}"


def _part(place: str) -> str:
    return {"0": "conv", "1": "norm"}[place]
