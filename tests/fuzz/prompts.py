"""Prompts made by chance, through every way that they take: the gate, the page, a file, the tokenizers and the model."""

import random
import unicodedata
from argparse import Namespace
from functools import lru_cache
from pathlib import Path

from lmaczs.clap import load_backend
from lmaczs.clap.prompts import clean_prompts
from lmaczs.cli.arguments import read_lines
from lmaczs.cli.explain import chosen_target
from lmaczs.errors import LMACError
from lmaczs.ui.prompts import check_prompts, split_prompts
from tests.fuzz.runner import Fault

WORDS = [
    "a dog barking",
    "rain",
    "this is the sound of a siren",
    "Сирена",
    "犬が吠える",
    "كلب ينبح",
    "ένας σκύλος",
]
ODD = [
    "\ud83d", "\udc36", "\udce9", "\0", "\x07", "\x1b[31m", "\x85", "\x1c", "\u2028", "\u200b", "\u00ad", "\u00a0",
    "\u202e", "\ufeff", "\ufffd", "\U000e0001", "\u0301" * 50, "🐕", "\t", "\n", "\r\n", " " * 300, "\x7f", "\ue000",
]  # fmt: skip
ATTACKS = [
    "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "{label}", "%s%n", "../../etc/passwd", "'; DROP TABLE x; --",
    "[PAD]", "[CLS] [SEP]", "<|endoftext|>", "</s>", "$x^2$", "a" * 1999, "a" * 2001, "rain " * 200, "", " ", "##ing",
]  # fmt: skip


def prepare() -> None:
    """See `tests.fuzz.runner`."""
    _backend().encode_text(["rain"])


def try_prompts(seed: int, number: int, folder: Path) -> None:
    """A few prompts: see `tests.fuzz.runner`."""
    chance = random.Random(f"{seed}/{number}")
    prompts: list[object] = [_prompt(chance) for _ in range(chance.choice([0, 1, 2, 3, 5, 8, 30]))]
    if chance.random() < 0.1 and prompts:
        prompts[chance.randrange(len(prompts))] = chance.choice(
            [None, 7, b"rain", ["rain"], {}, float("nan")]
        )
    if chance.random() < 0.2 and prompts and isinstance(prompts[0], str):
        prompts.append(_twin(chance, prompts[0]))
    outcomes = [_outcome(way, prompts, folder) for way in (_by_page, _by_file, _by_target, _by_model)]
    # What the model takes, no other way may have broken; what it refuses is refused with its sentence.
    if isinstance(outcomes[-1], LMACError):
        raise outcomes[-1]


def _outcome(way, prompts: list[object], folder: Path) -> LMACError | None:
    try:
        way(prompts, folder)
    except LMACError as error:
        sentence = str(error)
        if not sentence.isprintable() or str(folder) in sentence:
            raise Fault("bad sentence", ascii(sentence)[:500]) from error
        return error
    return None


def _by_model(prompts: list[object], folder: Path) -> None:
    cleaned = clean_prompts(prompts)
    backend = _backend()
    text = backend.encode_text(cleaned)
    if text.prompts != cleaned or not bool(text.embedding.isfinite().all()):
        raise Fault("changed", ascii(text.prompts)[:500])
    tokens = {prompt: tuple(backend.prompt_tokens(prompt)) for prompt in cleaned}
    if len(set(tokens.values())) < len(tokens):
        raise Fault("twins", ascii(cleaned)[:500])
    if any(unicodedata.category(letter) in ("Cc", "Cs") for prompt in cleaned for letter in prompt):
        raise Fault("control", ascii(cleaned)[:500])


def _by_page(prompts: list[object], folder: Path) -> None:
    for found in (check_prompts(prompts), split_prompts("\n".join(map(str, prompts)))):
        if len(set(found)) < len(found) or not clean_prompts(found):
            raise Fault("changed", ascii(found)[:500])


def _by_file(prompts: list[object], folder: Path) -> None:
    path = folder / "prompts.txt"
    path.write_bytes("\n".join(map(str, prompts)).encode("utf-8", "surrogatepass"))
    clean_prompts(read_lines(str(path)))


def _by_target(prompts: list[object], folder: Path) -> None:
    for prompt in prompts:
        if isinstance(prompt, str):
            chosen_target(Namespace(target=prompt, labels_file=None))


def _prompt(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.15:
        return chance.choice(ATTACKS)
    if kind < 0.3:
        return "".join(chr(chance.randrange(0x110000)) for _ in range(chance.randrange(1, 30)))
    text = " ".join(chance.sample(WORDS, chance.randrange(1, 3))) + str(chance.randrange(1000))
    if kind < 0.6:
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(ODD) + text[at:]
    return text


def _twin(chance: random.Random, prompt: str) -> str:
    twins = [
        prompt.upper(),
        prompt + " ",
        prompt.replace(" ", "\u00a0"),
        prompt + "\u200b",
        prompt.replace("a", "á"),
    ]
    return chance.choice([*twins, unicodedata.normalize("NFKD", prompt)])


@lru_cache(1)
def _backend():
    return load_backend("compact-2", "cpu")
