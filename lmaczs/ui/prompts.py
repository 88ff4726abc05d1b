"""From what a person typed to a list of prompts."""

import re
from collections.abc import Sequence

from lmaczs.clap.prompts import clean_prompts, lines_of
from lmaczs.errors import PromptError

# Space of any kind, but for control characters, which the gate refuses.
SPACES = re.compile(r"[^\S\x0b\x0c\x1c-\x1f\x85]+")
MAX_PROMPTS = 100
MAX_CHARACTERS = 300


def split_prompts(text: str | None, labels: Sequence[str] | None = None) -> list[str]:
    """One prompt a line; blank lines and repeated prompts are passed over.

    Args:
        text: as it was typed.
        labels: see `check_prompts`.

    Raises:
        PromptError: see `check_prompts`.
    """
    return check_prompts(lines_of(text or ""), labels)


def check_prompts(lines: Sequence[object], labels: Sequence[str] | None = None) -> list[str]:
    """Prompts of any origin, also values that come back from a browser and may hold anything.

    Args:
        lines: one prompt each.
        labels: of a classifier that takes no others; all of them may be asked for.

    Raises:
        PromptError: see `lmaczs.clap.prompts.clean_prompts`; none left, too many, or one too long for the page.
    """
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
        raise PromptError("The prompts are not a list of texts: type them again, one per line.")
    plain = dict.fromkeys(SPACES.sub(" ", str(line)).strip(" ") for line in lines)
    prompts = [prompt for prompt in plain if prompt.strip()]
    if not prompts:
        raise PromptError("No prompt was given: type what the sound might be, one prompt per line.")
    most = max(MAX_PROMPTS, len(labels or ()))
    return list(dict.fromkeys(clean_prompts(prompts, most, MAX_CHARACTERS)))


def add_prompts(text: str | None, prompts: Sequence[str]) -> str:
    """Append prompts that are not there yet; what was typed stays as it was."""
    kept = (text or "").rstrip()
    there = {SPACES.sub(" ", line).strip(" ") for line in lines_of(kept)}
    return "\n".join([*([kept] if kept else []), *(prompt for prompt in prompts if prompt not in there)])
