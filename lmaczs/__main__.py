"""`python -m lmaczs`, and the program `lmaczs`: the command line, from a signal to its exit code.

Ctrl-C (SIGINT) and SIGTERM end the program with one line and the exit code 128 + signal, also while libraries are
imported. An import may turn the KeyboardInterrupt into an error of its own, or lose it; so the signal is remembered.
"""

import _thread
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


class _Interruption:
    """The signal that asked the program to end.

    Attributes:
        signal: its number; 0 as long as there was none.
    """

    signal = 0
    _since = 0.0

    def watch(self) -> None:
        """Raise KeyboardInterrupt at SIGINT and SIGTERM, unless whoever started the program has them ignored."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._arrived)
        sys.unraisablehook = self._lost

    def forget(self) -> None:
        """Ignore further signals: the program is at its end."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        repeated = self.signal and time.monotonic() - self._since < REPEATED_S
        if not repeated:
            self.signal, self._since = number, time.monotonic()
            raise KeyboardInterrupt

    def _lost(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Raise once more where Python could only report: in a finalizer or in a callback of C code."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        self._since = float("-inf")
        again = threading.Timer(0.01, _thread.interrupt_main, (self.signal,))
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
        if not interruption.signal:
            raise
        code = None
    interruption.forget()
    if interruption.signal:
        with suppress(OSError):
            if code != INTERRUPTED:
                print(INTERRUPTION, file=sys.stderr, flush=True)
        # Threads that are still at work, and what libraries do at the end, would only hold it up.
        os._exit(128 + interruption.signal)
    sys.exit(code)


if __name__ == "__main__":
    program()
