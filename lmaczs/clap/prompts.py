"""The gate that every prompt comes through before a model sees it, and the plain form of a prompt."""

import re
import unicodedata
from collections.abc import Callable, Sequence

from lmaczs.errors import PromptError

REFUSED = ("Cc", "Cs")  # control characters and surrogates: no sentence holds one
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


def checked_prompts(
    prompts: Sequence[str], tokens_of: Callable[[str], Sequence[int]], max_tokens: int
) -> tuple[str, ...]:
    """Strip prompts and refuse those that a text encoder cannot read or cannot tell apart.

    A prompt that is repeated letter by letter is no twin: rows of a batch repeat prompts.

    Args:
        prompts: as they were typed.
        tokens_of: the text encoder's tokens of a prompt, uncut.
        max_tokens: that it reads.

    Returns:
        The prompts without space around them.

    Raises:
        PromptError: there is no prompt; or one is empty, holds control characters, is too long, has nothing that the
            encoder reads, or is the same to the encoder as another one.
    """
    cleaned = tuple(prompt.strip() for prompt in prompts)
    if not cleaned:
        raise PromptError("No prompt was given: type at least one sentence, one per line.")
    seen: dict[tuple[int, ...], int] = {}
    for number, prompt in enumerate(cleaned, start=1):
        tokens = _readable(prompt, number, tokens_of, max_tokens)
        twin = seen.setdefault(tokens, number)
        if cleaned[twin - 1] != prompt:
            raise PromptError(
                f"Prompts {twin} and {number} are the same to this model: keep one of them, or say the difference in "
                "other words."
            )
    return cleaned


def _readable(
    prompt: str, number: int, tokens_of: Callable[[str], Sequence[int]], max_tokens: int
) -> tuple[int, ...]:
    """The tokens of one prompt.

    Raises:
        PromptError: see `checked_prompts`.
    """
    if not prompt:
        raise PromptError(f"Prompt {number} is empty: type a sentence or remove the line.")
    if bad := next((character for character in prompt if unicodedata.category(character) in REFUSED), None):
        raise PromptError(
            f"Prompt {number} holds the control character U+{ord(bad):04X}: type it again without that character."
        )
    tokens = tuple(tokens_of(prompt))
    if not tokens:
        raise PromptError(f"Prompt {number} has no word that this model reads: type a sentence.")
    if len(tokens) > max_tokens:
        raise PromptError(
            f"Prompt {number} has {len(tokens)} tokens, and this model reads {max_tokens}: shorten it."
        )
    return tokens
