"""What the player is sent: pictures, sounds and numbers of one explanation."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from lmaczs.ui.cache import visitors_folder, workshop
from lmaczs.ui.handlers import Handlers
from lmaczs.ui.payload import (
    FLOOR_DB,
    LINEAR_ROWS,
    level_picture,
    linear_rows,
    mask_picture,
    track_gain,
    write_original,
    write_sound,
)
from lmaczs.ui.studio import Studio

PROMPTS = ["a beep", "rain", "a dog"]


def read_file(payload: dict) -> tuple[np.ndarray, int]:
    return soundfile.read(payload["path"])


def removed_of(handlers: Handlers, clip: str, payload: dict) -> np.ndarray:
    """What the explanation says is removed, with the gain of the page's tracks; the page has the rest of the original."""
    heard = handlers.studio.hear(clip)
    target = payload["prompts"][payload["target"]]
    result = handlers.studio.explain(heard, PROMPTS, target, payload["method"]).result
    return result.listening.removed.waveform.numpy() * track_gain(result.clip)


def first_shown(updates) -> dict:
    """The first explanation; its files are the visitors' copies."""
    return next(update.player["results"][0] for update in updates if update.player)


def test_payload_is_as_long_as_the_sound_and_its_parts_add_up(handlers: Handlers, clip: str):
    outputs = handlers.analyse(clip, "\n".join(PROMPTS))
    payload = first_shown(outputs)
    assert payload["clip"]["duration_s"] == pytest.approx(1.23, abs=1e-3)
    original, rate = read_file(payload["clip"]["original"])
    kept, removed = read_file(payload["kept"])[0], removed_of(handlers, clip, payload)
    assert rate == payload["clip"]["sample_rate"] == 16000
    assert len(original) == len(kept) == len(removed) == round(payload["clip"]["duration_s"] * rate)
    assert np.abs(kept + removed - original).max() < 1e-4
    assert np.abs(original).max() == pytest.approx(
        0.9, abs=0.1
    )  # one gain for all, here 1: nothing normalised
    spectrogram = Image.open(payload["clip"]["spectrogram"]["path"])
    mask = Image.open(payload["mask"]["path"])
    assert spectrogram.size == mask.size == (1 + len(original) // 320, 257)
    assert payload["clip"]["column_s"] == pytest.approx(0.02)
    json.dumps(payload, allow_nan=False)
    # The visitors' copy, which `sweep` deletes in the end; what it was made from goes with the request.
    assert Path(payload["mask"]["path"]).is_relative_to(visitors_folder().name)
    outputs.close()
    assert not list(Path(workshop().name).rglob("mask.png"))


def test_loud_peaks_get_one_gain_for_all_tracks(handlers: Handlers, tmp_path: Path):
    path = tmp_path / "loud.wav"
    time_s = np.arange(16000) / 16000
    soundfile.write(path, 3.0 * np.sin(2 * np.pi * 500 * time_s), 16000, subtype="FLOAT")
    for method in ("grad-cam", "lmac-any"):  # a part of the second one's mask peaks above the whole
        outputs = handlers.explain(str(path), PROMPTS, 0, [method])
        payload = first_shown(outputs)
        kept, removed = read_file(payload["kept"])[0], removed_of(handlers, str(path), payload)
        original = read_file(payload["clip"]["original"])[0]
        assert np.abs(original).max() <= 1
        assert np.abs(kept + removed - original).max() < 1e-4
        outputs.close()


def test_a_sound_has_16_bits_unless_it_would_be_cut(tmp_path: Path):
    whole, loud = np.array([0.5, -1.0], np.float32), np.array([0.5, -1.25], np.float32)
    assert [
        write_sound(tmp_path / name, samples, 16000) for name, samples in (("a", whole), ("b", loud))
    ] == [
        "a.flac",
        "b.wav",
    ]
    assert soundfile.info(tmp_path / "a.flac").subtype == "PCM_16"
    assert np.array_equal(soundfile.read(tmp_path / "b.wav")[0], loud)


def test_the_original_is_written_once(handlers: Handlers, clip: str, tmp_path: Path):
    recording = handlers.studio.hear(clip).recording.clip
    name = write_original(recording, tmp_path)
    before = (tmp_path / name).stat().st_mtime_ns
    assert write_original(recording, tmp_path) == name == "original.flac"
    assert (tmp_path / name).stat().st_mtime_ns == before


def test_pictures_put_high_frequencies_on_top_and_fixed_ends(handlers: Handlers, clip: str):
    level = level_picture(np.array([[0.0, FLOOR_DB / 2], [FLOOR_DB, FLOOR_DB - 20]], np.float32), 1)
    assert level.tolist() == [[255, 128], [0, 0]]
    mask = mask_picture(np.array([[0.0, 0.5, 1.0]], np.float32), 2)
    assert mask.tolist() == [[64, 255]]  # mean of a pair; the odd one out stands alone
    outputs = handlers.analyse(clip, "\n".join(PROMPTS))
    payload = first_shown(outputs)
    rows = np.asarray(Image.open(payload["clip"]["spectrogram"]["path"])).astype(float).mean(axis=1)
    assert len(rows) - 1 - rows.argmax() == pytest.approx(1200 / (16000 / 512), abs=1)


def test_picture_of_a_long_recording_is_reduced(studio: Studio, tmp_path: Path):
    path = tmp_path / "long.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * 8000)
    soundfile.write(path, noise, 8000)
    outputs = Handlers(studio).analyse(str(path), "\n".join(PROMPTS))
    payload = first_shown(outputs)
    width = Image.open(payload["clip"]["spectrogram"]["path"]).width
    assert width == 1501  # 3001 frames in pairs
    assert width * payload["clip"]["column_s"] == pytest.approx(60, abs=0.1)


def test_mel_cells_are_drawn_at_their_frequencies():
    hertz = np.array([100.0, 200.0, 400.0, 800.0], np.float32)
    rows = linear_rows(np.arange(4, dtype=np.float32)[:, None], hertz)[:, 0]
    assert len(rows) == LINEAR_ROWS
    assert rows[0] == 0 and rows[LINEAR_ROWS // 2] == 2 and rows[-1] == 3  # 0, 400 and 800 Hz
    linear = np.linspace(0, 8000, 5, dtype=np.float32)
    assert linear_rows(np.ones((5, 2), np.float32), linear).shape == (5, 2)
