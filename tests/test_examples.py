"""The example sounds: what the files hold, that the script makes them again, that CLAP hears their parts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import make_examples
import sounds
from lmaczs import load_backend, load_clip
from lmaczs.hearing import classify, listen
from make_examples import RECIPES, Recipe, make_example, to_pcm16

EXAMPLES = Path(make_examples.EXAMPLES)
ROWS = json.loads((EXAMPLES / "examples.json").read_text("utf-8"))
SPEAKING = [recipe for recipe in RECIPES if any(part.sound.startswith("speech") for part in recipe.parts)]
SILENT = [recipe for recipe in RECIPES if recipe not in SPEAKING]


def name_of(recipe: Recipe) -> str:
    return recipe.name


def test_every_recipe_is_listed_with_all_its_fields():
    assert [row["file"] for row in ROWS] == [f"{recipe.name}.wav" for recipe in RECIPES]
    for row, recipe in zip(ROWS, RECIPES, strict=True):
        assert set(row) == {"file", "title", "prompts", "origin", "licence"}
        assert row["prompts"] == list(recipe.prompts)
        assert 4 <= len(set(row["prompts"])) == len(row["prompts"]) <= 6
        assert len(recipe.parts) < len(recipe.prompts)
        assert all(row.values())


@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_file_is_short_mono_16_khz_pcm16_and_not_clipped(recipe):
    info = soundfile.info(EXAMPLES / f"{recipe.name}.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    assert info.frames == round(recipe.duration_s * 16000)
    samples, _ = soundfile.read(EXAMPLES / f"{recipe.name}.wav")
    assert 0.05 < np.abs(samples).max() <= 0.901


def test_examples_stay_small_and_one_is_longer_than_a_window():
    assert sum(path.stat().st_size for path in EXAMPLES.glob("*.wav")) < 2_500_000
    assert [recipe.name for recipe in RECIPES if recipe.duration_s > 5.0] == ["rainy-street"]


def assert_same_file(recipe: Recipe) -> None:
    shipped, _ = soundfile.read(EXAMPLES / f"{recipe.name}.wav", dtype="int16")
    assert np.array_equal(to_pcm16(make_example(recipe)[0]), shipped)


@pytest.mark.parametrize("recipe", SILENT, ids=name_of)
def test_script_makes_the_shipped_file_bit_for_bit(recipe):
    assert_same_file(recipe)


@pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng, which speaks in these, is not installed"
)
@pytest.mark.parametrize("recipe", SPEAKING, ids=name_of)
def test_script_makes_the_shipped_speech_again(recipe):
    shipped, _ = soundfile.read(EXAMPLES / f"{recipe.name}.wav")
    again = make_example(recipe)[0]
    # Another release of espeak-ng may place a phoneme a little differently; level and duration stay.
    assert len(again) == len(shipped)
    assert 20 * np.log10(np.std(again) / np.std(shipped)) == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize("recipe", SILENT, ids=name_of)
def test_parts_add_up_to_the_mixture_but_for_the_noise_floor(recipe):
    mixture, parts = make_example(recipe)
    rest = mixture - sum(parts)
    assert len(parts) == len(recipe.parts)
    assert 20 * np.log10(np.sqrt(np.mean(rest**2))) <= make_examples.FLOOR_DB + 0.1


@pytest.mark.parametrize("name", make_examples.SOUNDS)
def test_sound_depends_on_its_generator_only(name):
    make = make_examples.SOUNDS[name]
    first, again, other = (make(1.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (16000,)
    assert np.isfinite(first).all()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_struck_mode_falls_by_60_db_in_its_decay_time():
    ring = sounds.struck([(1000.0, 1.0, 0.5)], 1.0, np.random.default_rng(0))
    early, late = ring[1600:1760], ring[1600 + 8000 : 1760 + 8000]  # ten periods, half a second apart
    assert 20 * np.log10(np.std(early) / np.std(late)) == pytest.approx(60.0, abs=0.1)


def test_overtones_stay_below_half_the_sample_rate():
    phase = 3000.0 * sounds.seconds_axis(1.0)
    assert np.allclose(sounds.harmonics(phase, [0.0, 0.0, 1.0]), 0.0)  # 9 kHz would fold down to 7 kHz
    assert np.std(sounds.harmonics(phase, [0.0, 1.0])) == pytest.approx(np.sqrt(0.5), rel=1e-3)


def test_clap_hears_what_is_in_the_examples():
    backend = load_backend("compact-2", "cpu")
    wrong = {}
    for recipe in RECIPES:
        recording = listen(load_clip(EXAMPLES / f"{recipe.name}.wav"), backend)
        chosen = classify(recording, recipe.prompts, backend).predicted
        if chosen >= len(recipe.parts):
            wrong[recipe.name] = recipe.prompts[chosen]
    assert not wrong
