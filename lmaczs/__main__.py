"""`python -m lmaczs`, and the program `lmaczs`: the command line, from a signal to its exit code.

Ctrl-C ends the program with one line and the exit code 130, also while libraries are imported. An import may turn the
KeyboardInterrupt into an error of its own, or lose it; so the signal is remembered.
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from lmaczs.errors import INTERRUPTED, INTERRUPTION

REPEATED_S = 2.0  # wrappers such as make and uv pass a Ctrl-C on that has already arrived
# A program that is still at work so long after a Ctrl-C has lost it in a library: it is raised once more.
LOST_S = 5.0


class _Interruption:
    """The Ctrl-C that asked the program to end.

    Attributes:
        arrived: whether there was one.
    """

    arrived = False
    _at = 0.0

    def watch(self) -> None:
        """Raise KeyboardInterrupt at SIGINT, unless whoever started the program has it ignored."""
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._raise)
        sys.unraisablehook = self._raise_again

    def _raise(self, number: int, frame: FrameType | None) -> None:
        repeated = self.arrived and time.monotonic() - self._at < REPEATED_S
        if not repeated:
            self.arrived, self._at = True, time.monotonic()
            _press_again(LOST_S)
            raise KeyboardInterrupt

    def _raise_again(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Raise once more what Python could only report, as in a finalizer or in a callback of C code."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        self._at = float("-inf")
        _press_again(0.01)


def _press_again(after: float) -> None:
    """Send SIGINT to the main thread after so many seconds: a mere note would not wake it from a system call."""
    main = threading.main_thread().ident
    again = threading.Timer(after, signal.pthread_kill, (main, signal.SIGINT))
    again.daemon = True
    again.start()


def program() -> NoReturn:
    """Run the command line of this process, and leave."""
    interruption = _Interruption()
    interruption.watch()
    code: str | int | None
    try:
        from lmaczs.cli import main

        code = main()
    except SystemExit as left:
        code = left.code
    except BaseException:
        if not interruption.arrived:
            raise
        code = None
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if interruption.arrived:
        with suppress(OSError):
            if code != INTERRUPTED:
                print(INTERRUPTION, file=sys.stderr, flush=True)
        # Threads that are still at work, and what libraries do at the end, would only hold it up.
        os._exit(INTERRUPTED)
    sys.exit(code)


if __name__ == "__main__":
    program()
