"""From the order of the cells to a mask: how many of them are kept is what promises the largest gain."""

import torch
from torch import Tensor

from lmaczs.explainers.details import deviation
from lmaczs.sorting import descending_places
from lmaczs.types import MaskDomain

# Shares of the cells whose gain decoders foretell.
AREAS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.45)
# Gain that a larger mask must add per unit of area; larger prefers smaller masks.
AREA_PRICE = 0.05
# Gain that the best mask must promise: below, nothing in the window speaks for the prompt.
NEEDED_GAIN = 0.45
# Of the passage from small masks just above NEEDED_GAIN to masks of full size.
PASSAGE = 0.08
# Softness of the mask's edge when it is heard, by domain; softer than in training, where it must be sharp.
EDGES: dict[MaskDomain, float] = {"stft": 0.35, "mel": 0.5}
# Of a small mask: the foot of a soft edge would be most of it.
SHARP_EDGE = 0.1


def cut_at_area(logits: Tensor, area: Tensor, softness: float | Tensor = 0.25) -> Tensor:
    """A mask that keeps about the given share of the cells, with a soft edge.

    Fixing the area takes the way out of a faint constant mask: all that is left to learn is which cells come first.

    Args:
        logits: (pairs, freq, frames).
        area: (pairs,) share of cells, in (0, 1).
        softness: width of the edge in standard deviations of the logits, one or (pairs,).

    Returns:
        (pairs, freq, frames) in (0, 1).
    """
    ranked = (
        logits[:, ::4, ::2].flatten(1).sort(dim=1).values
    )  # a regular eighth of the cells finds the quantile
    # The mean of neighbouring ranks instead of one cell: its gradient does not hang on a single cell.
    reach = max(ranked.shape[1] // 256, 1)
    index = ((1 - area) * (ranked.shape[1] - 1)).round().long().unsqueeze(1)
    index = (index + torch.arange(-reach, reach + 1, device=logits.device)).clamp(0, ranked.shape[1] - 1)
    cut = ranked.gather(1, index).mean(1, keepdim=True).unsqueeze(2)
    softness = torch.as_tensor(softness, device=logits.device).view(-1, 1, 1)
    width = softness * deviation(logits) + 1e-6
    return torch.sigmoid((logits - cut) / width)


def as_normal(logits: Tensor, order: Tensor | None = None) -> Tensor:
    """The same order of cells with values of a normal distribution: tails of logits differ between classifiers.

    Args:
        logits: (windows, freq, frames).
        order: `descending_places` of them, where it is known.
    """
    if order is None:
        order = descending_places(logits.flatten(1))
    count = order.shape[1]
    quantile = 1 - (torch.arange(count, device=logits.device) + 0.5) / count
    ranks = torch.empty_like(logits).flatten(1)
    return ranks.scatter(1, order, torch.special.ndtri(quantile).expand_as(order)).view_as(logits)


def cut_normal(ranks: Tensor, area: Tensor, edge: float) -> Tensor:
    """`cut_at_area` of the values of `as_normal`, whose quantiles need no search.

    Args:
        ranks: (windows, freq, frames).
        area: (windows,) share of cells, in (0, 1).
        edge: softness of the edge, in standard deviations.

    Returns:
        (windows, freq, frames) in (0, 1).
    """
    cut = torch.special.ndtri(1 - area.double()).to(ranks)
    return torch.sigmoid((ranks - cut[:, None, None]) / edge)


def mask_of_largest_gain(
    logits: Tensor, gains: Tensor, edge: float, needed: float = NEEDED_GAIN
) -> tuple[Tensor, Tensor]:
    """Keep the cells that come first, as many as promise the largest gain.

    Where no mask promises enough, the prompt names nothing that the classifier hears in the window, and nothing is kept.

    Args:
        logits: (pairs, freq, frames); a higher cell speaks more for the prompt.
        gains: (pairs, len(AREAS)); expected gain from keeping that share of the cells.
        edge: softness of the edge, in standard deviations of the logits.
        needed: gain that the best mask must promise.

    Returns:
        (pairs, freq, frames) in [0, 1], and (pairs,) bool, whether anything speaks for the prompt.
    """
    best = gains.amax(dim=1)
    size = torch.sigmoid((best - needed) / PASSAGE)
    mask = cut_at_area(logits, size * choose_area(gains), SHARP_EDGE + size * (edge - SHARP_EDGE))
    present = best >= needed
    return mask * present[:, None, None], present


def choose_area(gains: Tensor) -> Tensor:
    """The share of cells whose expected gain, less its price, is largest; refined between neighbours.

    Args:
        gains: (pairs, len(AREAS)).

    Returns:
        (pairs,) in [AREAS[0], AREAS[-1]]: a soft choice, so that close calls do not jump.
    """
    areas = torch.tensor(AREAS, device=gains.device)
    share = torch.softmax((gains - AREA_PRICE * areas) / 0.03, dim=1)
    return share @ areas
