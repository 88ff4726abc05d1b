"""Runs seeded cases in a process of their own, under a limit of time and of memory, and counts how they end.

A case is a function (seed, number, folder) of a module. It makes its input from seed and number alone, writes into the
empty folder if it has to, and uses what is tested. It returns if the input was accepted, raises LMACError if it was
refused, and `Fault` if what came back is wrong. Anything else that it raises is a traceback that a user would see. A
function `prepare` of the same module, if there is one, is called once before, without limits.
"""

import multiprocessing
import os
import resource
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lmaczs.errors import LMACError

SECONDS = 20
MEGABYTES = 1024
ACCEPTED, REFUSED = "accepted", "refused"


class Fault(Exception):
    """What came back is wrong.

    Attributes:
        verdict: one word for the count, for example "partial".
    """

    def __init__(self, verdict: str, detail: str) -> None:
        super().__init__(detail)
        self.verdict = verdict


@dataclass(frozen=True)
class Outcome:
    """How one case ended: `ACCEPTED`, `REFUSED`, or a fault."""

    number: int
    verdict: str
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        return self.verdict not in (ACCEPTED, REFUSED)


@dataclass
class Report:
    """All outcomes of a run; `megabytes` is the largest resident size that a worker or a child of it had."""

    outcomes: list[Outcome] = field(default_factory=list)
    megabytes: int = 0

    @property
    def faults(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.is_fault]

    def __str__(self) -> str:
        counts = Counter(outcome.verdict for outcome in self.outcomes)
        words = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        return f"{len(self.outcomes)} cases: {words or 'none'}; at most {self.megabytes} MB"


def run(
    case: str,
    seed: int,
    numbers: Iterable[int],
    *,
    seconds: float = SECONDS,
    megabytes: int = MEGABYTES,
    show: Callable[[Outcome], None] = lambda outcome: None,
) -> Report:
    """Run cases one after the other.

    Args:
        case: "module:function".
        seed: of the whole run.
        numbers: of the cases.
        seconds: after which a case counts as hanging, and its worker is killed.
        megabytes: resident size that the worker and its children may reach.
        show: called with each outcome as it comes.
    """
    report = Report()
    worker = None
    try:
        for number in numbers:
            worker = worker or _Worker(case, seed, megabytes)
            outcome, peak = worker.ask(number, seconds)
            report.outcomes.append(outcome)
            report.megabytes = max(report.megabytes, peak)
            show(outcome)
            if outcome.verdict in ("hang", "killed", "memory"):
                worker.close()
                worker = None
    finally:
        if worker:
            worker.close()
    return report


class _Worker:
    """A process that answers case after case, so that libraries are loaded once."""

    def __init__(self, case: str, seed: int, megabytes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, case, seed, megabytes), daemon=False)
        self._process.start()
        there.close()
        # Loading libraries is not the case's time.
        if not self._line.poll(300):
            self.close()
            raise RuntimeError("the worker did not start within 300 s")
        self._line.recv()

    def ask(self, number: int, seconds: float) -> tuple[Outcome, int]:
        self._line.send(number)
        try:
            if not self._line.poll(seconds):
                return Outcome(number, "hang", f"no answer within {seconds} s"), 0
            verdict, detail, peak = self._line.recv()
        except (EOFError, ConnectionError):
            self._process.join(5)
            return Outcome(number, "killed", f"the worker ended with {self._process.exitcode}"), 0
        return Outcome(number, verdict, detail), peak

    def close(self) -> None:
        self._line.close()
        if self._process.is_alive():
            self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()


def _serve(line: Connection, case: str, seed: int, megabytes: int) -> None:
    module, _, name = case.partition(":")
    cases = import_module(module)
    function = getattr(cases, name)
    # Models are loaded once, as on a page.
    getattr(cases, "prepare", lambda: None)()
    # What the libraries have mapped is theirs; a case may add the limit to it.
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = mapped + megabytes * (1 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    line.send(None)
    while True:
        try:
            number = line.recv()
        except EOFError:
            return
        verdict, detail = _verdict(function, seed, number)
        peak = max(_peak_kilobytes(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
        if peak // 1024 > megabytes:
            verdict, detail = "memory", f"{peak // 1024} MB resident; {verdict}: {detail}"
        line.send((verdict, detail, peak // 1024))


def _peak_kilobytes() -> int:
    """Largest resident size of this process; `ru_maxrss` would be that of whoever started it, if that was larger."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def _verdict(function: Callable[[int, int, Path], Any], seed: int, number: int) -> tuple[str, str]:
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder:
        try:
            function(seed, number, Path(folder))
        except LMACError as error:
            return _judged(str(error), folder)
        except Fault as fault:
            return fault.verdict, str(fault)
        except MemoryError:
            return "memory", traceback.format_exc(limit=-3)
        except Exception:
            return "traceback", traceback.format_exc(limit=-6)
        return ACCEPTED, ""


def _judged(sentence: str, folder: str) -> tuple[str, str]:
    """A refusal has to be a sentence that can be shown anywhere."""
    if not sentence.isprintable() or len(sentence) > 600 or folder in sentence or os.sep * 2 in sentence:
        return "bad sentence", ascii(sentence)[:800]
    return REFUSED, sentence
