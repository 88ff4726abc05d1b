"""What the page is sent of components, without a browser: sums that are exact, and no more than it can use."""

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from bands import EDGES_HZ, METHODS, ORDER, RELEVANCE, THRESHOLD, Bands
from PIL import Image

from lmaczs.clap import load_backend
from lmaczs.explainers.gradcam import GradCAM
from lmaczs.hearing import explain_clip
from lmaczs.types import AudioClip, ExplainResult
from lmaczs.ui.component_payload import MAX_SAMPLES, POINTS, component_payload, curve, increments
from lmaczs.ui.handlers import Handlers
from lmaczs.ui.payload import clip_payload, explanation_payload
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio

COUNTED = sum(RELEVANCE[index] > THRESHOLD for index in ORDER)


@pytest.fixture(scope="module")
def result() -> ExplainResult:
    """Noise and a peak above full scale, taken apart into bands."""
    noise = np.random.default_rng(0).normal(0, 0.3, 3 * 16000).astype(np.float32)
    clip = AudioClip(torch.from_numpy(noise), 16000, "noise")
    backend = load_backend("debug")
    return explain_clip(clip, ["a beep", "rain"], backend, Bands(backend))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of one explanation."""
    (tmp_path / "0").mkdir()
    return tmp_path / "0"


def read(file: dict, folder: Path) -> np.ndarray:
    return soundfile.read(folder.parent / file["file"], dtype="int16")[0].astype(int)


def test_first_sounds_add_up_to_what_counted_to_the_last_bit(result: ExplainResult, folder: Path):
    clip = clip_payload(result, "id", folder.parent)
    whole = explanation_payload(result, clip, folder, 1.0) | component_payload(result, folder)
    sounds = [read(lane["sound"], folder) for lane in whole["lanes"]["lanes"]]
    assert len(sounds) == len(ORDER)
    assert np.abs(sum(sounds[:COUNTED]) - read(whole["kept"], folder)).max() <= 1
    gain = 1 / np.abs(result.clip.waveform.numpy()).max()
    assert gain < 1  # the same for all tracks
    exact = torch.stack([sound.waveform for sound in result.listening.components]).numpy() * gain * 32768
    for count in range(1, len(ORDER) + 1):
        assert np.abs(sum(sounds[:count]) - exact[:count].sum(0)).max() < 0.51
    rest = read(clip["original"], folder) - sum(sounds)
    assert np.abs(rest - result.listening.rest.waveform.numpy() * gain * 32768).max() < 1.51
    assert whole["lanes"]["more"] is None  # every component that counts has a lane
    json.dumps(whole, allow_nan=False)


def test_gains_lie_below_one_another_and_add_up_to_the_mask(result: ExplainResult, folder: Path):
    clip = clip_payload(result, "id", folder.parent)
    mask = explanation_payload(result, clip, folder, 1.0)["mask"]
    lanes = component_payload(result, folder)["lanes"]
    whole = np.asarray(Image.open(folder.parent / lanes["gains"]["file"])).astype(int)
    gains = whole.reshape(len(ORDER), -1, whole.shape[1])
    expected = np.asarray(Image.open(folder.parent / mask["file"])).astype(int)
    assert gains.shape[1:] == expected.shape
    assert np.abs(gains[:COUNTED].sum(0) - expected).max() <= 1
    for band, gain in zip(ORDER, gains, strict=True):  # the most relevant on top, its high frequencies on top
        rows = np.flatnonzero(gain[:, 5])
        low, high = (8000 * (1 - row / (gain.shape[0] - 1)) for row in (rows.max(), rows.min()))
        assert EDGES_HZ[band] - 1 <= low < high <= EDGES_HZ[band + 1]


def test_lanes_hold_numbers_and_short_curves(result: ExplainResult, folder: Path):
    lanes = component_payload(result, folder)["lanes"]
    assert lanes["threshold"] == THRESHOLD
    assert [lane["index"] for lane in lanes["lanes"]] == list(ORDER)
    assert [lane["relevance"] for lane in lanes["lanes"]] == pytest.approx([RELEVANCE[i] for i in ORDER])
    for lane in lanes["lanes"]:
        for values in (lane["pattern"], lane["activation"]):
            assert len(values) == POINTS and max(values) == 1 and min(values) >= 0
    high = next(lane for lane in lanes["lanes"] if lane["index"] == 3)
    assert high["pattern"][0] == 0 and high["pattern"][-1] == 1
    assert len(json.dumps(lanes)) < 10_000


def test_curve_keeps_the_peaks():
    values = np.zeros(1000, np.float32)
    values[501] = 4.0
    values[20] = 2.0
    short = curve(values)
    assert len(short) == POINTS
    assert sorted(short)[-3:] == [0, 0.5, 1]
    assert short.index(1) == pytest.approx(0.501 * POINTS, abs=1)
    assert short.index(0.5) == pytest.approx(0.02 * POINTS, abs=1)
    assert curve(np.zeros(3, np.float32)) == [0, 0, 0]


def test_rounding_never_adds_up():
    parts = np.random.default_rng(1).random((40, 500)) / 40
    whole = increments(parts, 255)
    assert np.abs(whole.cumsum(0) - 255 * parts.cumsum(0)).max() <= 0.5
    assert whole.min() >= 0


def test_more_components_that_count_than_lanes_are_one_more_sound(result: ExplainResult, folder: Path):
    explanation, listening = result.explanation, result.listening
    few = dataclasses.replace(
        result,
        explanation=dataclasses.replace(explanation, components=explanation.components[:2]),
        listening=dataclasses.replace(listening, components=listening.components[:2]),
    )
    clip = clip_payload(few, "id", folder.parent)
    whole = explanation_payload(few, clip, folder, 1.0) | component_payload(few, folder)
    assert len(whole["lanes"]["lanes"]) == 2
    sounds = [read(lane["sound"], folder) for lane in whole["lanes"]["lanes"]]
    more = read(whole["lanes"]["more"], folder)
    assert np.abs(sum(sounds) + more - read(whole["kept"], folder)).max() <= 1
    assert np.std(more) > 100
    gains = np.asarray(Image.open(folder.parent / whole["lanes"]["gains"]["file"])).astype(int)
    mask = np.asarray(Image.open(folder.parent / whole["mask"]["file"])).astype(int)
    assert np.abs(gains.reshape(3, *mask.shape).sum(0) - mask).max() <= 1


def test_nothing_is_sent_without_components_and_for_long_recordings(result: ExplainResult, folder: Path):
    backend = load_backend("debug")
    plain = explain_clip(result.clip, ["a beep", "rain"], backend, GradCAM(backend), measure=False)
    assert component_payload(plain, folder) == {}
    seconds = MAX_SAMPLES // len(ORDER) // 16000
    long = AudioClip(torch.zeros(16000 * (seconds + 1)), 16000, "long")
    assert component_payload(dataclasses.replace(result, clip=long), folder) == {"lanes": {"most_s": seconds}}
    assert not list(folder.iterdir())


def test_handlers_send_components_and_pack_them(
    result: ExplainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for home in ("lmaczs.explainers.METHODS", "lmaczs.ui.engine.METHODS"):
        monkeypatch.setattr(home, METHODS)
    handlers = Handlers(Studio(Settings(backend="debug")))
    path = str(tmp_path / "noise.wav")
    soundfile.write(path, result.clip.waveform.numpy(), 16000, subtype="FLOAT")
    for update in handlers.explain(path, ["a beep", "rain"], 0, ["l2i", "grad-cam"]):
        if update.player and len(update.player["results"]) == 2:
            ours, other = update.player["results"]
            assert "lanes" not in other
            for lane in ours["lanes"]["lanes"]:
                assert soundfile.info(lane["sound"]["path"]).frames == result.clip.waveform.shape[0]
            assert Image.open(ours["lanes"]["gains"]["path"]).height == 257 * len(ORDER)
            break
    else:
        pytest.fail("no answer with both methods")
    for update in handlers.archive(path, ["a beep", "rain"], 0, "l2i"):
        if update.player:
            with zipfile.ZipFile(update.player["archive"]["path"]) as archive:
                names = set(archive.namelist())
    parts = {f"component-{rank:02d}.wav" for rank in range(1, len(ORDER) + 1)}
    assert names >= parts | {"rest.wav", "original.wav", "kept.wav", "result.json"}
