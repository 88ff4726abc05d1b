"""Temporary files, whose faults are never the recording's."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmaczs.errors import StorageError


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for copies, gone afterwards.

    Raises:
        StorageError: it cannot be made, or something inside raised OSError, for example because the disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="lmaczs-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        raise StorageError(
            f"Temporary files cannot be written ({(error.strerror or type(error).__name__).lower()}): make room, or "
            "let TMPDIR name a folder with room."
        ) from error
