"""Which of a visitor's wishes is the newest: everything older is void, whether it runs or still waits its turn.

The browser counts the wishes. Two requests may overtake each other on the way, so "stop what is running" could end the
wrong work; "everything before turn 7 is void" is true whenever it arrives.
"""

from collections import OrderedDict
from dataclasses import dataclass
from math import isfinite
from threading import Lock

SESSIONS_KEPT = 1000


@dataclass(frozen=True)
class Wish:
    """One thing that a visitor asked for.

    Attributes:
        session: whose it is.
        turn: its number, as that browser counts.
    """

    session: str = ""
    turn: float = 0.0


class Turns:
    """The newest turn of each session; safe to call from several threads."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()

    def advance(self, wish: Wish) -> None:
        """Make everything void that the same session wished for before."""
        with self._lock:
            self._newest[wish.session] = max(wish.turn, self._newest.get(wish.session, wish.turn))
            self._newest.move_to_end(wish.session)
            while len(self._newest) > SESSIONS_KEPT:
                self._newest.popitem(last=False)

    def is_over(self, wish: Wish) -> bool:
        """Whether the session has wished for something else since."""
        with self._lock:
            return wish.turn < self._newest.get(wish.session, wish.turn)


def read_turn(value: object) -> float:
    """A turn as a browser sent it: anything that is no finite number counts as the first."""
    return float(value) if type(value) in (int, float) and isfinite(value) else 0.0  # type: ignore[arg-type]
