"""What a studio keeps of the last recordings and explanations, and for whom."""

from pathlib import Path

import numpy as np
import soundfile

from lmaczs.ui.handlers import Handlers
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio

PROMPTS = ["a beep", "rain", "a dog"]


def test_another_prompt_does_not_hear_the_recording_again(handlers: Handlers, clip: str, monkeypatch):
    heard = handlers.studio.hear(clip)
    monkeypatch.setattr("lmaczs.pipeline.open_recording", None)
    assert handlers.studio.hear(clip) == heard


def test_only_the_last_recordings_are_kept(tmp_path: Path):
    studio = Studio(Settings(backend="debug", recordings_kept=2))
    paths = []
    for seed in range(3):
        paths.append(tmp_path / f"{seed}.wav")
        soundfile.write(paths[-1], np.random.default_rng(seed).normal(0, 0.1, 8000), 16000)
    first = studio.hear(str(paths[0]))
    second = studio.hear(str(paths[1]))
    assert studio.hear(str(paths[0])) is first
    studio.hear(str(paths[2]))
    assert studio.hear(str(paths[0])) is first
    assert studio.hear(str(paths[1])) is not second


def test_explanation_is_made_once(handlers: Handlers, clip: str, monkeypatch):
    list(handlers.explain(clip, PROMPTS, 0, ["grad-cam"]))
    monkeypatch.setattr("lmaczs.pipeline.explain", None)
    archive = [update.player for update in handlers.archive(clip, PROMPTS, 0, "grad-cam") if update.player]
    assert set(archive[-1]) == {"archive"}
