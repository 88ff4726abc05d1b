"""Whether to believe an explanation: every outcome, its limits, and that nobody says anything else."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from lmaczs.explainers.base import Explanation
from lmaczs.hearing import explain, listen
from lmaczs.hearing.verdict import BROUGHT_OUT, ENOUGH, NEEDED, SAID, VERDICTS, verdict_of
from lmaczs.many.rows import COLUMNS, explained_row
from lmaczs.results import result_row
from lmaczs.types import AudioClip, ExplainResult, Listening, Prediction

CLIP = AudioClip(torch.zeros(16000), 16000, "clip")


def result_of(whole, kept, removed, *, evidence="unknown", match=(), prompts=("a", "b"), most=None):
    """`most`: probability of the most probable prompt; None: the explained one is."""
    probabilities = torch.tensor([whole, most or 0.0][: len(prompts)])
    prediction = Prediction(prompts, torch.zeros(len(prompts)), probabilities, 0, match)
    explanation = Explanation("lmac-zs", "a", torch.zeros(1, 1), "stft", evidence)
    axes = [torch.zeros(1, 1), torch.zeros(1), torch.zeros(1)]
    shares = {"original": whole, "kept": kept, "removed": removed}
    return ExplainResult(CLIP, prediction, "a", 0.3, explanation, Listening(CLIP, CLIP), *axes, {}, shares)


@pytest.mark.parametrize(
    ("kept", "removed", "key", "level"),
    [
        (0.8, 0.1, "believe", "good"),
        (0.8, 0.7, "enough", "partly"),
        (0.1, 0.1, "needed", "partly"),
        (0.1, 0.7, "failed", "bad"),
        (ENOUGH * 0.8, 0.1, "believe", "good"),
        (ENOUGH * 0.8 - 1e-6, 0.1, "needed", "partly"),
        (0.8, NEEDED * 0.8, "enough", "partly"),
        (0.8, NEEDED * 0.8 - 1e-6, "believe", "good"),
    ],
)
def test_enough_and_needed_are_relative_to_the_whole(kept, removed, key, level):
    verdict = verdict_of(result_of(0.8, kept, removed))
    assert (verdict.key, verdict.level) == (key, level)


def test_nothing_found_is_said_whatever_the_parts_score():
    assert verdict_of(result_of(0.8, 0.8, 0.1, evidence="absent")).key == "absent"


def test_a_sound_that_no_prompt_fits_leaves_nothing_to_believe():
    assert verdict_of(result_of(0.8, 0.8, 0.1, match=("none", "none"))).key == "unsure"
    assert verdict_of(result_of(0.8, 0.8, 0.1, match=("none", "weak"))).key == "believe"


def test_a_single_prompt_is_always_certain():
    assert verdict_of(result_of(1.0, 1.0, 1.0, prompts=("a",))).key == "alone"


def test_a_prompt_that_is_not_heard_is_told_from_one_that_a_part_brings_out():
    assert verdict_of(result_of(0.001, 0.3, 0.0, most=0.9)).key == "unheard"
    # Neither the whole nor the rest says so: that both parts are above half of nothing means nothing.
    assert verdict_of(result_of(0.012, 0.53, 0.008, most=0.97)).key == "drowned"
    assert verdict_of(result_of(0.012, BROUGHT_OUT - 1e-3, 0.0, most=0.97)).key == "unheard"
    # The second choice that is nearly as probable as the first is said, too.
    assert verdict_of(result_of(0.4, 0.6, 0.1, most=0.79 * 0.5 / SAID)).key == "believe"
    assert verdict_of(result_of(0.4, 0.6, 0.1, most=0.81)).key == "drowned"


def test_nothing_is_said_of_what_was_not_measured():
    assert verdict_of(replace(result_of(0.8, 0.8, 0.1), probability={})) is None
    # That nothing was found needs no measurement.
    assert verdict_of(replace(result_of(0.8, 0.8, 0.1, evidence="absent"), probability={})).key == "absent"


def test_every_verdict_is_one_sentence_or_two_with_a_level():
    assert {verdict.level for verdict in VERDICTS.values()} == {"good", "partly", "bad", "none"}
    assert len({verdict.words for verdict in VERDICTS.values()}) == len(VERDICTS)
    assert all(key == verdict.key and verdict.words.endswith(".") for key, verdict in VERDICTS.items())


def test_json_and_rows_say_what_python_says(planted_backend, beep_in_noise):
    from lmaczs.explainers import load_explainer

    method = load_explainer("saliency", planted_backend)
    result = explain(listen(beep_in_noise, planted_backend), ["a beep", "rain"], planted_backend, method)
    said = verdict_of(result)
    shares = result.probability
    assert list(shares) == ["original", "kept", "removed"]
    index = result.prediction.predicted
    assert shares["original"] == pytest.approx(float(result.prediction.probabilities[index]), abs=1e-6)
    assert result.metrics["ff"] == pytest.approx(shares["original"] - shares["removed"], abs=1e-6)
    row = json.loads(json.dumps(result_row(result, "planted")))
    assert row["verdict"] == asdict(said)
    assert row["probability"] == pytest.approx(shares)
    assert (
        "verdict" in COLUMNS and explained_row("a", None, result, "planted", 0.0, "")["verdict"] == said.key
    )


def test_a_mask_of_what_the_classifier_hears_is_believed_and_an_empty_one_is_not(
    planted_backend, beep_in_noise
):
    from lmaczs.evaluation.masks import Control

    recording = listen(beep_in_noise, planted_backend)
    keys = {}
    for control in ("energy", "random"):
        method = Control(planted_backend, "stft", control=control, seed="page")
        result = explain(recording, ["a beep", "rain"], planted_backend, method, target="a beep")
        keys[control] = verdict_of(result).key
    assert keys["energy"] == "believe" and keys["random"] != "believe"
