"""Folders of one running server, held by a lock: the next server takes away what a killed one has left."""

import contextlib
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and nothing is taken away
    fcntl = None  # type: ignore[assignment]

PREFIX = "lmaczs-"
# Lies in each folder, locked while its server runs; the system lets go of it however that ends.
IN_USE = ".in-use"
_held: list[int] = []


def own_folder(above: str | None = None) -> TemporaryDirectory[str]:
    """A new folder of this process, removed when the process ends.

    Args:
        above: folder that it is made in; None is the system's for temporary files.
    """
    folder = TemporaryDirectory(prefix=PREFIX, dir=above)
    if fcntl is not None:
        # Locked before it has its name: whoever finds it there finds it locked.
        unnamed = Path(folder.name, f"{IN_USE}-new")
        handle = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.replace(unnamed, Path(folder.name, IN_USE))
        _held.append(handle)
    return folder


def sweep_abandoned(above: str | None = None) -> int:
    """Delete folders of servers that were killed; those of running ones stay, and so does what is not ours.

    Returns:
        How many were deleted.
    """
    found = 0
    for folder in Path(above or gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if not folder.is_symlink() and folder.stat().st_uid == os.getuid() and _is_abandoned(folder):
                shutil.rmtree(folder)
                found += 1
    return found


def _is_abandoned(folder: Path) -> bool:
    """Whether nobody holds the lock; a folder without one is none of ours."""
    if fcntl is None:
        return False
    handle = os.open(folder / IN_USE, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
