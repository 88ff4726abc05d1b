"""Long work in another thread, so that a handler can tell how far it is and be stopped."""

from collections.abc import Callable, Generator
from concurrent.futures import Executor, TimeoutError
from threading import Event
from typing import TypeVar

Result = TypeVar("Result")
Report = Callable[[float, str], None]  # share done in [0, 1], what is being done
PATIENCE_S = 0.4  # work that ends within this time reports nothing


class Stopped(Exception):
    """Nobody waits for this work any more."""


def watched(
    work: Callable[[Report], Result], executor: Executor, stopped: Event
) -> Generator[tuple[float, str], None, Result]:
    """Run `work(report)` and yield its latest report from time to time; returns its result.

    Args:
        work: calls `report` now and then.
        executor: runs it.
        stopped: once set, the next report ends the work.

    Raises:
        Stopped: the work was ended.
    """
    latest = (0.0, "")

    def report(share: float, message: str) -> None:
        nonlocal latest
        if stopped.is_set():
            raise Stopped
        latest = (share, message)

    future = executor.submit(work, report)
    try:
        while True:
            try:
                return future.result(timeout=PATIENCE_S)
            except TimeoutError:
                if future.done():  # the work itself timed out
                    raise
                yield latest
    finally:
        stopped.set()
        future.cancel()
