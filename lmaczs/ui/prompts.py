"""From what a person typed to a list of prompts."""

from collections.abc import Sequence

from lmaczs.errors import PromptError

MAX_PROMPTS = 100
MAX_CHARACTERS = 300


def split_prompts(text: str | None) -> list[str]:
    """One prompt a line; blank lines and repeated prompts are passed over.

    Raises:
        PromptError: none left, too many, or one too long.
    """
    return check_prompts((text or "").splitlines())


def check_prompts(lines: Sequence[object]) -> list[str]:
    """Prompts of any origin, also values that come back from a browser and may hold anything.

    Raises:
        PromptError: not a text, none left, too many, or one too long.
    """
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
        raise PromptError("The prompts are not a list of texts: type them again, one per line.")
    prompts = list(dict.fromkeys(" ".join(str(line).split()) for line in lines))
    prompts = [prompt for prompt in prompts if prompt]
    if not prompts:
        raise PromptError("No prompt was given: type what the sound might be, one prompt per line.")
    if len(prompts) > MAX_PROMPTS:
        raise PromptError(f"{len(prompts)} prompts are too many: keep at most {MAX_PROMPTS}.")
    for number, prompt in enumerate(prompts, 1):
        if len(prompt) > MAX_CHARACTERS:
            raise PromptError(
                f"Prompt {number} has {len(prompt):,} characters: shorten it to at most {MAX_CHARACTERS}."
            )
    return prompts


def add_prompts(text: str | None, prompts: Sequence[str]) -> str:
    """Append prompts that are not there yet; what was typed stays as it was."""
    kept = (text or "").rstrip()
    there = {" ".join(line.split()) for line in kept.splitlines()}
    return "\n".join([*([kept] if kept else []), *(prompt for prompt in prompts if prompt not in there)])
