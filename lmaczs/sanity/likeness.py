"""How alike are two masks, cell by cell and in the order of their cells?

Masks are compared as they are, on the scale 0 to 1. A range taken from the masks themselves, as public code has it,
would blow a constant mask up to noise, or divide by zero.
"""

import math

import numpy as np
import torch
from torch import Tensor

SIGMA, RADIUS = 1.5, 5  # of Wang et al.: an 11 x 11 Gaussian window
K1, K2 = 0.01, 0.03


def ssim(first: Tensor, second: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) at data range 1, its mean over all positions of the window.

    Two faint masks are alike to it wherever they are, because little differs between almost nothing and almost
    nothing; `spearman` has no such blind spot, and what masks of different sounds reach tells how much of it is
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


def spearman(first: Tensor, second: Tensor) -> float:
    """Rank correlation; equal values share the mean of their ranks.

    Args:
        first: any shape.
        second: same shape.

    Returns:
        In [-1, 1]. 0 where one of the two is constant, for it then says nothing of the other's order; nan where
        both are, or where a value is nan.

    Raises:
        ValueError: the shapes differ.
    """
    _same_shape(first, second)
    if first.isnan().any() or second.isnan().any():
        return math.nan
    return _correlation(_ranks(first), _ranks(second))


def pearson(first: Tensor, second: Tensor) -> float:
    """Linear correlation, with the same conventions as `spearman`."""
    _same_shape(first, second)
    return _correlation(first.double().flatten().numpy(), second.double().flatten().numpy())


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    scale_x, scale_y = np.sqrt(x @ x), np.sqrt(y @ y)
    if scale_x == 0 and scale_y == 0:
        return math.nan
    return float(x @ y / (scale_x * scale_y)) if scale_x > 0 and scale_y > 0 else 0.0


def _ranks(values: Tensor) -> np.ndarray:
    # numpy, because its sort is several times as fast as torch's unique
    _, place, count = np.unique(values.flatten().numpy(), return_inverse=True, return_counts=True)
    return (count.cumsum() - (count - 1) / 2)[place]


def _same_shape(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape:
        raise ValueError(f"{tuple(first.shape)} and {tuple(second.shape)} differ in shape.")
