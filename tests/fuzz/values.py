"""JSON values made by chance: what a browser, a program or a damaged file may hold where another value belongs."""

import random
from typing import Any

TEXTS = [
    "", " ", "0", "null", "\0", "\ud83d", "\x1b[31m", "<img src=x onerror=alert(1)>", "../../etc/passwd", "a" * 5000,
    "boxes:0-1@0-9e9", "boxes:nan-1@0-1", "saliency@10", "saliency@-1", "saliency@1e9", "rise", "energy", "mel", "stft",
    "__class__", "{0.__init__}", "%s%n", "=1+1", "犬が吠える",
]  # fmt: skip
NUMBERS = [
    0,
    -1,
    1,
    2,
    41,
    10**30,
    -(10**30),
    0.5,
    -0.0,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    True,
    False,
]


def any_value(chance: random.Random, depth: int = 3) -> Any:
    """A value of any kind, nested at most so deeply; now and then far deeper."""
    kind = chance.random()
    if kind < 0.1:
        return None
    if kind < 0.4:
        return chance.choice(NUMBERS)
    if kind < 0.7 or depth == 0:
        return chance.choice(TEXTS)
    if kind < 0.72:
        nested: Any = 0
        for _ in range(chance.choice([50, 900])):
            nested = [nested]
        return nested
    count = chance.choice([0, 1, 2, 5, 50])
    if kind < 0.87:
        return [any_value(chance, depth - 1) for _ in range(count)]
    return {chance.choice(TEXTS): any_value(chance, depth - 1) for _ in range(count)}


def with_odd_values(chance: random.Random, right: dict[str, Any]) -> dict[str, Any]:
    """The same with one or a few values replaced, left out or added; one in ten stays as it is."""
    found = dict(right)
    if chance.random() < 0.1:
        return found
    for name in chance.sample(sorted(found), chance.choice([1, 1, 1, 2, len(found)])):
        value = found.pop(name)
        if chance.random() < 0.15:
            continue
        # A list of which one item is odd is refused elsewhere than an odd list.
        if isinstance(value, list) and chance.random() < 0.5:
            found[name] = [*value, any_value(chance)]
        else:
            found[name] = any_value(chance)
    if chance.random() < 0.1:
        found[chance.choice(TEXTS)] = any_value(chance)
    return found
