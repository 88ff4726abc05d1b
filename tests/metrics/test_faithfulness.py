"""Faithfulness numbers against clips worked out by hand."""

import math

import pytest
import torch

from lmaczs.metrics.faithfulness import faithfulness


def logits_of(*rows: list[float]) -> torch.Tensor:
    """Logits whose softmax is exactly the given probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log()


# Three clips, two prompts, target 0:
#   clip 0: p .8, kept .6, removed .3  -> ff .5, ai 0,   ad 100*.2/.8 = 25,  ag 0,                fid 1
#   clip 1: p .6, kept .9, removed .6  -> ff 0,  ai 100, ad 0,               ag 100*.3/.4 = 75,   fid 1
#   clip 2: p .5+, kept .2, removed .9 -> ff -.35, ai 0, ad 100*.35/.55,     ag 0,                fid 0
P = logits_of([0.8, 0.2], [0.6, 0.4], [0.55, 0.45])
KEPT = logits_of([0.6, 0.4], [0.9, 0.1], [0.2, 0.8])
REMOVED = logits_of([0.3, 0.7], [0.6, 0.4], [0.9, 0.1])
EXPECTED = {
    "ff": [0.5, 0.0, -0.35],
    "ai": [0.0, 100.0, 0.0],
    "ad": [25.0, 0.0, 100 * 0.35 / 0.55],
    "ag": [0.0, 75.0, 0.0],
    "fid_in": [1.0, 1.0, 0.0],
}


@pytest.mark.parametrize("key", EXPECTED)
def test_three_clips_give_the_numbers_worked_out_by_hand(key):
    values = faithfulness(P, KEPT, REMOVED, torch.zeros(3, dtype=torch.int64))[key]
    assert values.tolist() == pytest.approx(EXPECTED[key], abs=1e-12)


def test_target_picks_the_probability_that_is_scored():
    values = faithfulness(P, KEPT, REMOVED, torch.ones(3, dtype=torch.int64))
    # p .2 -> .4 kept: gain .2 of the .8 that was missing; p - r = .2 - .7
    assert values["ag"][0] == pytest.approx(25.0)
    assert values["ff"][0] == pytest.approx(-0.5)
    assert values["ad"][1] == pytest.approx(75.0)


def test_full_mask_keeps_everything_and_empty_mask_removes_nothing():
    target = torch.tensor([0, 0, 0])
    full = faithfulness(P, P, REMOVED, target)
    assert full["ai"].tolist() == [0, 0, 0]  # strict: equal is no increase
    assert full["ad"].tolist() == [0, 0, 0]
    assert full["ag"].tolist() == [0, 0, 0]
    assert full["fid_in"].tolist() == [1, 1, 1]
    assert faithfulness(P, KEPT, P, target)["ff"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("logit", [100.0, 1000.0])
def test_a_certain_prediction_has_a_gain_of_zero_and_not_nan(logit):
    certain = torch.tensor([[logit, 0.0, 0.0]])  # float32 softmax is exactly 1 here
    values = faithfulness(certain, certain, certain, torch.tensor([0]))
    assert values["ag"].item() == 0.0
    assert values["ad"].item() == 0.0
    assert values["ai"].item() == 0.0


def test_gain_of_a_nearly_certain_prediction_is_exact():
    # 1 - p = e^-40 / (1 + e^-40) and 1 - q = e^-41 / (1 + e^-41): gain = 1 - 1/e, far below what 1 - p can
    # show in float64
    values = faithfulness(
        torch.tensor([[40.0, 0.0]]),
        torch.tensor([[41.0, 0.0]]),
        torch.tensor([[0.0, 0.0]]),
        torch.tensor([0]),
    )
    assert values["ag"].item() == pytest.approx(100 * (1 - math.exp(-1)), abs=1e-9)
    assert values["ai"].item() == 100.0


def test_drop_of_a_hopeless_prompt_is_exact():
    # p about e^-50, q about e^-51: the drop is relative, 1 - 1/e
    values = faithfulness(
        torch.tensor([[0.0, 50.0]]),
        torch.tensor([[0.0, 51.0]]),
        torch.tensor([[0.0, 0.0]]),
        torch.tensor([0]),
    )
    assert values["ad"].item() == pytest.approx(100 * (1 - math.exp(-1)), abs=1e-9)


def test_a_single_prompt_leaves_nothing_to_gain_or_lose():
    logits = torch.tensor([[3.0]])
    values = faithfulness(logits, logits - 2, logits - 3, torch.tensor([0]))
    assert {key: value.item() for key, value in values.items()} == {
        "ff": 0,
        "ai": 0,
        "ad": 0,
        "ag": 0,
        "fid_in": 1,
    }


def test_rounding_is_no_increase_but_a_small_rise_is():
    start = torch.tensor([[1.0, 0.0]])
    target = torch.tensor([0])
    rounding = faithfulness(start, start + torch.tensor([[1e-5, 0.0]]), start, target)
    rise = faithfulness(start, start + torch.tensor([[1e-2, 0.0]]), start, target)
    assert rounding["ai"].item() == 0.0
    assert rise["ai"].item() == 100.0


def test_double_softmax_reproduces_the_papers_scale():
    # Worked case: p = .78 over 50 classes falling to chance is AD 97.4 by the formula and 52.9 when the
    # softmax is taken twice.
    sure = logits_of([0.78] + [0.22 / 49] * 49)
    chance = torch.zeros(1, 50, dtype=torch.float64)
    target = torch.tensor([0])
    assert faithfulness(sure, chance, chance, target)["ad"].item() == pytest.approx(97.436, abs=1e-3)
    double = faithfulness(sure, chance, chance, target, double_softmax=True)
    assert double["ad"].item() == pytest.approx(52.9, abs=0.1)
    assert double["ff"].item() == pytest.approx(0.76, abs=1e-9)  # only AD changes


def test_shuffling_the_batch_shuffles_the_values():
    order = torch.tensor([2, 0, 1])
    target = torch.tensor([0, 1, 0])
    straight = faithfulness(P, KEPT, REMOVED, target)
    shuffled = faithfulness(P[order], KEPT[order], REMOVED[order], target[order])
    for key in straight:
        assert torch.equal(shuffled[key], straight[key][order])


def test_mismatched_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        faithfulness(P, KEPT[:2], REMOVED, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="target"):
        faithfulness(P, KEPT, REMOVED, torch.zeros(2, dtype=torch.int64))
