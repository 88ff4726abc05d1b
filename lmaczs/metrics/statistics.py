"""Means with bootstrap intervals, comparisons on the same recordings, rankings, and correlations."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

CONFIDENCE = 0.95
ROUNDS = 2000  # resamples of a bootstrap
Statistic = Literal["mean", "median"]


@dataclass(frozen=True)
class Interval:
    """A statistic of values over recordings.

    Attributes:
        value: the statistic; nan where n is 0.
        low: lower end of its bootstrap interval.
        high: upper end.
        n: how many values went in.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Ranking:
    """Who is best in one metric.

    Attributes:
        best: the one whose difference to every other one excludes 0; None where there is none.
        tied: names that cannot be told apart from the leader, the leader first; empty where somebody is best.
    """

    best: str | None = None
    tied: tuple[str, ...] = ()


def bootstrap(values: Tensor, statistic: Statistic = "mean", seed: int = 0) -> Interval:
    """Statistic of values with its percentile bootstrap interval (Efron 1979), 95 %.

    Args:
        values: (recordings,); nan is left out.
        statistic: "mean" or "median".
        seed: of the resamples; values of equal number are resampled alike, so that intervals are reproducible.
    """
    used = values[~values.isnan()].double()
    count = len(used)
    if not count:
        return Interval(math.nan, math.nan, math.nan, 0)
    value = float(_reduce(used, statistic))
    resampled = _reduce(used[_resamples(count, seed)], statistic)
    tail = (1.0 - CONFIDENCE) / 2
    low, high = torch.quantile(resampled, torch.tensor([tail, 1.0 - tail], dtype=torch.float64)).tolist()
    return Interval(value, low, high, count)


def paired_difference(
    first: Tensor, second: Tensor, statistic: Statistic = "mean", seed: int = 0
) -> Interval:
    """Statistic of first - second over the recordings that both have, with its bootstrap interval.

    Args:
        first: (recordings,).
        second: (recordings,), of the same recordings in the same order; nan where a recording has no value.
        statistic: "mean" or "median" of the differences.
        seed: of the resamples.

    Raises:
        ValueError: the numbers of recordings differ.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"{tuple(first.shape)} and {tuple(second.shape)} differ: give the same recordings twice."
        )
    return bootstrap(first - second, statistic, seed)


def rank(values: Mapping[str, Tensor], better: str, seed: int = 0) -> Ranking:
    """Find the best of several methods, or those that cannot be told apart.

    The leader has the best mean. It is best only where the paired interval of its difference to every other method
    excludes 0.

    Args:
        values: name -> (recordings,) values of the same recordings; a method without any value takes no part.
        better: "higher" or "lower"; "" ranks nobody.
        seed: of the resamples.
    """
    means = {
        name: float(_reduce(found, "mean")) for name, value in values.items() if len(found := _known(value))
    }
    if not means or not better:
        return Ranking()
    leader = (max if better == "higher" else min)(means, key=lambda name: means[name])
    tied = [
        name
        for name in means
        if name != leader and not _excludes_zero(paired_difference(values[leader], values[name], seed=seed))
    ]
    return Ranking(None, (leader, *tied)) if tied else Ranking(leader)


def spearman(first: Tensor, second: Tensor) -> float:
    """Rank correlation; equal values share the mean of their ranks.

    Args:
        first: any shape.
        second: same shape.

    Returns:
        In [-1, 1]; nan where one of them is constant or shorter than 2: it has no order that could agree or disagree; nan
        also where a value is nan.

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


def as_columns(rows: Sequence[Mapping[str, float]], keys: Sequence[str]) -> dict[str, Tensor]:
    """Dictionaries of recordings -> key -> (recordings,) float64; nan where a recording lacks the key."""
    return {key: torch.tensor([row.get(key, math.nan) for row in rows], dtype=torch.float64) for key in keys}


def _known(values: Tensor) -> Tensor:
    return values[~values.isnan()].double()


def _reduce(values: Tensor, statistic: Statistic) -> Tensor:
    return values.mean(-1) if statistic == "mean" else torch.quantile(values, 0.5, dim=-1)


@lru_cache(maxsize=16)
def _resamples(count: int, seed: int) -> Tensor:
    """(ROUNDS, count) indices drawn with replacement."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(count, (ROUNDS, count), generator=generator)


def _excludes_zero(difference: Interval) -> bool:
    return difference.low > 0 or difference.high < 0


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    if len(x) < 2:
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))
    return float(x @ y) / scale if scale > 0 else math.nan


def _ranks(values: Tensor) -> np.ndarray:
    # numpy, because its sort is several times as fast as torch's unique
    _, place, count = np.unique(values.flatten().numpy(), return_inverse=True, return_counts=True)
    ranks: np.ndarray = (count.cumsum() - (count - 1) / 2)[place]
    return ranks


def _same_shape(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape:
        raise ValueError(f"{tuple(first.shape)} and {tuple(second.shape)} differ in shape.")
