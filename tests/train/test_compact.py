"""The recipe of the second compact CLAP runs on generated sounds, resumes, and keeps to what it may be trained on."""

import csv
import sys
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from safetensors.torch import save_file

from lmaczs.clap.compact2 import Compact2CLAP, Compact2Config
from lmaczs.clap.compact2_release import load_compact2
from lmaczs.clap.debug import HashedSentences
from lmaczs.clap.mobilenet import MobileNet
from lmaczs.errors import DatasetError, LMACError
from train import train_compact
from train.compact_data import add_white, training_rows, vary, white_bands
from train.compact_network import ClassShift, blend
from train.compact_objective import divergence
from train.compact_recipe import read_recipe
from train.compact_texts import class_phrases, measured_wordings

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "clap"))

from published_mobilenet import published_state  # noqa: E402

RECIPE = ROOT / "train" / "recipes" / "compact-clap.yaml"
COLUMNS = (
    "path",
    "dataset",
    "fold",
    "label",
    "concept",
    "captions",
    "licence",
    "source",
    "split",
    "open",
    "overlap",
)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Eight tones of a second: four to train on, two of a development fold, one that is not open, one that overlaps."""
    folder = tmp_path_factory.mktemp("collection")
    rows = []
    for number in range(8):
        time = torch.arange(16000) / 16000
        wave = 0.3 * torch.sin(2 * torch.pi * 200 * (1 + number) * time)
        soundfile.write(folder / f"{number}.wav", wave.numpy(), 16000)
        concept = ("low hum", "high whistle")[number % 2]
        dataset, fold, split = ("esc50", "4", "test") if number in (4, 5) else ("tones", "", "train")
        rows.append(
            (
                f"{number}.wav",
                dataset,
                fold,
                concept if fold else "",
                concept,
                f"a {concept}|some {concept}",
                "CC0",
                "a/b",
            )
            + (split, "no" if number == 6 else "yes", "x" if number == 7 else "")
        )
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return folder / "clips.csv"


@pytest.fixture(scope="module")
def short_recipe(tmp_path_factory):
    """The shipped recipe with a few steps, and one phrase for each class."""
    folder = tmp_path_factory.mktemp("recipe")
    with (folder / "phrases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "name", "phrases"])
        writer.writerows(
            (number, f"class {number}", f"sound {number}|noise {number}") for number in range(527)
        )
    (folder / "wordings.csv").write_text("label,first\nlow hum,a low hum\n")
    few = {"views": 1, "head_steps": 2, "head_batch": 4, "tune_steps": 2, "tune_batch": 2, "save_every": 1}
    values = yaml.safe_load(RECIPE.read_text()) | few | {"phrases": "phrases.csv", "wordings": "wordings.csv"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    return folder / "recipe.yaml"


@pytest.fixture
def arguments(collection, short_recipe, tmp_path, monkeypatch):
    """Flags of a run with a random network in the place of the published one."""
    start = tmp_path / "start"
    start.mkdir()
    save_file(published_state(), start / train_compact.START_FILE)
    (start / "LICENSE").write_text("notice\n")
    monkeypatch.setattr(train_compact, "MiniLM", HashedSentences)
    flags = [
        "--recipe",
        short_recipe,
        "--clips",
        collection,
        "--start-weights",
        start,
        "--run",
        tmp_path / "run",
    ]
    return train_compact.parser().parse_args([str(flag) for flag in flags])


def test_the_recipe_runs_resumes_and_its_release_says_what_it_was_trained_on(arguments):
    train_compact.main(arguments)
    folder = arguments.run / "compact-clap-2"
    first = load_compact2(folder, HashedSentences())
    card = (folder / "README.md").read_text()
    assert "| tones | 4 | CC0 | a/b |" in card and "ESC-50" in card
    assert (folder / "START-WEIGHTS-LICENSE").read_text() == "notice\n"
    assert first.match_limits is not None and first.match_limits[0] <= first.match_limits[1]
    train_compact.main(arguments)  # everything is done: it joins and writes the same again
    again = load_compact2(folder, HashedSentences()).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.state_dict().items())


def test_only_open_training_clips_that_repeat_no_test_recording_are_used(collection, tmp_path):
    assert [clip.path.stem for clip in training_rows(collection)] == ["0", "1", "2", "3"]
    (tmp_path / "old.csv").write_text("path,captions\na.wav,rain\n")
    with pytest.raises(DatasetError, match="has no column 'concept'"):
        training_rows(tmp_path / "old.csv")


def test_the_shipped_recipe_leaves_out_what_is_measured_with():
    recipe = read_recipe(RECIPE)
    wordings = measured_wordings(RECIPE.parent / recipe.wordings)
    phrases = class_phrases(RECIPE.parent / recipe.phrases, wordings)
    assert len(wordings) >= 245 and len(phrases) == 527 and all(phrases)
    assert not wordings & {phrase for group in phrases for phrase in group[1:]}


def test_a_recipe_of_other_settings_is_refused(tmp_path):
    (tmp_path / "wrong.yaml").write_text("rate: 1\n")
    with pytest.raises(LMACError, match="'wrong.yaml' sets 'rate', which is no setting"):
        read_recipe(tmp_path / "wrong.yaml")


def test_a_shift_of_scores_becomes_part_of_the_last_layer():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, 6, generator=generator)
    shift = ClassShift(features.mean(0), features.std(0), 3).eval()
    torch.nn.init.normal_(shift.linear.weight)
    layer = torch.nn.Linear(6, 3)
    expected = (layer(features) + shift(features)).detach()
    shift.fold_into(layer)
    torch.testing.assert_close(layer(features), expected)


def test_blending_half_is_the_mean_of_both():
    one, two = MobileNet(), MobileNet()
    expected = (one.classes.weight + two.classes.weight) / 2
    blend(one, two, 0.5)
    torch.testing.assert_close(one.classes.weight, expected)


def test_divergence_of_probabilities_by_hand():
    """p = 0.5 against q = 0.75: 0.5 ln(0.5 / 0.75) + 0.5 ln(0.5 / 0.25) = 0.1438."""
    start, scores = torch.zeros(1, 1), torch.tensor([[3.0]]).log()
    assert divergence(scores, start).item() == pytest.approx(0.1438, abs=1e-4)
    assert divergence(start, start).item() == pytest.approx(0.0, abs=1e-7)


def test_white_noise_is_as_loud_as_it_should_be():
    """Added to white noise of power 1 at 12 to 40 dB below: between 6 % and 0.01 % more in every band."""
    model = Compact2CLAP(Compact2Config(phrases=1), HashedSentences())
    white = white_bands(model)
    power = white[:, 0].expand(64, -1)[:, :, None].repeat(1, 1, 50)
    more = (add_white(power, white, (12.0, 40.0), torch.Generator().manual_seed(0)) / power).mean(dim=2) - 1
    assert float(more[:, 40:].min()) > 5e-5 and float(more[:, 40:].max()) < 0.12
    changed = vary(power.clone(), white, (12.0, 40.0), torch.Generator().manual_seed(0))
    assert changed.shape == power.shape and bool(torch.isfinite(changed).all())
