"""Fidelity of interpreters: worked examples, chance, and scikit-learn as the reference."""

import math

import pytest
import torch

from lmaczs.metrics.components import jaccard, random_choice
from lmaczs.metrics.fidelity import over_groups, top_k_fidelity
from lmaczs.metrics.multi_label import multi_label_fidelity


def test_top_k_of_a_worked_example():
    classifier = torch.tensor([[3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0]])
    interpreter = torch.tensor([[0.2, 0.5, 0.3, 0.0], [0.1, 0.2, 0.3, 0.4]])
    assert top_k_fidelity(classifier, interpreter, 1).tolist() == [0.0, 1.0]
    assert top_k_fidelity(classifier, interpreter, 2).tolist() == [0.0, 1.0]
    assert top_k_fidelity(classifier, interpreter, 3).tolist() == [1.0, 1.0]
    assert top_k_fidelity(classifier, interpreter, 9).tolist() == [1.0, 1.0]


def test_an_interpreter_that_tells_nothing_apart_has_chance():
    classifier = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    assert top_k_fidelity(classifier, torch.zeros(20, 50), 5).tolist() == [0.1] * 20


def test_top_k_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match="must be"):
        top_k_fidelity(torch.zeros(2, 3), torch.zeros(2, 4), 1)
    with pytest.raises(ValueError, match="at least 1"):
        top_k_fidelity(torch.zeros(2, 3), torch.zeros(2, 3), 0)


def test_every_group_counts_once():
    values = torch.tensor([1.0, 1.0, 1.0, 0.0, math.nan])
    found = over_groups(values, ["1", "1", "1", "2", "3"])
    assert found == {"mean": 0.5, "deviation": pytest.approx(math.sqrt(0.5)), "n": 4, "groups": 2}
    alone = over_groups(torch.ones(3), ["x"] * 3)
    assert alone["mean"] == 1.0 and math.isnan(alone["deviation"])
    assert math.isnan(over_groups(torch.tensor([math.nan]), ["x"])["mean"])
    with pytest.raises(ValueError, match="one group for each"):
        over_groups(values, ["1"])


def test_multi_label_of_a_perfect_and_a_blind_interpreter():
    decisions = torch.rand(400, 8, generator=torch.Generator().manual_seed(0)) < 0.2
    perfect = multi_label_fidelity(decisions, decisions.double())
    assert perfect == {
        "macro_auprc": 1.0,
        "micro_auprc": 1.0,
        "max_f1": pytest.approx(1.0),
        "tags": 8,
        "n": 400,
    }
    blind = multi_label_fidelity(decisions, torch.full((400, 8), 0.5))
    share = float(decisions.double().mean())
    assert blind["micro_auprc"] == pytest.approx(share)
    assert blind["max_f1"] == pytest.approx(2 * share / (1 + share))


def test_multi_label_max_f1_is_the_best_over_thresholds():
    from sklearn.metrics import f1_score

    generator = torch.Generator().manual_seed(1)
    decisions = torch.rand(60, 3, generator=generator) < 0.4
    scores = (0.5 * decisions + torch.rand(60, 3, generator=generator)) / 1.5
    found = multi_label_fidelity(decisions, scores)
    best = max(f1_score(decisions, scores >= value, average="micro") for value in scores.flatten())
    assert found["max_f1"] == pytest.approx(best)
    assert 0.4 < found["macro_auprc"] < 1.0


def test_multi_label_leaves_out_what_has_no_curve():
    decisions = torch.tensor([[True, False, True], [False, False, False]])
    scores = torch.tensor([[0.9, 0.3, 0.1], [0.1, 0.9, 0.9]])
    assert multi_label_fidelity(decisions, scores)["tags"] == 2
    kept = multi_label_fidelity(decisions, scores, without=(2,))
    assert kept["tags"] == 1 and kept["macro_auprc"] == 1.0
    empty = multi_label_fidelity(torch.zeros(2, 3, dtype=torch.bool), scores)
    assert empty["tags"] == 0 and math.isnan(empty["macro_auprc"])


def test_the_released_curve_of_a_worked_example():
    """At thresholds up to .5 both clips are given (precision .5, recall 1), above only the right one (1, 1)."""
    decisions, scores = torch.tensor([[True], [False]]), torch.tensor([[0.92], [0.55]])
    assert multi_label_fidelity(decisions, scores, compat="released")["macro_auprc"] == pytest.approx(1.0)
    turned = multi_label_fidelity(decisions, torch.tensor([[0.55], [0.92]]), compat="released")
    # Points (recall, precision): (0, 1), (0, 0) for the wrong one alone, (1, .5) and (1, 0).
    assert turned["macro_auprc"] == pytest.approx(0.25)
    with pytest.raises(ValueError, match="compat"):
        multi_label_fidelity(decisions, scores, compat="paper")


def test_random_choices_have_the_same_size():
    chosen = torch.zeros(300, 20, dtype=torch.bool)
    chosen[:, :4] = True
    chosen[0] = False
    chosen[1] = True
    generator = torch.Generator().manual_seed(0)
    drawn = random_choice(chosen, generator)
    assert torch.equal(drawn.sum(1), chosen.sum(1))
    assert drawn[2:].double().mean(0).sub(0.2).abs().max() < 0.1  # every component alike, chosen ones too
    others = random_choice(chosen, generator, among_others=True)
    assert not bool((others & chosen).any())
    assert others.sum(1).tolist() == [0, 0] + [4] * 298


def test_jaccard():
    first = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 0]], dtype=torch.bool)
    second = torch.tensor([[0, 1, 1], [0, 0, 0], [1, 0, 0]], dtype=torch.bool)
    found = jaccard(first, second).tolist()
    assert found[0] == pytest.approx(1 / 3) and math.isnan(found[1]) and found[2] == 1.0
