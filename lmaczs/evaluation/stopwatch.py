"""How long an evaluation takes, over all the runs that it took."""

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from lmaczs.errors import plain_write_errors


class Stopwatch:
    """Seconds and clips by contender, for explaining and for scoring.

    Attributes:
        explained: contender -> [seconds, clips].
        scored: contender -> [seconds, clips].
        total: seconds of all runs.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Start, or go on where an earlier run stopped.

        Args:
            file: JSON file that keeps the times between runs; None keeps none.
        """
        self._file, self._started = file, time.perf_counter()
        self.explained: dict[str, list[float]] = {}
        self.scored: dict[str, list[float]] = {}
        self._before = 0.0
        if file is not None and file.exists():
            try:
                found = json.loads(file.read_text("utf-8"))
                self.explained, self.scored = found["explained"], found["scored"]
                self._before = float(found["total"])
            except (ValueError, KeyError, TypeError):
                pass  # times are a courtesy; a damaged file starts them again

    @property
    def total(self) -> float:
        """Seconds of this run and those before it."""
        return self._before + time.perf_counter() - self._started

    def explaining(self, key: str, clips: int) -> AbstractContextManager[None]:
        """Time the masks of a contender."""
        return _timed(self.explained, key, clips)

    def scoring(self, key: str, clips: int) -> AbstractContextManager[None]:
        """Time the numbers of a contender's masks."""
        return _timed(self.scored, key, clips)

    def milliseconds(self) -> dict[str, dict[str, float]]:
        """Contender -> ms per clip: "explain" and "score"."""
        return {
            key: {
                name: 1000.0 * seconds / max(clips, 1)
                for name, (seconds, clips) in (("explain", self.explained[key]), ("score", self.scored[key]))
            }
            for key in self.explained
            if key in self.scored
        }

    def save(self) -> None:
        """Write the file, if there is to be one."""
        if self._file is not None:
            values = {"total": self.total, "explained": self.explained, "scored": self.scored}
            with plain_write_errors(self._file):
                self._file.write_text(json.dumps(values, indent=2) + "\n", "utf-8")


@contextmanager
def _timed(times: dict[str, list[float]], key: str, clips: int) -> Iterator[None]:
    started = time.perf_counter()
    yield
    entry = times.setdefault(key, [0.0, 0])
    entry[0] += time.perf_counter() - started
    entry[1] += clips
