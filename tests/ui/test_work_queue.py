"""Who comes first is served first, and everybody is told how many come before."""

import os
import sys
from contextvars import ContextVar
from threading import Event, get_native_id

import pytest

from lmaczs.ui import text
from lmaczs.ui.handlers import Handlers
from lmaczs.ui.progress import Stopped, watched
from lmaczs.ui.request_order import Request
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio
from lmaczs.ui.work_queue import NICE, WorkQueue


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmaczs.ui.progress.PATIENCE_S", 0.01)


def test_place_in_line_falls_as_others_are_done():
    gates, served = [Event() for _ in range(3)], []

    def work(number: int) -> None:
        gates[number].wait()
        served.append(number)

    with WorkQueue() as queue:
        futures = [queue.submit(work, number) for number in range(3)]
        assert [queue.before(future) for future in futures] == [0, 1, 2]
        gates[0].set()
        futures[0].result()
        assert [queue.before(future) for future in futures] == [0, 0, 1]
        assert futures[2].cancel()
        last = queue.submit(work, 2)
        assert queue.before(last) == 1
        gates[1].set()
        gates[2].set()
        last.result()
        assert queue.before(last) == 0
    assert served == [0, 1, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ranks threads")
def test_whoever_is_to_be_answered_comes_before_work():
    def rank() -> int:
        return os.getpriority(os.PRIO_PROCESS, get_native_id())

    with WorkQueue() as queue:
        assert queue.submit(rank).result() == min(rank() + NICE, 19)


def test_mistake_in_work_leaves_the_line_moving():
    with WorkQueue() as queue:
        broken = queue.submit(lambda: 1 / 0)
        assert queue.submit(lambda: "next").result() == "next"
        assert isinstance(broken.exception(), ZeroDivisionError)
        assert queue.before(broken) == 0


def test_work_knows_whose_it_is():
    """Gradio keeps the request in a context variable, and a lent GPU counts against its visitor's quota."""
    visitor = ContextVar("visitor")
    with WorkQueue() as queue:
        for name in ("one", "two"):
            visitor.set(name)
            assert queue.submit(visitor.get).result() == name


def test_who_waits_is_told_once_and_may_leave():
    gate, leave = Event(), Event()
    with WorkQueue() as queue:
        queue.submit(gate.wait)
        steps = watched(lambda report: "never", queue, leave.is_set)
        assert next(steps) == (0.0, "", 1)
        leave.set()
        with pytest.raises(Stopped):  # and not the same place again
            next(steps)
        gate.set()


def test_visitor_sees_the_place_and_then_the_work(monkeypatch: pytest.MonkeyPatch):
    gate, handlers = Event(), Handlers(Studio(Settings(backend="debug")))
    queue = handlers.studio.queue
    queue.submit(gate.wait)
    monkeypatch.setattr(handlers.studio, "hear", lambda *_: pytest.fail("it is not their turn"))
    updates = handlers.analyse("sound.wav", "rain", Request("visitor", 1))
    assert next(updates).progress == {"share": 0.0, "message": text.WAITING.format(1), "method": None}
    handlers.stop(Request("visitor", 2))
    assert list(updates) == []
    gate.set()
    queue.submit(int).result()
