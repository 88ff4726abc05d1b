"""Recipes become settings, or are refused in one sentence."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from lmaczs.errors import LMACError
from train.recipe import load_recipe


@dataclass(frozen=True)
class Stage:
    """A part of a recipe."""

    steps: int = 10


@dataclass(frozen=True)
class Settings:
    """Every type that settings have."""

    clips: str
    rate: float = 1e-3
    big: bool = False
    hold_out: tuple[str, ...] = ()
    size: tuple[int, float] = (1, 2.0)
    domain: Literal["stft", "mel"] = "stft"
    limit: int | None = 3
    shares: dict[str, float] = field(default_factory=dict)
    stage: Stage = Stage()
    folder: Path = Path("here")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf-8")
    return path


def test_a_recipe_fills_fields_of_every_type_and_keeps_the_other_defaults(tmp_path):
    path = write(
        tmp_path,
        "clips: a.csv\nrate: 2e-4\nbig: true\nhold_out: [esc50:4, esc50:5]\nsize: [3, 4]\ndomain: mel\nlimit: null\n"
        "shares: {rain: 1}\nstage: {steps: 5}\n",
    )
    assert load_recipe(path, Settings) == Settings(
        "a.csv", 2e-4, True, ("esc50:4", "esc50:5"), (3, 4.0), "mel", None, {"rain": 1.0}, Stage(5)
    )


def test_what_is_given_comes_before_the_recipe(tmp_path):
    path = write(tmp_path, "rate: 0.5\n")
    assert load_recipe(path, Settings, clips="b.csv", rate=0.25) == Settings("b.csv", 0.25)
    assert load_recipe(write(tmp_path, ""), Settings, clips="b.csv") == Settings("b.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "clips: a\nrates: 1\n",
            "'recipe.yaml' sets 'rates', which is no setting here: use clips, rate, big",
        ),
        ("clips: a\nrate: fast\n", "at 'rate' holds 'fast': give a value of the type float"),
        ("clips: a\nbig: 1\n", "at 'big' holds 1: give a value of the type bool"),
        ("clips: 3\n", "at 'clips' holds 3: give a value of the type str"),
        ("clips: a\nlimit: true\n", "at 'limit' holds True: give a value of the type int"),
        ("clips: a\nhold_out: esc50:4\n", "at 'hold_out' holds 'esc50:4'.*tuple"),
        ("clips: a\nsize: [1]\n", "at 'size' holds"),
        ("clips: a\ndomain: cqt\n", "at 'domain' holds 'cqt'.*stft"),
        ("clips: a\nstage: {step: 1}\n", "at 'stage' sets 'step', which is no setting here: use steps"),
        ("rate: 1\n", "does not set 'clips'"),
        ("- a\n", "give settings by name"),
        ("a: [\n", "cannot be read"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_sentence(tmp_path, text, message):
    with pytest.raises(LMACError, match=message) as raised:
        load_recipe(write(tmp_path, text), Settings)
    assert "\n" not in str(raised.value) and str(tmp_path) not in str(raised.value)


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LMACError, match="'none.yaml' cannot be read"):
        load_recipe(tmp_path / "none.yaml", Settings)
