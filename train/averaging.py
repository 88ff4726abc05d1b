"""Running mean of a network's weights over the steps of a training; it is what is judged and released."""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def start_average(network: Network, device: torch.device) -> Network:
    """A copy of the network on a device, to be updated by `update_average`."""
    return deepcopy(network).to(device)


@torch.no_grad()
def update_average(averaged: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the mean towards the weights after a step.

    Args:
        averaged: the running mean.
        network: in training.
        decay: share of the old mean that stays, once the run is long.
        step: steps taken; the mean is over a few steps only at first.
    """
    decay = min(decay, (1 + step) / (10 + step))
    current = network.state_dict().values()
    for mean, value in zip(averaged.state_dict().values(), current, strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
