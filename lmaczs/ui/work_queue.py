"""One piece of work at a time, first come first served; everybody who waits is told how many come first.

A visitor who asks for nine methods waits nine times, so nobody waits for all of them.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock, get_native_id
from typing import Any, TypeVar

Result = TypeVar("Result")


# Of the thread that works, on Linux: whoever is to be answered comes first.
NICE = 5


class WorkQueue(Executor):
    """One thread for all work: torch keeps a pool of threads for each caller."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "models", _step_back)
        # The first one is at work.
        self._waiting: list[Future[Any]] = []
        self._lock = Lock()

    def submit(self, work: Callable[..., Result], /, *arguments: Any, **named: Any) -> "Future[Result]":
        """Queue `work(*arguments, **named)`."""
        with self._lock:
            # With the request that it is for: `spaces` asks whose quota it is.
            future = self._worker.submit(copy_context().run, work, *arguments, **named)
            self._waiting.append(future)
        future.add_done_callback(self._leave)
        return future

    def before(self, future: "Future[Any]") -> int:
        """How many come first; 0 if it is at work, done or cancelled."""
        with self._lock:
            return self._waiting.index(future) if future in self._waiting else 0

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`."""
        self._worker.shutdown(wait, cancel_futures=cancel_futures)

    def _leave(self, future: "Future[Any]") -> None:
        with self._lock:
            self._waiting.remove(future)


def _step_back() -> None:
    """Let everything else go first; torch's own threads, which this one starts, do likewise."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            thread = get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE)
