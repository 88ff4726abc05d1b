"""What is stored with the page is what the embedded models and the evaluation say today."""

import filecmp
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmaczs.ui.build_first_paint import explain_example
from lmaczs.ui.build_test_set import SUMMARY, compact
from lmaczs.ui.controls import CONTROLS
from lmaczs.ui.examples import FIRST_PAINT, examples_folder, load_examples, load_first_paint
from lmaczs.ui.facts import page_facts
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio

ROOT = Path(__file__).parents[2]
REMAKE = "run: python -m lmaczs.ui.build_first_paint"
QUICK_S = 1.0  # slower methods are not run again


def test_stored_example_is_what_the_models_say_today(tmp_path: Path):
    folder = examples_folder()
    assert folder is not None
    stored, example = load_first_paint(folder), load_examples(folder)[0]
    assert stored is not None, REMAKE
    results = stored["player"]["results"]
    # The seconds are those of the machine that stored them, so these two are made again however long they took there.
    again = [
        row["method"]
        for row in results
        if row["seconds"] < QUICK_S or row["method"] in ("lmac-zs", "grad-cam++")
    ]
    studio = Studio(Settings(backend=stored["backend"]))
    fresh = json.loads(json.dumps(explain_example(studio, example, tmp_path, [*again, *CONTROLS])))
    assert stored["example"] == example.path.name
    assert stored["player"]["methods"] == fresh["player"]["methods"], REMAKE
    assert stored["player"]["closed"] == fresh["player"]["closed"], REMAKE
    target, closed = results[0]["prompts"][results[0]["target"]], stored["player"]["closed"]
    able = [name for name in fresh["player"]["methods"]["stft"] if target in closed.get(name, [target])]
    assert [row["method"] for row in results] == able, REMAKE
    assert stored["scores"]["prompts"] == fresh["scores"]["prompts"], REMAKE
    # Another processor may round differently; other weights move these by far more.
    assert stored["scores"]["similarities"] == pytest.approx(fresh["scores"]["similarities"], abs=2e-3), (
        REMAKE
    )
    old_rows = {row["method"]: row for row in (*results, *stored["player"]["controls"])}
    for new in (*fresh["player"]["results"], *fresh["player"]["controls"]):
        old = old_rows[new["method"]]
        for key in ("clip", "prompts", "target", "domain"):
            assert old[key] == new[key], REMAKE
        assert old["probability"] == pytest.approx(new["probability"], abs=0.01), REMAKE
        assert relevances(old) == pytest.approx(relevances(new), abs=0.02), REMAKE
        if "mask" in new:
            masks = [
                np.asarray(Image.open(place / new["mask"]["file"])).astype(int)
                for place in (folder / FIRST_PAINT, tmp_path)
            ]
            assert np.abs(masks[0] - masks[1]).mean() < 1, REMAKE
    assert filecmp.cmp(folder / FIRST_PAINT / "original.wav", tmp_path / "original.wav", shallow=False), (
        REMAKE
    )


def relevances(row: dict) -> list[float]:
    return [lane["relevance"] for lane in row.get("lanes", {"lanes": []})["lanes"]]


def test_every_stored_file_is_there_and_none_is_left_over():
    folder = examples_folder()
    assert folder is not None
    stored = load_first_paint(folder)
    assert stored is not None, REMAKE
    named = {file["file"] for row in stored["player"]["results"] for file in _files(row)}
    there = {
        path.relative_to(folder / FIRST_PAINT).as_posix() for path in (folder / FIRST_PAINT).rglob("*.*")
    }
    assert there == named | {"payload.json"}


def _files(row: dict) -> list[dict]:
    lanes = row.get("lanes", {"lanes": []})
    parts = [lane["sound"] for lane in lanes["lanes"]] + [
        lanes[key] for key in ("gains", "more") if lanes.get(key)
    ]
    return [
        *parts,
        row["mask"],
        row["kept"],
        row["removed"],
        row["clip"]["original"],
        row["clip"]["spectrogram"],
    ]


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
