"""Reading the next clips while one is explained, a few at most."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_END = object()


def read_ahead(values: Iterable[T], count: int) -> Iterator[T]:
    """Yield the values of a slow iterable; a thread makes up to `count` of them before they are asked for.

    Args:
        values: made in that thread, in order; what it raises is raised here.
        count: that wait at most; 0 makes each value only when it is asked for.
    """
    if count == 0:
        yield from values
        return
    made: queue.Queue = queue.Queue(maxsize=count)
    stop = threading.Event()

    def put(entry: object) -> bool:
        while not stop.is_set():
            try:
                made.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        try:
            for value in values:
                if not put((value, None)):
                    return
            put((_END, None))
        except BaseException as error:
            put((_END, error))

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            value, error = made.get()
            if error is not None:
                raise error
            if value is _END:
                return
            yield value
    finally:
        stop.set()
        thread.join()
