"""What a browser or a program may send to the page, made by chance, through every handler that answers it."""

import json
import random
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import soundfile

from lmaczs.errors import LMACError
from lmaczs.ui.call_check import fault_of
from lmaczs.ui.endpoints import Endpoints
from lmaczs.ui.events import Actions
from lmaczs.ui.handlers import Handlers
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio
from tests.fuzz.runner import Fault
from tests.fuzz.values import any_value, with_odd_values

RIGHT = {
    "prompts": ["a beep", "rain falling"],
    "target": 0,
    "methods": ["saliency"],
    "method": "saliency",
    "domain": "stft",
    "turn": 1.0,
    "at": 0.0,
    "also": [1],
}
NAMES = ("scores", "player", "notice", "progress")
VISITOR = SimpleNamespace(session_hash="visitor")


def prepare() -> None:
    """See `tests.fuzz.runner`."""
    _handlers().studio.backend_name  # noqa: B018  # reads the classifier


def try_payload(seed: int, number: int, folder: Path) -> None:
    """One message: see `tests.fuzz.runner`."""
    chance = random.Random(f"{seed}/{number}")
    path = folder / "sound.wav"
    soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, 16000), 16000)
    sound = str(path) if chance.random() < 0.9 else None
    way = chance.choice([_explain, _archive, _report, _analyse, _program, _check])
    refused = way(chance, sound, with_odd_values(chance, RIGHT))
    if refused is not None:
        if not refused.isprintable() or str(folder) in refused or len(refused) > 1000:
            raise Fault("bad sentence", ascii(refused)[:500])
        raise LMACError(refused)


def _explain(chance: random.Random, sound: str | None, sent: dict[str, Any]) -> str | None:
    return _answered(_actions().ask(sound, gr.EventData(None, sent), VISITOR))


def _archive(chance: random.Random, sound: str | None, sent: dict[str, Any]) -> str | None:
    return _answered(_actions().archive(sound, gr.EventData(None, sent), VISITOR))


def _report(chance: random.Random, sound: str | None, sent: dict[str, Any]) -> str | None:
    return _answered(_actions().report(sound, gr.EventData(None, sent), VISITOR))


def _analyse(chance: random.Random, sound: str | None, sent: dict[str, Any]) -> str | None:
    # Gradio's field sends text.
    return _answered(_actions().analyse(sound, str(sent.get("prompts")), sent.get("turn"), VISITOR))


def _program(chance: random.Random, sound: str | None, sent: dict[str, Any]) -> str | None:
    audio: Any = {"path": sound, "meta": {"_type": "gradio.FileData"}} if sound else any_value(chance)
    endpoints = Endpoints(_handlers().studio)
    values = [sent.get(name) for name in ("prompts", "target", "method", "domain")]
    # A program names its target.
    values[1] = "rain falling" if values[1] == 0 else values[1]
    try:
        if chance.random() < 0.5:
            _sendable(endpoints.classify(audio, values[0]))
        else:
            _sendable(next(endpoints.explain(audio, *values))[0])
    except gr.Error as error:
        return str(error.message)
    return None


def _check(chance: random.Random, sound: str | None, sent: dict[str, Any]) -> str | None:
    audio = {"path": sound, "meta": {"_type": "gradio.FileData"}}
    data = chance.choice([[audio, *sent.values()], any_value(chance), [any_value(chance), *sent.values()]])
    return fault_of(data)


def _answered(answers: Iterator[tuple[Any, ...]]) -> str | None:
    """Read all answers; the sentence with which it was refused, if it was."""
    refused = None
    for values in answers:
        for value in values:
            _sendable(value)
        notice = values[NAMES.index("notice")]
        if notice.get("refused"):
            refused = notice["message"]
    return refused


def _sendable(value: Any) -> None:
    """Browsers read no NaN."""
    try:
        json.dumps(value, allow_nan=False, default=str)
    except ValueError as error:
        raise Fault("not JSON", repr(value)[:500]) from error


@lru_cache(1)
def _actions() -> Actions:
    """The page's, with one classifier for everybody."""
    return Actions(SimpleNamespace(of=lambda asked: _handlers()), NAMES)


@lru_cache(1)
def _handlers() -> Handlers:
    return Handlers(Studio(Settings(backend="debug", device="cpu")))
