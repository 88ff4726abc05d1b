"""What is stored with the page is what the embedded models and the evaluation say today."""

import filecmp
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmaczs.explainers import entry_of
from lmaczs.ui.build_first_paint import explain_example
from lmaczs.ui.build_test_set import SUMMARY, compact
from lmaczs.ui.examples import FIRST_PAINT, examples_folder, load_examples, load_first_paint
from lmaczs.ui.facts import page_facts
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio

ROOT = Path(__file__).parents[2]
REMAKE = "run: python -m lmaczs.ui.build_first_paint"


def test_stored_example_is_what_the_models_say_today(tmp_path: Path):
    folder = examples_folder()
    assert folder is not None
    stored, example = load_first_paint(folder), load_examples(folder)[0]
    assert stored is not None, REMAKE
    studio = Studio(Settings(backend=stored["backend"]))
    fresh = json.loads(json.dumps(explain_example(studio, example, tmp_path)))
    assert stored["example"] == example.path.name
    assert stored["player"]["methods"] == fresh["player"]["methods"], REMAKE
    assert stored["scores"]["prompts"] == fresh["scores"]["prompts"], REMAKE
    # Another processor may round differently; other weights move these by far more.
    old_scores, new_scores = stored["scores"]["similarities"], fresh["scores"]["similarities"]
    assert old_scores == pytest.approx(new_scores, abs=2e-3), REMAKE
    (old,), (new,) = stored["player"]["results"], fresh["player"]["results"]
    for key in ("clip", "prompts", "target", "method", "domain", "evidence"):
        assert old[key] == new[key], REMAKE
    assert old["probability"] == pytest.approx(new["probability"], abs=0.01), REMAKE
    home = folder / FIRST_PAINT
    masks = [np.asarray(Image.open(place / new["mask"]["file"])).astype(int) for place in (home, tmp_path)]
    assert np.abs(masks[0] - masks[1]).mean() < 1, REMAKE
    assert filecmp.cmp(home / "original.wav", tmp_path / "original.wav", shallow=False), REMAKE


def test_only_the_default_explanation_is_stored():
    """A new method, control or domain needs no new files: the page computes what somebody asks for."""
    folder = examples_folder()
    assert folder is not None
    stored = load_first_paint(folder)
    assert stored is not None, REMAKE
    (row,) = stored["player"]["results"]
    assert stored["player"]["methods"] == {"stft": {row["method"]: entry_of(row["method"]).label}}
    assert stored["player"]["controls"] == [] and stored["player"]["closed"] == {}
    files = [row["mask"], row["kept"], row["removed"], row["clip"]["original"], row["clip"]["spectrogram"]]
    home = folder / FIRST_PAINT
    there = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert there == {file["file"] for file in files} | {"payload.json"}


def test_test_set_holds_the_means_of_soft_masks_on_clean_clips():
    row = {"ff": {"mean": 0.123456, "n": 7}, "ad": {"mean": None, "n": 0}}
    expected = {"title": "set", "domains": {"mel": {"rise": {"ff": 0.1235, "n": 7}}}}
    table = {"soft": {"rise": row, "empty": {"ff": {"mean": None, "n": 0}}}}
    settings = {"conditions": {"none": {"domains": {"mel": {"forms": table}}}}}
    assert compact(settings, "set") == expected


def test_numbers_of_the_test_set_are_those_of_the_evaluation():
    stored = page_facts()["test_set"]
    summary = json.loads((ROOT / SUMMARY).read_text("utf-8"))
    assert stored == compact(summary, stored["title"]), "run: python -m lmaczs.ui.build_test_set"
