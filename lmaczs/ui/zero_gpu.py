"""ZeroGPU: a GPU that Hugging Face lends to a Space for the seconds of one piece of work.

The package `spaces`, which is on such a Space only, runs a function that it decorates in a process forked for it, with
the GPU. What goes in and comes out is pickled, so it has to lie on the CPU; nothing that the process remembers comes
back. Everything that crosses goes through `lend`, and this is the only place where models move. Anywhere else nothing
here does anything.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from math import ceil
from typing import TYPE_CHECKING, Any

from lmaczs.errors import LMACError
from lmaczs.types import Progress
from lmaczs.ui import text
from lmaczs.ui.progress import watched
from lmaczs.ui.settings import Settings
from lmaczs.ui.tasks import TASKS

if TYPE_CHECKING:
    from lmaczs.ui.studio import Studio

VARIABLE = "SPACES_ZERO_GPU"
DEVICE = "cuda"
REST = "cpu"  # where models stay between two pieces of work
START_S = 10.0  # the process, the GPU's own start, and a model on its way to it
PASS_S = 0.03  # an encoder pass of one window on a lent GPU, generously
CPU_PASS_S = 0.2  # measured for the published models at full size on two cores: benchmarks/backends.md
LEAST_S = 3.0  # what takes less on the CPU is done before a GPU is there
MOST_S = 240.0  # of one piece of work; the quota of a visitor who is not logged in is about two minutes a day
# Encoder passes in a window with the default settings, there and back counted as three; see benchmarks/backends.md.
PASSES: dict[str | None, int] = {
    "lmac-zs": 3, "grad-cam": 4, "grad-cam++": 4, "saliency": 6, "smoothgrad": 90, "integrated-gradients": 200,
    "occlusion": 600, "rise": 550, "optimized-mask": 750,
}  # fmt: skip
UNKNOWN_PASSES = 750  # of a method that is not in the list


@dataclass(frozen=True)
class Loan:
    """One piece of work for a GPU.

    Attributes:
        task: key in `lmaczs.ui.tasks.TASKS`.
        settings: of the studio, with the classifier's key.
        arguments: of the task, on the CPU.
        windows: of the classifier that cover the recording.
        method: that explains, if it does.
    """

    task: str
    settings: Settings
    arguments: tuple[Any, ...]
    windows: int
    method: str | None = None


def is_lent() -> bool:
    """Whether this is a Space on ZeroGPU."""
    wanted = os.environ.get(VARIABLE, "").strip().lower() in ("1", "true", "t")
    return wanted and find_spec("spaces") is not None


def resting_device(device: str | None) -> str | None:
    """Where the page's models are loaded: on the CPU if a GPU is only lent; `spaces` makes CUDA seem to be there."""
    return REST if is_lent() else device


def is_worth_it(loan: Loan) -> bool:
    """Whether a GPU is quicker, and the visitor's quota well spent."""
    return _passes(loan) * CPU_PASS_S > LEAST_S


def _passes(loan: Loan) -> int:
    one = {"listen": 1, "check": 2}.get(loan.task) or PASSES.get(loan.method, UNKNOWN_PASSES)
    return loan.windows * one


def seconds_needed(loan: Loan) -> int:
    """For how long the GPU is asked for: less is granted sooner, and what runs longer is ended.

    Raises:
        LMACError: longer than a GPU is lent for.
    """
    seconds = START_S + _passes(loan) * PASS_S
    if seconds > MOST_S:
        raise LMACError(text.TOO_LONG.format(minutes=ceil(seconds / 60), most=round(MOST_S / 60)))
    return ceil(seconds)


def lend(loan: Loan, progress: Progress) -> Any:
    """Do a piece of work on a lent GPU.

    Args:
        loan: the work.
        progress: called here, whatever process works; may raise to stop it.

    Returns:
        What the task returns, on the CPU; a recording comes without its encoder passes, which stay there.

    Raises:
        LMACError: as the task, or no GPU is to be had.
    """
    from gradio.exceptions import Error

    seconds_needed(loan)  # says in a sentence what `spaces` could only cut off
    steps = _borrowing()(replace(loan, arguments=tuple(map(_settled, loan.arguments))))
    try:
        for kind, value in steps:
            if kind == "report":
                progress(*value)
            elif kind == "failed":
                raise value
            else:
                return value
    except Error as error:  # of `spaces`: the quota, or the time is over
        raise LMACError(text.NO_GPU) from error
    finally:
        steps.close()
    raise LMACError(text.NO_GPU)


def prepare() -> None:
    """Let `spaces` know at start that there is work for a GPU; a Space on ZeroGPU without any is stopped."""
    if is_lent():
        _borrowing()


@cache
def _borrowing() -> Callable[[Loan], Any]:
    import spaces

    return spaces.GPU(duration=seconds_needed)(work)


def work(loan: Loan) -> Iterator[tuple[str, Any]]:
    """What the process with the GPU does.

    Yields:
        ("report", (share, message)) any number of times; then ("done", result) or ("failed", LMACError).
    """
    studio = _studio(loan.settings)
    steps = watched(
        lambda report: TASKS[loan.task](studio, *loan.arguments, report), studio.worker, lambda: False
    )
    try:
        while True:
            report = next(steps)
            yield "report", (report.share, report.message)
    except StopIteration as end:
        yield "done", _settled(end.value)
    except LMACError as error:
        yield "failed", error
    finally:
        steps.close()


@cache
def _studio(settings: Settings) -> "Studio":
    """This process's own: a model that the page had loaded before is there already, another one is read from disk."""
    from lmaczs.clap import load_backend
    from lmaczs.ui.studio import Studio

    backend = load_backend(settings.backend, REST).to(DEVICE)
    return Studio(settings, backend=backend, borrows=False)


def _settled(value: Any) -> Any:
    """Without encoder passes: they are large, lie on one of the two devices, and are made again in a moment."""
    from lmaczs.pipeline import Recording

    return replace(value, states=()) if isinstance(value, Recording) else value
