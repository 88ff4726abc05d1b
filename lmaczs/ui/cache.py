"""Where visitors' files lie, and when they go: uploads, and the copies of answers that Gradio serves.

Gradio's own folder is shared by all its apps and stays behind when they end; its own deletion leaves folders, passes over
files that it did not register, and ends for good when a visitor comes in at the wrong moment. So the page has a folder of
its own, sweeps it, and takes it along when it goes.
"""

import contextlib
import functools
import logging
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

from lmaczs.ui.memory import give_back
from lmaczs.ui.own_folders import IN_USE, PREFIX, own_folder, sweep_abandoned

logger = logging.getLogger(__name__)
# Between two sweeps.
LONGEST_PAUSE_S = 600
# The same where there is a limit on bytes.
PAUSE_S = 20


@functools.cache
def visitors_folder() -> TemporaryDirectory[str]:
    """This process's folder for visitors' files, removed when the process ends; made by the first call.

    What a server that was killed has left of its own goes at the same time.
    Gradio asks the environment for it each time, so there is one for all pages of a process.
    """
    # Set to nothing is not set.
    above = os.environ.get("GRADIO_TEMP_DIR") or None
    if above:
        Path(above).mkdir(parents=True, exist_ok=True)
    sweep_abandoned(above)
    folder = own_folder(above)
    os.environ["GRADIO_TEMP_DIR"] = folder.name
    return folder


@functools.cache
def workshop() -> TemporaryDirectory[str]:
    """This process's folder for files on their way: beside the visitors' one, as Gradio copies nothing out of that."""
    return own_folder(str(Path(visitors_folder().name).parent))


def passing_folder() -> TemporaryDirectory[str]:
    """For files of one answer, until Gradio has its own copies."""
    return TemporaryDirectory(prefix=PREFIX, dir=workshop().name)


def sweep(folder: Path, age_s: float, spared: set[str], most_bytes: int | None = None) -> None:
    """Delete files, and folders that are empty, which are older than `age_s`; then the oldest until there is room.

    Args:
        folder: `visitors_folder()`.
        age_s: counted from the last time that a file was written or handed out.
        spared: paths of files that the page itself shows.
        most_bytes: of all files together; None: any number.
    """
    before = time.time() - age_s
    left: list[tuple[float, int, str]] = []
    for place, _, names in os.walk(folder, topdown=False):
        # A folder that changed a moment ago, or right now, may be about to be filled.
        with contextlib.suppress(OSError):
            if Path(place) != folder and not os.listdir(place) and os.stat(place).st_ctime < before:
                os.rmdir(place)
        for path in (os.path.join(place, name) for name in names):
            with contextlib.suppress(OSError):
                if path in spared or os.path.basename(path) == IN_USE:
                    continue
                found = os.lstat(path)
                if found.st_ctime < before:
                    os.remove(path)
                else:
                    left.append((found.st_ctime, found.st_size, path))
    over = sum(size for _, size, _ in left) - (most_bytes or math.inf)
    for _, size, path in sorted(left):
        if over <= 0:
            break
        with contextlib.suppress(OSError):
            os.remove(path)
            over -= size


def keep_sweeping(
    folder: Path, age_s: float, spared: Callable[[], set[str]], most_bytes: int | None = None
) -> Event:
    """Sweep from time to time until the returned event is set or the process ends; see `sweep`.

    Memory that work has freed is given back at the same times.
    """
    over = Event()

    def work() -> None:
        longest = LONGEST_PAUSE_S if most_bytes is None else PAUSE_S
        while not over.wait(min(longest, max(1.0, age_s / 3))):
            try:
                sweep(folder, age_s, spared(), most_bytes)
                give_back()
            # The next one may succeed, and there must be a next one.
            except Exception:
                logger.exception("could not delete old files")

    Thread(target=work, name="sweeper", daemon=True).start()
    return over


def remove_when_terminated(*folders: TemporaryDirectory[str]) -> None:
    """Let SIGTERM, which skips Python's own clean-up, take the folders along."""

    def leave(number: int, _: Any) -> None:
        for folder in folders:
            with contextlib.suppress(OSError):
                folder.cleanup()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, leave)
