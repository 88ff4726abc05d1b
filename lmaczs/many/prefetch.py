"""Reading the next clips while one is explained, a few at most."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


def prefetch(values: Iterable[T], count: int) -> Iterator[T]:
    """Yield the values of a slow iterable; a thread makes up to `count` of them before they are asked for.

    Args:
        values: made in that thread, in order; what it raises is raised here.
        count: that wait at most; 0 makes each value only when it is asked for.
    """
    if count == 0:
        yield from values
        return
    iterator = iter(values)
    with ThreadPoolExecutor(1, "prefetch") as pool:
        waiting: deque[Future[T]] = deque(pool.submit(next, iterator, _END) for _ in range(count))
        try:
            while (value := waiting.popleft().result()) is not _END:
                waiting.append(pool.submit(next, iterator, _END))
                yield value
        finally:
            for future in waiting:
                future.cancel()
