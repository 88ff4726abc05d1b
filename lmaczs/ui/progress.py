"""Long work in another thread, so that a handler can tell how far it is and be stopped."""

from collections.abc import Callable, Generator
from concurrent.futures import wait
from threading import Event
from typing import NamedTuple, TypeVar

from lmaczs.types import Progress
from lmaczs.ui.work_queue import WorkQueue

Result = TypeVar("Result")
# Work that ends within this time reports nothing.
PATIENCE_S = 0.4


class Stopped(Exception):
    """Nobody waits for this work any more."""


class Report(NamedTuple):
    """How far work is.

    Attributes:
        share: in [0, 1].
        message: what is being done.
        before: how many come first; the work has not begun if there are any.
    """

    share: float = 0.0
    message: str = ""
    before: int = 0


def watched(
    work: Callable[[Progress], Result], queue: WorkQueue, is_over: Callable[[], bool]
) -> Generator[Report, None, Result]:
    """Queue `work(report)` at once; what is returned yields its latest report from time to time, and returns its result.

    Args:
        work: calls `report` now and then.
        queue: where it waits for its turn.
        is_over: whether nobody waits for it any more; asked often, from both threads. The caller is free at once, the
            work ends at its next report.

    Raises:
        Stopped: the work was ended.
    """
    latest = Report()
    left = Event()

    def report(share: float, message: str) -> None:
        nonlocal latest
        if left.is_set() or is_over():
            raise Stopped
        latest = Report(share, message)

    if is_over():
        raise Stopped
    future = queue.submit(work, report)

    def follow() -> Generator[Report, None, Result]:
        told: Report | None = None
        try:
            while not wait([future], PATIENCE_S).done:
                if is_over():
                    raise Stopped
                now = latest._replace(before=queue.before(future))
                if now != told:
                    told = now
                    yield now
            return future.result()
        finally:
            left.set()
            future.cancel()

    return follow()


def finished(work: Generator[Report, None, Result]) -> Result:
    """The result of `watched`, for who tells nobody how far it is."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: Result = end.value
            return found
