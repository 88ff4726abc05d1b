"""The encoder in two halves: shallow blocks stay as they start, deep ones learn."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.mobilenet import MobileNet, active_mean


def shallow_maps(encoder: MobileNet, log_mel: Tensor, activity: Tensor, blocks: int) -> Tensor:
    """Output of the first blocks, without a gradient: (batch, channels, time, freq)."""
    with torch.no_grad():
        maps = log_mel.transpose(1, 2).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        maps = F.hardswish(encoder.stem(maps))
        for block in encoder.blocks[:blocks]:
            maps = block(maps, activity)
    return maps


def deep_scores(encoder: MobileNet, maps: Tensor, activity: Tensor, blocks: int) -> tuple[Tensor, Tensor]:
    """Class scores and features, (batch, classes) and (batch, features), from the output of the first blocks."""
    for block in encoder.blocks[blocks:]:
        maps = block(maps, activity)
    maps = F.hardswish(encoder.last(maps))
    features = F.hardswish(encoder.features(active_mean(maps, activity)))
    return encoder.classes(features), features


def deep_parameters(encoder: MobileNet, blocks: int) -> Iterator[nn.Parameter]:
    """Parameters that `deep_scores` uses."""
    for part in (*encoder.blocks[blocks:], encoder.last, encoder.features, encoder.classes):
        yield from part.parameters()


class ClassShift(nn.Module):
    """A change of class scores that is linear in the features; it becomes part of the last layer."""

    def __init__(self, mean: Tensor, deviation: Tensor, classes: int) -> None:
        """Begin with no change.

        Args:
            mean: (features,) of the features, and so is `deviation`.
            deviation: > 0.
            classes: scores.
        """
        super().__init__()
        self.mean, self.deviation = mean, deviation
        self.linear = nn.Linear(len(mean), classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, features) -> (batch, classes)."""
        change: Tensor = self.linear(F.dropout((features - self.mean) / self.deviation, 0.2, self.training))
        return change

    @torch.no_grad()
    def fold_into(self, layer: nn.Linear) -> None:
        """Add the change to a layer that has the same input and output."""
        weight = self.linear.weight / self.deviation
        layer.weight += weight
        layer.bias.add_(self.linear.bias - weight @ self.mean)


@torch.no_grad()
def blend(encoder: MobileNet, start: MobileNet, share: float) -> None:
    """Move weights towards the start (Wortsman et al. 2022): what was learned before is kept better.

    Args:
        encoder: is changed.
        start: the network that it began as.
        share: of the start, in [0, 1].
    """
    for own, first in zip(encoder.state_dict().values(), start.state_dict().values(), strict=True):
        if own.dtype.is_floating_point:
            own.lerp_(first, share)
