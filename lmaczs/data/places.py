"""Files wherever fsspec reaches: folders of this machine, s3://, gs://, https://, hf:// and others, by one URL."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lmaczs.data.clips import Clip
from lmaczs.errors import DISK_FAULTS, AudioError, LMACError
from lmaczs.signal.scratch import scratch_folder

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

LONGEST_NAME = 120  # characters of a copy's file name; file systems stop at 255 bytes


def open_place(url: str) -> "tuple[AbstractFileSystem, str]":
    """File system and path of a URL, or of a path of this machine, which becomes absolute.

    What exists here is a path, whatever its name looks like.

    Raises:
        LMACError: fsspec knows no such kind of place, or needs a package that is not installed.
    """
    import fsspec

    try:
        here = os.path.lexists(url)
        if "://" in url and not here:
            place: tuple[AbstractFileSystem, str] = fsspec.core.url_to_fs(url)
            return place
        # Not `url_to_fs`: it takes "::" in a file's name as a chain of URLs.
        return fsspec.filesystem("file"), os.path.abspath(url if here else os.path.expanduser(url))
    except ImportError as error:
        protocol = url.partition("://")[0]
        raise LMACError(f"'{protocol}://' cannot be used here ({error}): install that package.") from error
    except (ValueError, OSError) as error:
        raise LMACError(
            f"'{shown(url)}' names no place that can be opened: give a path, or a URL that fsspec knows, such as "
            "s3://bucket/folder."
        ) from error


def shown(url: str) -> str:
    """Last part of a place, for messages."""
    return plain_text(url.rstrip("/").rpartition("/")[2] or url)


def plain_text(name: str) -> str:
    """A name that can be stored as UTF-8: bytes that are none are written out, so that two names stay two."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def is_local(file_system: "AbstractFileSystem") -> bool:
    """Whether paths of a file system are paths of this machine."""
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(file_system, LocalFileSystem)


@contextmanager
def local_copy(clip: Clip) -> Iterator[Path]:
    """A clip's recording as a file of this machine: itself, or a copy that is gone afterwards.

    Raises:
        AudioError: it cannot be fetched.
        StorageError: there is no room for a copy.
    """
    file_system, path = open_place(clip.url)
    if is_local(file_system) and not clip.size:
        yield Path(path)
        return
    with scratch_folder() as folder:
        copy = folder / safe_name(clip.path)
        try:
            if clip.size:
                copy.write_bytes(file_system.cat_file(path, clip.offset, clip.offset + clip.size))
            else:
                file_system.get_file(path, str(copy))
        except Exception as error:  # every file system has errors of its own
            if isinstance(error, OSError) and error.errno in DISK_FAULTS:
                raise
            raise AudioError(
                f"'{shown(clip.path)}' cannot be fetched ({type(error).__name__}): check that it exists and that you "
                "may read it."
            ) from error
        yield copy


def content_sha256(clip: Clip) -> str | None:
    """SHA-256 of the bytes of a recording or shard, wherever it lies; None where it cannot be read."""
    try:
        file_system, path = open_place(clip.url)
        if is_local(file_system) and not os.path.isfile(path):  # a pipe may never end
            return None
        with file_system.open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except Exception:  # every file system has errors of its own
        return None


def safe_name(path: str) -> str:
    """A file name for a copy: the last part of a path, never a way out of the folder, not too long."""
    name = plain_text(os.path.basename(path.rstrip("/")).replace("\0", ""))[-LONGEST_NAME:]
    while len(name.encode()) > 2 * LONGEST_NAME:
        name = name[1:]
    return "recording" if name in ("", ".", "..") else name
