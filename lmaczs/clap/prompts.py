"""The gate that every prompt comes through before a model sees it, and the plain form of a prompt.

`clean_prompts` needs no model: the page and the command line ask it at once. `checked_prompts` also asks a tokenizer.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence

from lmaczs.errors import PromptError

MAX_PROMPTS = 1000
MAX_CHARACTERS = 2000
# Nothing else ends a line: what other characters part is one prompt, and refused.
LINE_ENDS = re.compile("\r\n|\n|\r|\u2028|\u2029")
PREFIX = re.compile(
    r"^(?:(?:this|that|it|here|there) is |it's |that's )?(?:the |a |an |some )?(?:sounds?|noises?|recording|audio) of "
)
ARTICLE = re.compile(r"^(?:an?|the|some) (?=\S)")
END = " \t.!,;:…"


def plain_prompt(prompt: str) -> str:
    """What a prompt says without what decides nothing: capitals, a prefix, an article, a final full stop.

    "This is the sound of a dog." and "dog" have the same plain form. A prompt of which nothing would be left stays.

    Args:
        prompt: sentence or label.

    Returns:
        Lower case, single spaces.
    """
    plain = " ".join(unicodedata.normalize("NFKC", prompt).replace("_", " ").casefold().split())
    for pattern in (PREFIX, ARTICLE):
        plain = pattern.sub("", plain) or plain
    return plain.rstrip(END) or plain


def lines_of(text: str) -> list[str]:
    """The lines of a text as they are, empty ones too."""
    return LINE_ENDS.split(text)


def clean_prompts(
    prompts: Sequence[object],
    most: int | None = MAX_PROMPTS,
    longest: int = MAX_CHARACTERS,
    names: Sequence[str] = (),
) -> tuple[str, ...]:
    """Strip prompts and refuse those that are no text for any model.

    Args:
        prompts: as they were typed; what comes from a program may be anything.
        most: prompts; None: any number.
        longest: characters of one.
        names: how messages call each; "Prompt 1" and so on without.

    Returns:
        The prompts without space around them.

    Raises:
        PromptError: there is no prompt, or too many; or one is no text, empty, too long, or holds a control character or
            half of a character.
    """
    if not isinstance(prompts, list | tuple):
        raise PromptError("The prompts are not a list of texts: give one sentence for each.")
    if not prompts:
        raise PromptError("No prompt was given: type at least one sentence, one per line.")
    if most is not None and len(prompts) > most:
        raise PromptError(f"{len(prompts)} prompts are too many: up to {most} are accepted.")
    names = names or [f"Prompt {number}" for number in range(1, len(prompts) + 1)]
    return tuple(_clean(prompt, name, longest) for prompt, name in zip(prompts, names, strict=True))


def _clean(prompt: object, name: str, longest: int) -> str:
    if not isinstance(prompt, str):
        raise PromptError(f"{name} is no text: give a sentence.")
    # Not `strip()` alone: it would take a control character at an end away without a word.
    plain = prompt.strip(" \t\r\n")
    bad = next((letter for letter in plain if unicodedata.category(letter) in ("Cc", "Cs")), None)
    if bad is not None and "\ud800" <= bad <= "\udfff":
        raise PromptError(
            f"{name} holds U+{ord(bad):04X}, which is half of a character: type it again, in UTF-8."
        )
    if bad is not None:
        raise PromptError(
            f"{name} holds the control character U+{ord(bad):04X}: type it again without that character."
        )
    plain = plain.strip()
    if not plain:
        raise PromptError(f"{name} is empty: type a sentence or remove the line.")
    if len(plain) > longest:
        raise PromptError(f"{name} has {len(plain):,} characters: shorten it to at most {longest:,}.")
    return plain


def checked_prompts(
    prompts: Sequence[str], tokens_of: Callable[[str], Sequence[int]], max_tokens: int
) -> tuple[str, ...]:
    """Strip prompts and refuse those that a text encoder cannot read or cannot tell apart.

    A prompt that is repeated letter by letter is no twin: rows of a batch repeat prompts.

    Args:
        prompts: as they were typed, any number.
        tokens_of: the text encoder's tokens of a prompt, uncut.
        max_tokens: that it reads.

    Returns:
        The prompts without space around them.

    Raises:
        PromptError: see `clean_prompts`; or one is too long, has nothing that the encoder reads, or is the same to the
            encoder as another one.
    """
    cleaned = clean_prompts(prompts, None)
    seen: dict[tuple[int, ...], int] = {}
    for number, prompt in enumerate(cleaned, start=1):
        tokens = tuple(tokens_of(prompt))
        if not tokens:
            raise PromptError(f"Prompt {number} has no word that this model reads: type a sentence.")
        if len(tokens) > max_tokens:
            raise PromptError(
                f"Prompt {number} has {len(tokens)} tokens, and this model reads {max_tokens}: shorten it."
            )
        twin = seen.setdefault(tokens, number)
        if cleaned[twin - 1] != prompt:
            raise PromptError(
                f"Prompts {twin} and {number} are the same to this model: keep one of them, or say the difference in "
                "other words."
            )
    return cleaned
