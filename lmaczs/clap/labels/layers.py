"""Finding the layers of a module whose output is a map over time, and which of its axes is time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmaczs.clap.hooks import named_maps

ToMap = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class MapLayer:
    """A layer whose output is a map.

    Attributes:
        module: the layer.
        to_map: what makes its output, or a gradient at it, (batch, channels, time, freq).
        cells: of the map of a whole window in time; a model that pads what it hears has as many for a shorter one.
    """

    module: nn.Module
    to_map: ToMap
    cells: int


# Shallow to deep: as many as the universal decoder reads.
LAYERS = 4
# Share of a change in the second half of the input that is found in the second half of the axis of time.
IN_PLACE = 0.7
MIN_CELLS = 4


def find_layers(
    module: nn.Module, first: Tensor, second: Tensor, names: Mapping[str, nn.Module] | None = None
) -> dict[str, MapLayer]:
    """Layers whose output is a map, shallow to deep.

    Which axis is time is found by experiment: an input is changed in its second half, and the axis along which the
    output changes mostly in its second half is time. Layers that the logits do not depend on there (the last block of a
    transformer that reads one token only) are left out.

    Args:
        module: gives logits, or an object with `logits`.
        first: (1, ...) input with time as its last axis.
        second: the same but for the second half of that axis.
        names: layers to choose among, by name; None: all of the module's, of which the last of each size and the deepest
            `LAYERS` are taken.

    Returns:
        Layers by name.
    """
    candidates = {key: layer for key, layer in module.named_modules() if key} if names is None else names
    # Callers may be in no_grad or inference_mode.
    with torch.inference_mode(False), torch.enable_grad():
        with named_maps(candidates) as outputs:
            found = module(first.detach().clone().requires_grad_(True))
        logits = getattr(found, "logits", found)
        tensors = {key: value for key, value in outputs.items() if value.requires_grad}
        if not tensors:
            return {}
        gradients = torch.autograd.grad(logits.square().sum(), list(tensors.values()), allow_unused=True)
    with torch.no_grad(), named_maps(candidates) as changed:
        module(second)
    maps: dict[object, tuple[str, MapLayer]] = {}
    for (key, value), gradient in zip(tensors.items(), gradients, strict=True):
        if gradient is None or key not in changed or changed[key].shape != value.shape:
            continue
        to_map = _map_of(value.detach(), changed[key])
        if to_map is None or not bool(to_map(gradient).abs().sum() > 0):
            continue
        # Called later is deeper; the last of a size takes the place of those before it.
        size = key if names is not None else tuple(to_map(value).shape[2:])
        maps.pop(size, None)
        maps[size] = (key, MapLayer(candidates[key], to_map, to_map(value).shape[2]))
    deepest = list(maps.values())
    return dict(deepest if names is not None else deepest[-LAYERS:])


def _map_of(first: Tensor, second: Tensor) -> ToMap | None:
    """What makes an output a map (batch, channels, time, freq); None where no axis is time."""
    change = (second - first).abs().double()
    axes = (2, 3) if first.ndim == 4 else (1, 2)
    shares = {axis: _second_half(change, axis) for axis in axes if first.shape[axis] >= MIN_CELLS}
    if not shares:
        return None
    time = max(shares, key=lambda axis: shares[axis])
    if shares[time] < IN_PLACE:
        return None
    if first.ndim == 4:
        return _time_first if time == 2 else _swapped
    return _tokens if time == 1 else _channels


def _second_half(change: Tensor, axis: int) -> float:
    profile = change.sum(dim=[other for other in range(change.ndim) if other != axis])
    return float(profile[len(profile) // 2 :].sum() / profile.sum().clamp_min(1e-30))


def _time_first(output: Tensor) -> Tensor:
    """(batch, channels, time, freq) as it is."""
    return output


def _swapped(output: Tensor) -> Tensor:
    """(batch, channels, freq, time)."""
    return output.transpose(2, 3)


def _tokens(output: Tensor) -> Tensor:
    """(batch, time, channels)."""
    return output.transpose(1, 2).unsqueeze(3)


def _channels(output: Tensor) -> Tensor:
    """(batch, channels, time)."""
    return output.unsqueeze(3)
