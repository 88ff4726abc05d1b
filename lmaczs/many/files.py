"""Files wherever fsspec reaches: folders of this machine, s3://, gs://, https://, hf:// and others, by one URL."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lmaczs.errors import AudioError, LMACError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

LONGEST_NAME = 120  # characters of a copy's file name; file systems stop at 255 bytes


def open_place(url: str) -> "tuple[AbstractFileSystem, str]":
    """File system and path of a URL, or of a path of this machine.

    Raises:
        LMACError: fsspec knows no such kind of place, or needs a package that is not installed.
    """
    try:
        import fsspec
    except ImportError:
        raise missing_extra("fsspec") from None
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        protocol = url.partition("://")[0]
        raise LMACError(f"'{protocol}://' cannot be used here ({error}): install that package.") from error
    except (ValueError, OSError) as error:
        raise LMACError(
            f"'{shown(url)}' names no place that can be opened: give a path, or a URL that fsspec knows, such as "
            "s3://bucket/folder."
        ) from error


def missing_extra(package: str) -> LMACError:
    """What to install where a package of the optional extra is missing."""
    return LMACError(f"explain-many needs the package '{package}': install lmaczs with the extra 'many'.")


def shown(url: str) -> str:
    """Last part of a place, for messages."""
    return plain_text(url.rstrip("/").rpartition("/")[2] or url)


def plain_text(name: str) -> str:
    """A name that can be stored as UTF-8: bytes that are none become question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def is_local(file_system: "AbstractFileSystem") -> bool:
    """Whether paths of a file system are paths of this machine."""
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(file_system, LocalFileSystem)


@contextmanager
def local_file(url: str) -> Iterator[Path]:
    """A file as a path of this machine: itself, or a copy that is gone afterwards.

    Raises:
        AudioError: it cannot be fetched.
    """
    file_system, path = open_place(url)
    if is_local(file_system):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="lmaczs-") as folder:
        copy = Path(folder) / safe_name(path)
        try:
            file_system.get_file(path, str(copy))
        except Exception as error:  # every file system has errors of its own
            raise AudioError(
                f"'{shown(path)}' cannot be fetched ({type(error).__name__}): check that it exists and that you may "
                "read it."
            ) from error
        yield copy


@contextmanager
def local_bytes(name: str, data: bytes) -> Iterator[Path]:
    """A file of this machine with the given content, gone afterwards; readers that need a path take it."""
    with tempfile.TemporaryDirectory(prefix="lmaczs-") as folder:
        copy = Path(folder) / safe_name(name)
        copy.write_bytes(data)
        yield copy


def safe_name(path: str) -> str:
    """A file name for a copy: the last part of a path, never a way out of the folder, not too long."""
    name = plain_text(os.path.basename(path.rstrip("/")).replace("\0", ""))[-LONGEST_NAME:]
    while len(name.encode()) > 2 * LONGEST_NAME:
        name = name[1:]
    return "recording" if name in ("", ".", "..") else name
