"""How alike are two masks, cell by cell and in the order of their cells?

Masks are compared as they are, on the scale 0 to 1. A range taken from the masks themselves, as public code has it,
would blow a constant mask up to noise, or divide by zero.
"""

import math

import torch
from torch import Tensor

from lmaczs.metrics.statistics import spearman

# Of Wang et al.: an 11 x 11 Gaussian window.
SIGMA, RADIUS = 1.5, 5
K1, K2 = 0.01, 0.03


def ssim(first: Tensor, second: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) at data range 1, its mean over all positions of the window.

    Two faint masks are alike to it wherever they are, because little differs between almost nothing and almost
    nothing; `order_kept` has no such blind spot, and what masks of different sounds reach tells how much of it is
    chance.

    Args:
        first: (freq, frames) in [0, 1].
        second: same shape.

    Returns:
        In [-1, 1], 1 for equal masks. The window shrinks where a mask has fewer than 11 rows or frames.

    Raises:
        ValueError: the shapes differ.
    """
    _same_shape(first, second)
    x, y = first.double(), second.double()
    radius = min(RADIUS, (min(x.shape) - 1) // 2)
    mean_x, mean_y, square_x, square_y, product = _blur(torch.stack([x, y, x * x, y * y, x * y]), radius)
    variance_x, variance_y, covariance = square_x - mean_x**2, square_y - mean_y**2, product - mean_x * mean_y
    light = (2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2)
    structure = (2 * covariance + K2**2) / (variance_x + variance_y + K2**2)
    return float((light * structure).mean())


def _blur(maps: Tensor, radius: int) -> Tensor:
    """Gaussian mean around each cell that is at least `radius` from the border: (maps, freq - 2r, frames - 2r)."""
    weights = [math.exp(-0.5 * (offset / SIGMA) ** 2) for offset in range(-radius, radius + 1)]
    for axis in (1, 2):
        length = maps.shape[axis] - 2 * radius
        # Shifted sums: for two passes of eleven numbers several times as fast as a convolution in double precision.
        total = torch.zeros_like(maps.narrow(axis, 0, length))
        for shift, weight in enumerate(weights):
            total.add_(maps.narrow(axis, shift, length), alpha=weight / sum(weights))
        maps = total
    return maps


def order_kept(original: Tensor, mask: Tensor) -> float:
    """How much of the order of a mask's cells is left: Spearman's correlation with the original mask.

    Args:
        original: (freq, frames).
        mask: same shape, of the disturbed model or of another prompt.

    Returns:
        In [-1, 1]. 0 where the mask has become constant, as one that keeps nothing: no order is left. nan where the
        original is constant: there was none.

    Raises:
        ValueError: the shapes differ.
    """
    correlation = spearman(original, mask)
    if math.isnan(correlation) and _has_order(original) and not mask.isnan().any():
        return 0.0
    return correlation


def _has_order(mask: Tensor) -> bool:
    return bool(mask.min() < mask.max())


def _same_shape(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape:
        raise ValueError(f"{tuple(first.shape)} and {tuple(second.shape)} differ in shape.")
