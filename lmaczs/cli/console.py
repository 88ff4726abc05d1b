"""What a command shows besides its results: plain error sentences and progress bars."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from tqdm import tqdm

from lmaczs.errors import LMACError


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raise the sentence; `main` shows it as it shows all others.

        Raises:
            LMACError: always.
        """
        message = message[:1].upper() + message[1:].rstrip(".")
        raise LMACError(f"{message}: '{self.prog} --help' shows what is accepted.")

    def print_help(self, file: Any = None) -> None:
        """Print the help; argparse itself passes over an output that cannot be written to."""
        print(self.format_help(), end="", file=file)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float, str], None]]:
    """A bar on stderr that vanishes when done; yields a function of (share done in [0, 1], what is being
    done).

    Not shown where stderr is no terminal.
    """
    style = "{desc}: {percentage:3.0f}% |{bar}| {elapsed}<{remaining}"
    with tqdm(total=1.0, desc=title, bar_format=style, leave=False, disable=None, file=sys.stderr) as bar:

        def show(share: float, text: str) -> None:
            bar.set_description(f"{title}: {text}" if text else title, refresh=False)
            bar.n = min(max(share, 0.0), 1.0)
            bar.refresh()

        yield show


@contextmanager
def count_bar(title: str, total: int | None) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that counts clips; yields a function of (clips done just now, how many of them failed).

    Args:
        title: in front of it.
        total: clips that there are; None where nobody knows yet.
    """
    failures = 0
    with tqdm(total=total, desc=title, unit="clip", disable=None, file=sys.stderr) as bar:

        def count(clips: int, failed: int) -> None:
            nonlocal failures
            failures += failed
            if failed:
                bar.set_postfix(failed=failures, refresh=False)
            bar.update(clips)

        yield count


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Keep off stderr what C libraries (mpg123) write about a damaged recording; our sentence says it."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr to keep quiet
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
