"""Sorting the cells of masks. On a CPU NumPy does it, with vector instructions, on as many threads as torch uses."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Fewer values are sorted before a thread has begun.
WORTH_A_THREAD = 50_000


def ascending(values: Tensor) -> Tensor:
    """Sort each row, the smallest value first: (rows, count) -> (rows, count)."""
    if not values.is_cpu:
        return values.sort(1).values
    cells = values.detach().numpy().copy()
    count = cells.shape[1]
    threads = _threads(count)
    # A row falls into parts that are in order among themselves; each is then sorted by itself.
    edges = [count * number // threads for number in range(threads + 1)]
    if threads > 1:
        cells.partition(edges[1:-1], axis=1)
    _each(
        [cells[:, low:high] for low, high in zip(edges, edges[1:], strict=False)], lambda part: part.sort(1)
    )
    return torch.from_numpy(cells)


def descending_places(values: Tensor) -> Tensor:
    """Places of the values in each row, the largest first: (rows, count) -> (rows, count) int64.

    Of equal values either may come first.
    """
    if not values.is_cpu:
        return values.argsort(dim=1, descending=True)
    rows = np.array_split(-values.detach().numpy(), max(1, min(len(values), _threads(values.numel()))))
    return torch.from_numpy(np.concatenate(_each(rows, lambda part: part.argsort(1))))


def _threads(count: int) -> int:
    return max(1, min(torch.get_num_threads(), count // WORTH_A_THREAD))


def _each(parts: Sequence[np.ndarray], work: Callable[[np.ndarray], Any]) -> list[Any]:
    """Work on all parts at once: NumPy lets other threads run while it sorts."""
    if len(parts) == 1:
        return [work(parts[0])]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(work, parts))
