"""The recording that a command is given: a file, `-` for what comes in, or a pipe."""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lmaczs.errors import AudioError, LMACError, StorageError

STDIN = "-"
CLIP_HELP = "a recording: wav, flac, ogg, opus, mp3, with ffmpeg whatever it plays; '-' reads it from stdin"
MAX_PIPED_BYTES = 1 << 30
BLOCK = 1 << 20


@contextmanager
def clip_file(argument: str) -> Iterator[Path]:
    """A recording as a file of this machine: itself, or a copy of what a pipe holds, gone afterwards.

    Args:
        argument: path, bytes that are no UTF-8 as surrogates, or `-`.

    Raises:
        AudioError: nothing comes in, or too much.
        StorageError: there is no room for a copy.
    """
    path = Path(argument)
    if argument != STDIN and not _is_pipe(path):
        yield path
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="lmaczs-", ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_room(error) from error
    with folder as name:
        # Not "stdin.wav": what it is, its bytes say.
        copy = Path(name, "stdin" if argument == STDIN else path.name)
        _copy_pipe(argument, copy)
        yield copy


def check_clips(clips: Sequence[str]) -> None:
    """Refuse to read stdin twice.

    Raises:
        LMACError: `-` is there more than once.
    """
    if clips.count(STDIN) > 1:
        raise LMACError("'-' is given twice, and stdin can be read once: give it once, or name files.")


def say_notes(clip: str, notes: Sequence[str]) -> None:
    """Tell on stderr what is missing of a recording.

    Args:
        clip: its name in messages.
        notes: of `AudioClip.notes`.
    """
    for note in notes:
        print(f"Note on '{clip}': {note}", file=sys.stderr)


def _is_pipe(path: Path) -> bool:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _copy_pipe(argument: str, copy: Path) -> None:
    try:
        if argument == STDIN:
            if sys.stdin is None or sys.stdin.closed:
                raise OSError("closed")
            _copy(sys.stdin.buffer, copy)
        else:
            with open(argument, "rb") as pipe:
                _copy(pipe, copy)
    except OSError as error:
        raise AudioError(f"Nothing can be read from '{copy.name}': name a recording.") from error


def _copy(source: BinaryIO, copy: Path) -> None:
    total = 0
    with copy.open("wb") as file:
        while block := source.read(BLOCK):
            total += len(block)
            if total > MAX_PIPED_BYTES:
                raise AudioError(f"More than 1 GB comes from '{copy.name}': cut out the part that matters.")
            try:
                file.write(block)
                file.flush()
            except OSError as error:
                raise _no_room(error) from error


def _no_room(error: OSError) -> StorageError:
    return StorageError(
        f"Temporary files cannot be written ({(error.strerror or 'no reason given').lower()}): make room, or let TMPDIR "
        "name a folder with room."
    )
