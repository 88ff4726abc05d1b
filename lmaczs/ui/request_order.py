"""Which of a visitor's requests is the newest: everything older is void, whether it runs or still waits.

The browser counts the requests; their number is called the turn. Two requests may overtake each other on the way, so
"stop what is running" could end the wrong work; "everything before turn 7 is void" is true whenever it arrives.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import isfinite
from threading import Lock
from typing import Any

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
    """The newest turn of each session, and where the visitor is in the recording; safe to call from several threads."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, float] = OrderedDict()
        # A turn, and where the visitor went since, s.
        self._moments: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def advance(self, request: Request) -> None:
        """Make everything void that the same session asked for before."""
        with self._lock:
            newest = self._newest.get(request.session, request.turn)
            self._newest[request.session] = max(request.turn, newest)
            _bound(self._newest, request.session)

    def is_over(self, request: Request) -> bool:
        """Whether the session has asked for something else since."""
        with self._lock:
            return request.turn < self._newest.get(request.session, request.turn)

    def move(self, request: Request, at_s: float) -> None:
        """Note where in the recording a visitor is, for one of the requests; older ones change nothing."""
        with self._lock:
            if request.turn >= self._moments.get(request.session, (request.turn, at_s))[0]:
                self._moments[request.session] = (request.turn, at_s)
                _bound(self._moments, request.session)

    def moment(self, request: Request) -> float | None:
        """Where the visitor went since the request, s; None: nowhere."""
        with self._lock:
            turn, at_s = self._moments.get(request.session, (request.turn, None))
            return at_s if turn == request.turn else None


def _bound(sessions: OrderedDict[str, Any], newest: str) -> None:
    """Forget the sessions that asked for nothing for the longest time."""
    sessions.move_to_end(newest)
    while len(sessions) > SESSIONS_KEPT:
        sessions.popitem(last=False)


def read_turn(value: object) -> float:
    """A turn as a browser sent it: anything that is no finite number counts as the first."""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
    return number if isfinite(number) else 0.0
