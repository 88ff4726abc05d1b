"""Which of a visitor's requests is the newest: everything older is void, whether it runs or still waits.

The browser counts the requests; their number is called the turn. Two requests may overtake each other on the way, so
"stop what is running" could end the wrong work; "everything before turn 7 is void" is true whenever it arrives.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import isfinite
from threading import Lock

SESSIONS_KEPT = 1000


@dataclass(frozen=True)
class Request:
    """One thing that a visitor asked for.

    Attributes:
        session: whose it is.
        turn: its number, as that browser counts.
    """

    session: str = ""
    turn: float = 0.0


class RequestOrder:
    """The newest turn of each session; safe to call from several threads."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()

    def advance(self, request: Request) -> None:
        """Make everything void that the same session asked for before."""
        with self._lock:
            newest = self._newest.get(request.session, request.turn)
            self._newest[request.session] = max(request.turn, newest)
            self._newest.move_to_end(request.session)
            while len(self._newest) > SESSIONS_KEPT:
                self._newest.popitem(last=False)

    def is_over(self, request: Request) -> bool:
        """Whether the session has asked for something else since."""
        with self._lock:
            return request.turn < self._newest.get(request.session, request.turn)


def read_turn(value: object) -> float:
    """A turn as a browser sent it: anything that is no finite number counts as the first."""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
    return number if isfinite(number) else 0.0
