"""What listeners said, in SQLite: every rating is on the disk before the page is told so."""

import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lmaczs.errors import LMACError

FILE = "answers.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS listeners (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS ratings (
    listener INTEGER NOT NULL REFERENCES listeners (number),
    item INTEGER NOT NULL,
    condition TEXT NOT NULL,
    value INTEGER NOT NULL CHECK (value BETWEEN 0 AND 100),
    PRIMARY KEY (listener, item, condition)
);
CREATE TABLE IF NOT EXISTS finished (
    listener INTEGER NOT NULL REFERENCES listeners (number),
    item INTEGER NOT NULL,
    PRIMARY KEY (listener, item)
);
"""
KEEP = "INSERT INTO ratings VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
# The item to get used to the page.
PRACTICE = -1
# Seconds that one waits for another's write.
WAIT_S = 30.0


@dataclass(frozen=True)
class Rating:
    """One answer.

    Attributes:
        listener: number, from 0.
        item: number of the item, from 0.
        condition: that was rated.
        value: 0 to 100.
    """

    listener: int
    item: int
    condition: str
    value: int


class Answers:
    """The answers of a study; safe to use from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Open, or begin.

        Args:
            folder: of the study.

        Raises:
            LMACError: the file cannot be used.
        """
        self.file = folder / FILE
        try:
            with self._connected() as base:
                base.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise LMACError(
                f"'{FILE}' of '{folder.name}' cannot be used ({error}): make room, or put a copy in its place."
            ) from error

    def join(self) -> str:
        """A new listener's token: whoever shows it goes on where they were."""
        token = secrets.token_urlsafe(12)
        with self._connected() as base:
            base.execute("INSERT INTO listeners (token) VALUES (?)", (token,))
        return token

    def welcome(self, token: str) -> int:
        """The number of a listener who brings a token of their own, from 0; made at the first time."""
        with self._connected() as base:
            base.execute("INSERT OR IGNORE INTO listeners (token) VALUES (?)", (token,))
            found = base.execute("SELECT number FROM listeners WHERE token = ?", (token,)).fetchone()
        return int(found[0]) - 1

    def listener(self, token: str) -> int | None:
        """A listener's number, from 0; None for an unknown token."""
        with self._connected() as base:
            found = base.execute("SELECT number FROM listeners WHERE token = ?", (token,)).fetchone()
        return None if found is None else int(found[0]) - 1

    def rate(self, listener: int, item: int, condition: str, value: int) -> None:
        """Keep a rating; a later one of the same replaces it."""
        with self._connected() as base:
            base.execute(KEEP, (listener + 1, item, condition, value))

    def keep_item(self, listener: int, item: int, values: Mapping[str, int]) -> None:
        """Keep several ratings of one item, and that it is finished: all of it or nothing."""
        with self._connected() as base:
            base.executemany(KEEP, [(listener + 1, item, name, value) for name, value in values.items()])
            base.execute("INSERT OR IGNORE INTO finished VALUES (?, ?)", (listener + 1, item))

    def finish(self, listener: int, item: int) -> None:
        """Keep that a listener has gone on to the next item."""
        with self._connected() as base:
            base.execute("INSERT OR IGNORE INTO finished VALUES (?, ?)", (listener + 1, item))

    def finished(self, listener: int) -> set[int]:
        """Items that a listener has left behind."""
        with self._connected() as base:
            rows = base.execute("SELECT item FROM finished WHERE listener = ?", (listener + 1,)).fetchall()
        return {int(item) for (item,) in rows}

    def ratings(self, listener: int | None = None, item: int | None = None) -> list[Rating]:
        """Ratings of finished items; those of one listener's item also while it is open.

        Args:
            listener: None takes all.
            item: None takes all that are finished.
        """
        with self._connected() as base:
            rows = base.execute(
                "SELECT listener, item, condition, value FROM ratings NATURAL LEFT JOIN "
                "(SELECT listener, item, 1 AS done FROM finished) "
                "WHERE (?1 IS NULL OR listener = ?1 + 1) AND (CASE WHEN ?2 IS NULL THEN done = 1 ELSE item = ?2 END) "
                "ORDER BY listener, item, condition",
                (listener, item),
            ).fetchall()
        return [
            Rating(int(who) - 1, int(what), str(condition), int(value))
            for who, what, condition, value in rows
        ]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """One transaction, written through to the disk."""
        base = sqlite3.connect(self.file, timeout=WAIT_S)
        try:
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("PRAGMA synchronous = FULL")
            with base:
                yield base
        finally:
            base.close()
