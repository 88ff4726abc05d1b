"""Changes of the most probable prompts' probabilities, worked out by hand."""

import pytest
import torch

from lmaczs.metrics.top_k import top_k_change

BEFORE = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], dtype=torch.float64).log()
AFTER = torch.tensor([[0.1, 0.8, 0.1], [0.3, 0.2, 0.5]], dtype=torch.float64).log()


def test_changes_follow_the_order_of_the_input():
    # Clip 0: prompts 1, 2, 0 were first: .5 -> .8, .3 -> .1, .2 -> .1. Clip 1: prompt 2, then 0 and 1, which are equal
    # and keep their order: .8 -> .5, .1 -> .3, .1 -> .2.
    assert top_k_change(BEFORE, AFTER)[0].tolist() == pytest.approx([30.0, -20.0, -10.0], abs=1e-9)
    assert top_k_change(BEFORE, AFTER)[1].tolist() == pytest.approx([-30.0, 20.0, 10.0], abs=1e-9)


def test_all_changes_together_are_nothing_and_so_is_the_full_mask():
    assert top_k_change(BEFORE, AFTER).sum(1).tolist() == pytest.approx([0.0, 0.0], abs=1e-9)
    assert top_k_change(BEFORE, BEFORE).abs().max().item() == 0.0


def test_places_without_a_prompt_are_nan():
    change = top_k_change(BEFORE, AFTER, k=5)
    assert change.shape == (2, 5)
    assert change[:, 3:].isnan().all() and not change[:, :3].isnan().any()


def test_mismatched_shapes_and_no_prompt_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 3\)"):
        top_k_change(BEFORE, AFTER[:1])
    with pytest.raises(ValueError, match="k = 0"):
        top_k_change(BEFORE, AFTER, k=0)
