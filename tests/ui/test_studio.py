"""What a studio keeps of the last recordings and explanations, and for whom."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lmaczs.results import result_row
from lmaczs.ui.handlers import Handlers
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio

PROMPTS = ["a beep", "rain", "a dog"]


def test_another_prompt_does_not_hear_the_recording_again(
    studio: Studio, clip: str, monkeypatch: pytest.MonkeyPatch
):
    first = studio.hear(clip)
    monkeypatch.setattr(studio.engine, "listen", None)
    again = studio.hear(clip)
    assert again.id == first.id and again.recording.embedding is first.recording.embedding


def test_only_the_last_recordings_are_kept(tmp_path: Path):
    studio = Studio(Settings(backend="debug", recordings_kept=2))
    paths = [tmp_path / f"{seed}.wav" for seed in range(3)]
    for seed, path in enumerate(paths):
        soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 8000), 16000)

    def embedding(number: int):
        return studio.hear(str(paths[number])).recording.embedding

    first, second = embedding(0), embedding(1)
    assert embedding(0) is first
    embedding(2)
    assert embedding(0) is first
    assert embedding(1) is not second


def test_explanation_is_made_once(handlers: Handlers, clip: str, monkeypatch: pytest.MonkeyPatch):
    list(handlers.explain(clip, PROMPTS, 0, ["grad-cam"]))
    monkeypatch.setattr(handlers.studio.engine, "explain", None)
    monkeypatch.setattr(handlers.studio.engine, "measure", None)
    archive = [update.player for update in handlers.archive(clip, PROMPTS, 0, "grad-cam") if update.player]
    assert set(archive[-1]) == {"archive"}


def test_a_visitor_never_reads_the_file_name_of_another(
    handlers: Handlers, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The same sound is heard and explained once for both, under the name that each of them gave it."""
    studio, own = handlers.studio, tmp_path / "my own.wav"
    shutil.copy(clip, own)
    first = studio.explain(studio.hear(clip), PROMPTS, PROMPTS[0], "grad-cam")
    shares = studio.measure(studio.hear(clip), first)
    assert "burst" in first.result.clip.name
    for call in ("listen", "explain", "measure"):
        monkeypatch.setattr(studio.engine, call, None)
    heard = studio.hear(str(own))
    found = studio.explain(heard, PROMPTS, PROMPTS[0], "grad-cam")
    assert studio.measure(heard, found) == shares and found.result.metrics == first.result.metrics
    names = [
        clip.name for clip in (found.result.clip, found.result.listening.kept, found.result.listening.removed)
    ]
    assert names == ["my own", "my own-kept", "my own-removed"]
    assert "burst" not in json.dumps(result_row(found.result, "debug"))
    updates = list(handlers.explain(str(own), PROMPTS, 0, ["grad-cam"]))
    sent = json.dumps([update.player for update in updates if update.player])
    assert '"name": "my own"' in sent and "burst" not in sent
    for update in handlers.archive(str(own), PROMPTS, 0, "grad-cam"):
        if update.player:
            with zipfile.ZipFile(update.player["archive"]["path"]) as archive:
                assert json.loads(archive.read("result.json"))["clip"] == "my own"
    # And the first visitor still reads the first name.
    assert "burst" in studio.explain(studio.hear(clip), PROMPTS, PROMPTS[0], "grad-cam").result.clip.name
