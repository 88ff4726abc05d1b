"""The errors that a user can cause; every message may be shown on screen as it is.

Pattern of a message: what was wrong with which value; what is accepted; what to do next.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Exit code after Ctrl-C, and the one line that says so.
INTERRUPTED = 130
INTERRUPTION = "Interrupted: nothing was left half-written."
# Faults of a disk, not of what was to be written or read.
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


# A value from a file or a visitor may be of any length: the first and last letters of a sentence are kept.
FIRST_LETTERS, LAST_LETTERS = 700, 250


class LMACError(Exception):
    """A wrong input, file or choice; the message is one plain sentence or two, without paths of the server.

    Values in it may come from anybody: what cannot be printed (control characters of a terminal, halves of an emoji) is
    shown as "?", and what is far too long is cut in the middle.
    """

    def __str__(self) -> str:
        """The message as it may be shown anywhere that takes plain text."""
        said = "".join(letter if letter.isprintable() else "?" for letter in super().__str__())
        if len(said) <= FIRST_LETTERS + LAST_LETTERS:
            return said
        return f"{said[:FIRST_LETTERS]}…{said[-LAST_LETTERS:]}"


class AudioError(LMACError):
    """A recording cannot be used: unreadable, empty, too short, silent, not finite or far too long."""


class PromptError(LMACError):
    """Prompts are missing, empty, repeated, too many, too long or outside an explainer's closed set."""


class MaskShapeError(LMACError):
    """A mask does not lie on the grid of the audio that it should split."""


class CheckpointError(LMACError):
    """A release folder is damaged, of an unknown format, or made for another backend."""


class DatasetError(LMACError):
    """A dataset is not where it was looked for; the message names the missing file and the set's official page."""


class StorageError(LMACError):
    """Something cannot be written: a disk is full, read-only or not there; no input is to blame."""


class BackendUnavailableError(LMACError):
    """A model's weights are not on this machine and cannot be fetched; the message names the way on."""


@contextmanager
def plain_write_errors(path: Path) -> Iterator[None]:
    """Turn a failed write into one sentence that names the file and not its folder.

    Raises:
        StorageError: something inside raised OSError.
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or "it cannot be written").lower()
        raise StorageError(
            f"Writing '{path.name}' failed ({reason}): choose another place for the results."
        ) from error
