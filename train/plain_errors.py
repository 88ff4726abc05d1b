"""How a script ends where the user can mend what went wrong."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lmaczs.errors import LMACError


@contextmanager
def plain_errors() -> Iterator[None]:
    """What the user can mend is said in one sentence, with exit code 2, and without a traceback."""
    try:
        yield
    except LMACError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
