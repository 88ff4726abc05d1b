"""ZeroGPU: a GPU that Hugging Face lends to a Space for the seconds of one piece of work.

The package `spaces`, which is on such a Space only, runs a function that it decorates in a process forked for it, with
the GPU. What goes in and comes out is pickled, so it has to lie on the CPU; nothing that the process remembers comes
back. Everything that crosses goes through `lend`, and this is the only place where models move. Anywhere else nothing
here does anything.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from math import ceil
from typing import TYPE_CHECKING, Any

from lmaczs.errors import LMACError
from lmaczs.types import AudioClip, ExplainResult, MaskDomain, Progress
from lmaczs.ui import text
from lmaczs.ui.engine import Engine
from lmaczs.ui.progress import watched
from lmaczs.ui.work_queue import WorkQueue

if TYPE_CHECKING:
    from torch import Tensor

    from lmaczs.hearing import Recording

VARIABLE = "SPACES_ZERO_GPU"
DEVICE = "cuda"
# Where models stay between two pieces of work.
REST = "cpu"
# The process, the GPU's own start, and a model on its way to it.
START_S = 10.0
# An encoder pass of one window on a lent GPU, generously.
PASS_S = 0.03
# Measured for the published models at full size on two cores: benchmarks/backends.md.
CPU_PASS_S = 0.2
# What takes less on the CPU is done before a GPU is there.
LEAST_S = 3.0
# Of one piece of work; the quota of a visitor who is not logged in is about two minutes a day.
MOST_S = 240.0


@dataclass(frozen=True)
class GpuLease:
    """One piece of work for a GPU.

    Attributes:
        backend: key of the classifier.
        call: name of a method of `Engine`.
        arguments: of that method without its progress, on the CPU.
        passes: encoder passes of windows that it takes; a pass back counts as two.
    """

    backend: str
    call: str
    arguments: tuple[Any, ...]
    passes: float


class LentRunner:
    """Does an engine's work on a lent GPU where that is quicker; the same calls as `lmaczs.ui.engine.Runner`."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine on the CPU, which says what work costs and does what is short."""
        self.engine = engine

    def listen(self, clip: AudioClip, progress: Progress) -> "Recording":
        """See `Engine.listen`."""
        backend = self.engine.backend
        # Fewer where it is silent.
        windows = ceil(clip.duration_s * backend.spectral.sample_rate / backend.clip_samples)
        found: Recording = self._run(windows, progress, "listen", clip)
        return found

    def explain(
        self,
        recording: "Recording",
        prompts: Sequence[str],
        target: str | None,
        method: str | None,
        domain: MaskDomain,
        progress: Progress,
    ) -> ExplainResult:
        """See `Engine.explain`."""
        passes = len(recording.plan.windows) * self.engine.method(method, domain).passes()
        arguments = (recording, prompts, target, method, domain)
        found: ExplainResult = self._run(passes, progress, "explain", *arguments)
        return found

    def measure(
        self, result: ExplainResult, recording: "Recording", progress: Progress
    ) -> "tuple[Tensor, int]":
        """See `Engine.measure`."""
        passes = 2 * len(recording.plan.windows)
        found: tuple[Tensor, int] = self._run(passes, progress, "measure", result, recording)
        return found

    def _run(self, passes: float, progress: Progress, call: str, *arguments: Any) -> Any:
        if passes * CPU_PASS_S > LEAST_S:
            return lend(
                GpuLease(self.engine.backend.source or self.engine.backend.name, call, arguments, passes),
                progress,
            )
        return getattr(self.engine, call)(*arguments, progress)


def is_lent() -> bool:
    """Whether this is a Space on ZeroGPU."""
    wanted = os.environ.get(VARIABLE, "").strip().lower() in ("1", "true", "t")
    return wanted and find_spec("spaces") is not None


def resting_device(device: str | None) -> str | None:
    """Where the page's models are loaded: on the CPU if a GPU is only lent; `spaces` makes CUDA seem to be there."""
    return REST if is_lent() else device


def seconds_needed(lease: GpuLease) -> int:
    """For how long the GPU is asked for: less is granted sooner, and what runs longer is ended.

    Raises:
        LMACError: longer than a GPU is lent for.
    """
    seconds = START_S + lease.passes * PASS_S
    if seconds > MOST_S:
        raise LMACError(text.TOO_LONG.format(minutes=ceil(seconds / 60), most=round(MOST_S / 60)))
    return ceil(seconds)


def lend(lease: GpuLease, progress: Progress) -> Any:
    """Do a piece of work on a lent GPU.

    Args:
        lease: the work.
        progress: called here, whatever process works; may raise to stop it.

    Returns:
        What the engine returns, on the CPU; a recording comes without its encoder passes, which stay there.

    Raises:
        LMACError: as the engine, or no GPU is to be had.
    """
    from gradio.exceptions import Error

    # Says in a sentence what `spaces` could only cut off.
    seconds_needed(lease)
    steps = _lent_work()(replace(lease, arguments=tuple(map(_without_passes, lease.arguments))))
    try:
        for kind, value in steps:
            if kind == "report":
                progress(*value)
            elif kind == "failed":
                raise value
            else:
                return value
    except Error as error:
        # Of `spaces`: the quota, or the time is over.
        raise LMACError(text.NO_GPU) from error
    finally:
        steps.close()
    raise LMACError(text.NO_GPU)


def prepare() -> None:
    """Let `spaces` know at start that there is work for a GPU; a Space on ZeroGPU without any is stopped."""
    if is_lent():
        _lent_work()


@cache
def _lent_work() -> Callable[[GpuLease], Any]:
    import spaces

    lent: Callable[[GpuLease], Any] = spaces.GPU(duration=seconds_needed)(work)
    return lent


def work(lease: GpuLease) -> Iterator[tuple[str, Any]]:
    """What the process with the GPU does.

    Yields:
        ("report", (share, message)) any number of times; then ("done", result) or ("failed", LMACError).
    """

    def run(report: Progress) -> Any:
        return getattr(_lent_engine(lease.backend), lease.call)(*lease.arguments, report)

    with WorkQueue() as queue:
        steps = watched(run, queue, lambda: False)
        try:
            while True:
                report = next(steps)
                yield "report", (report.share, report.message)
        except StopIteration as end:
            yield "done", _without_passes(end.value)
        except LMACError as error:
            yield "failed", error
        finally:
            steps.close()


@cache
def _lent_engine(backend: str) -> Engine:
    """This process's own: a model that the page had loaded before is there already, another one is read from disk."""
    from lmaczs.clap import load_backend

    return Engine(load_backend(backend, REST).to(DEVICE))


def _without_passes(value: Any) -> Any:
    """Without encoder passes: they are large, lie on one of the two devices, and are made again in a moment."""
    from lmaczs.hearing import Recording

    return replace(value, states=()) if isinstance(value, Recording) else value
