"""The page with a model that embeds frames: their scores are a line under the picture, also of a short sound."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from page_server import running_page
from small_pe_audio import save_pe_audio
from visit import Visit

import lmaczs
from lmaczs.hearing import classify_over_time, listen, listen_over_time
from lmaczs.ui.examples import examples_folder

PROMPTS = ("a siren", "rain", "a dog")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny Perception Encoder of the frame-level form."""
    return save_pe_audio(tmp_path_factory.mktemp("pe") / "pe-a-frame-tiny", "PeAudioFrameLevelModel")


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    """A page that was started with LMACZS_BACKEND=hf:FOLDER; overrides the page that the other tests share."""
    environment = {"LMACZS_BACKEND": f"hf:{folder}"}
    with running_page(tmp_path_factory.mktemp("server"), environment=environment) as url:
        yield url


def test_frames_are_a_line_under_a_short_sound(visit: Visit, server: str, folder: Path, tmp_path: Path):
    sound, rate = soundfile.read(examples_folder() / "siren-and-engine.wav")
    path = tmp_path / "two-seconds.wav"
    soundfile.write(path, sound[: 2 * rate], rate)
    visit.ask(path, *PROMPTS)
    visit.ready()
    page = visit.page
    assert page.locator("#lz-model-name").inner_text() == "pe-a-frame-tiny"
    page.locator(".lz-strip").wait_for()
    assert page.locator(".lz-strip polyline").count() == len(PROMPTS)
    backend = lmaczs.load_backend(f"hf:{folder}")
    heard = listen_over_time(listen(lmaczs.load_clip(path), backend), backend)
    expected = classify_over_time(heard, PROMPTS, backend)
    shown = visit.state()["prompt"]
    own = page.locator(".lz-strip-own")
    points = np.array(
        [[float(value) for value in pair.split(",")] for pair in own.get_attribute("points").split()]
    )
    assert len(points) == 50 and own.get_attribute("data-prompt") == shown
    assert points[:, 0] / 1000 * 2 == pytest.approx(heard.times.numpy(), abs=0.01)
    column = expected[:, PROMPTS.index(shown)].numpy()
    assert 1 - (points[:, 1] - 3) / 54 == pytest.approx(column, abs=5e-3)
    visit.picture("frames")
