"""The number that is explained, worked out by hand."""

import math

import pytest
import torch

from lmaczs.errors import LMACError, PromptError
from lmaczs.explainers.scores import SCORES, Score

RIVALS = [
    "a beep",
    "rain",
    "wind",
]  # the planted model: a beep is (1, 0, 0, 0), all others (0, 1, 0, 0); scale 10
SOUND = torch.tensor([[0.6, 0.8, 0.0, 0.0]])
BEEP = torch.tensor([[1.0, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cosine", 0.6),
        ("logit", 6.0),
        ("probability", math.exp(6) / (math.exp(6) + 2 * math.exp(8))),  # the prompt is not its own rival
        ("contrastive", 6.0 - 8.0),
    ],
)
def test_a_score_is_what_its_name_says(planted_backend, name, expected):
    score = Score(planted_backend, name, RIVALS)
    assert float(score(SOUND, BEEP)) == pytest.approx(expected, rel=1e-5)
    both = score(torch.cat([SOUND, SOUND.flip(1)]), BEEP)
    assert both.shape == (2,) and float(both[0]) == pytest.approx(expected, rel=1e-5)


def test_a_prompt_need_not_be_among_its_rivals(planted_backend):
    inside = Score(planted_backend, "probability", ["a beep", "rain"])(SOUND, BEEP)
    outside = Score(planted_backend, "probability", ["rain"])(SOUND, BEEP)
    assert torch.equal(inside, outside)


@pytest.mark.parametrize("name", SCORES)
def test_the_gradient_is_that_of_the_score(planted_backend, name):
    score = Score(planted_backend, name, RIVALS)
    sound = SOUND.double().requires_grad_()
    score.rivals = None if score.rivals is None else score.rivals.double()
    assert torch.autograd.gradcheck(lambda embedding: score(embedding, BEEP.double()), sound)


def test_comparing_needs_something_to_compare_with(planted_backend):
    for name in ("probability", "contrastive"):
        with pytest.raises(LMACError, match="none was given"):
            Score(planted_backend, name)
        with pytest.raises(LMACError, match="the only one"):
            Score(planted_backend, name, ["a beep", "another beep"])(SOUND, BEEP)
    with pytest.raises(PromptError, match="Prompt 2 is empty"):
        Score(planted_backend, "contrastive", ["rain", " "])
    assert float(Score(planted_backend, "cosine", ["a beep"])(SOUND, BEEP)) == pytest.approx(0.6)


@pytest.mark.parametrize(("name", "unit"), [("cosine", 1.0), ("logit", 10.0), ("contrastive", 10.0)])
def test_differences_within_rounding_are_none(planted_backend, name, unit):
    score = Score(planted_backend, name, RIVALS)
    differences = unit * torch.tensor([1e-7, -1e-6, 5e-6, -1.0])
    told = score.told(differences, torch.tensor([0.5]))
    assert told.tolist() == [0.0, 0.0, *differences[2:].tolist()]


def test_what_rounding_is_depends_on_how_certain_a_probability_is(planted_backend):
    score = Score(planted_backend, "probability", RIVALS)
    difference = torch.tensor([1e-6])
    assert not score.told(difference, torch.tensor([0.5])).any()
    assert score.told(difference, torch.tensor([1e-3])).any()
