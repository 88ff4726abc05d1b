"""Keys of methods at equal area: "grad-cam++@10" is the strongest 10 % of the cells of "grad-cam++"."""

import re

from lmaczs.errors import LMACError
from lmaczs.ui import text

KEY = re.compile(r"(?P<method>[a-z0-9+-]+)@(?P<percent>\d{1,2})")


def split_area(key: str | None) -> tuple[str | None, float | None]:
    """The method's own key, and the share of its cells that is asked for; None: the mask as it comes.

    Raises:
        LMACError: the share is no whole percentage from 1 to 99.
    """
    match = KEY.fullmatch(key or "")
    if match is None:
        return key, None
    percent = int(match["percent"])
    if percent == 0:
        raise LMACError(text.BAD_REQUEST)
    return match["method"], percent / 100
