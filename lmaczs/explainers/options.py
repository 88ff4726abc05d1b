"""Checks of the numbers that a method's options take."""

import math

from lmaczs.errors import LMACError


def check_whole(name: str, value: object, least: int = 1, most: float = math.inf) -> int:
    """An option that counts something.

    Raises:
        LMACError: it is no whole number, or out of range; names the option, its value and what is accepted.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        accepted = f"{least} or more" if math.isinf(most) else f"{least} to {most:g}"
        raise LMACError(f"The option {name} is {value}: choose a whole number, {accepted}.")
    return value


def check_number(name: str, value: object, least: float, most: float = math.inf) -> float:
    """An option that measures something.

    Raises:
        LMACError: it is no number, or out of range; names the option, its value and what is accepted.
    """
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not least <= value <= most
        or math.isinf(value)
    ):
        accepted = f"{least:g} or more" if math.isinf(most) else f"{least:g} to {most:g}"
        raise LMACError(f"The option {name} is {value}: choose a number, {accepted}.")
    return float(value)
