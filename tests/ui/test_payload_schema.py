"""One schema of what the page is sent: Python's side of it. The scripts' side is `tsc` with the types made of it."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from jsonschema import Draft202012Validator

from lmaczs.ui.events import numbered
from lmaczs.ui.handlers import Handlers, Update
from lmaczs.ui.request_order import Request
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio
from lmaczs.ui.web_files import WEB

SCHEMA = json.loads((WEB / "payload.schema.json").read_text("utf-8"))
CHECK = Draft202012Validator(SCHEMA)
NAMES = ("scores", "player", "notice", "progress")
PROMPTS = "a beep\nrain\na dog"


@pytest.fixture(scope="module")
def full() -> Handlers:
    """Of the embedded classifier: every kind of method."""
    return Handlers(Studio(Settings()))


def sent(updates: Iterator[Update]) -> list[dict[str, Any]]:
    """Every value of the components, as it goes out, by the component's name."""
    found = []
    for values in numbered(updates, Request("session", 3), NAMES):
        for name, value in zip(NAMES, values, strict=True):
            if isinstance(value, dict) and value.get("__type__") != "update":
                CHECK.validate({name: value})
                found.append({name: copy.deepcopy(value)})
    return found


def kinds(values: list[dict[str, Any]]) -> set[str]:
    return {name for value in values for name in value}


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


def test_scores_masks_components_controls_and_progress(full: Handlers, clip: str):
    values = sent(full.analyse(clip, PROMPTS))
    assert kinds(values) >= {"scores", "player"}
    values = sent(full.explain(clip, PROMPTS.split("\n"), 0, ["l2i", "grad-cam++@10", "energy", "rise"]))
    results = [row for value in values if "player" in value for row in value["player"]["results"]]
    assert any("lanes" in row.get("lanes", {}) for row in results)
    assert any(value["player"].get("controls") for value in values if "player" in value)
    assert "progress" in kinds(values)


def test_parts_of_a_long_recording_and_scores_over_time(tmp_path: Path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(5).normal(0, 0.1, 45 * 16000), 16000, subtype="FLOAT")
    handlers = Handlers(Studio(Settings(backend="debug")))
    values = sent(handlers.explain(str(path), PROMPTS.split("\n"), 0, ["lmac-any"], "stft"))
    players = [value["player"] for value in values if "player" in value]
    assert any("parts" in row for player in players for row in player["results"])
    assert "parts" not in players[-1]["results"][0]
    values = sent(handlers.analyse(str(path), PROMPTS))
    assert any(value["player"].get("over_time") for value in values if "player" in value)


def test_refusals(full: Handlers, tmp_path: Path, clip: str):
    (tmp_path / "text.wav").write_text("no sound")
    values = sent(full.analyse(str(tmp_path / "text.wav"), PROMPTS))
    assert [
        value["notice"]["refused"] for value in values if "notice" in value and value["notice"]["message"]
    ] == ["sound"]
    values = sent(full.analyse(clip, "\ud83d"))
    assert [
        value["notice"]["refused"] for value in values if "notice" in value and value["notice"]["message"]
    ] == ["question"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("player", lambda value: value["results"][0].update(secret=1)),
        ("player", lambda value: value["results"][0].pop("verdict")),
        ("player", lambda value: value["results"][0].update(target=-1)),
        ("player", lambda value: value["results"][0]["clip"].update(duration_s=0)),
    ],
)
def test_another_form_is_noticed(full: Handlers, clip: str, name: str, change):
    values = [value[name] for value in sent(full.analyse(clip, PROMPTS)) if name in value]
    change(values[-1])
    assert list(CHECK.iter_errors({name: values[-1]}))
