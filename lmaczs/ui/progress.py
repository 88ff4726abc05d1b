"""Long work in another thread, so that a handler can tell how far it is and be stopped."""

from collections.abc import Callable, Generator
from concurrent.futures import Executor, wait
from threading import Event
from typing import TypeVar

from lmaczs.types import Progress

Result = TypeVar("Result")
PATIENCE_S = 0.4  # work that ends within this time reports nothing


class Stopped(Exception):
    """Nobody waits for this work any more."""


def watched(
    work: Callable[[Progress], Result], executor: Executor, is_over: Callable[[], bool]
) -> Generator[tuple[float, str], None, Result]:
    """Run `work(report)` and yield its latest report from time to time; returns its result.

    Args:
        work: calls `report` now and then.
        executor: runs it.
        is_over: whether nobody waits for it any more; asked often, from both threads. The caller is free at once, the
            work ends at its next report.

    Raises:
        Stopped: the work was ended.
    """
    latest = (0.0, "")
    left = Event()

    def report(share: float, message: str) -> None:
        nonlocal latest
        if left.is_set() or is_over():
            raise Stopped
        latest = (share, message)

    if is_over():
        raise Stopped
    future = executor.submit(work, report)
    try:
        while not wait([future], PATIENCE_S).done:
            if is_over():
                raise Stopped
            yield latest
        return future.result()
    finally:
        left.set()
        future.cancel()
