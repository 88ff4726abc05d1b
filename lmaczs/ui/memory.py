"""What the process no longer needs goes back to the system."""

import ctypes
from collections.abc import Callable
from functools import cache


def give_back() -> bool:
    """Return freed memory to the system, where the C library keeps it (glibc); a crowd leaves up to a gigabyte behind.

    Returns:
        Whether the library can do so.
    """
    trim = _trim()
    if trim is None:
        return False
    trim(0)
    return True


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    # Windows has no library of that name.
    except (OSError, TypeError):
        return None
    return found
