"""Blind comparisons of two methods that visitors of the page make, kept in the form of a study's answers.

Kept are a random number of the browser, a number made from the sound and the sentence, the methods and the ratings: no
sound, no sentence, no name, no address, no time.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lmaczs.errors import LMACError, plain_write_errors
from lmaczs.study.answers import FILE, Answers, Rating
from lmaczs.study.design import DESIGN, Item, Study

TITLE = "Blind comparisons on the page"
TOKEN = re.compile(r"[A-Za-z0-9_-]{16}")
CONDITION = re.compile(r"[a-z0-9+-]{1,40}(@\d{1,2})?")
# SQLite's integers are below 2 ** 63.
ITEM_BITS = 48
BAD = "This rating does not fit the page: load the page again."


class Comparisons:
    """Where the page keeps the ratings of its visitors."""

    def __init__(self, folder: Path) -> None:
        """Open, or begin.

        Args:
            folder: made if it is not there; must hold no study that is served.

        Raises:
            LMACError: the folder holds a study, or cannot be used.
        """
        if (folder / DESIGN).exists():
            raise LMACError(f"'{folder.name}' holds a study with items of its own: name another folder.")
        with plain_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.answers = Answers(folder)

    def keep(self, token: object, sound: object, prompt: object, ratings: object) -> None:
        """Keep what a visitor says of two methods; said again, it replaces what was said of them before.

        Args:
            token: random number of the browser.
            sound: fingerprint of the recording.
            prompt: sentence that is explained.
            ratings: key of a method -> 0 to 100, two of them.

        Raises:
            LMACError: anything else was sent.
        """
        if not (isinstance(token, str) and TOKEN.fullmatch(token)):
            raise LMACError(BAD)
        if not (isinstance(sound, str) and isinstance(prompt, str) and isinstance(ratings, Mapping)):
            raise LMACError(BAD)
        if len(ratings) != 2 or not all(_fits(name, value) for name, value in ratings.items()):
            raise LMACError(BAD)
        digest = hashlib.sha256(f"{sound}\n{prompt}".encode("utf-8", "replace")).digest()
        item = int.from_bytes(digest[: ITEM_BITS // 8], "big")
        self.answers.keep_item(self.answers.welcome(token), item, dict(ratings))


def _fits(name: object, value: object) -> bool:
    return (
        isinstance(name, str)
        and CONDITION.fullmatch(name) is not None
        and type(value) is int
        and 0 <= value <= 100
    )


def holds_comparisons(folder: Path) -> bool:
    """Whether a folder has answers, and no design of a study that they belong to."""
    return (folder / FILE).is_file() and not (folder / DESIGN).exists()


def as_study(ratings: Sequence[Rating]) -> Study:
    """What the comparisons are about, for the analysis: it has no reference, no anchor and no sounds."""
    conditions = tuple(sorted({one.condition for one in ratings}))
    return Study(TITLE, conditions, (), Item("", "", ()), 0, {})
