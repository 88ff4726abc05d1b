"""Deletion and insertion curves, with areas worked out by hand."""

import pytest
import torch

from lmaczs.metrics.curves import SHARES, deletion_insertion


def test_areas_of_two_curves_worked_out_by_hand():
    # Deletion: (0, .8) (.1, .4) (.5, .2) (1, .1): .1 * .6 + .4 * .3 + .5 * .15 = .255
    # Insertion: (0, .1) (.1, .5) (.5, .9) (1, .8): .1 * .3 + .4 * .7 + .5 * .85 = .735
    curves = deletion_insertion(
        torch.tensor([0.8]),
        torch.tensor([0.1]),
        torch.tensor([[0.5, 0.9]]),
        torch.tensor([[0.4, 0.2]]),
        (0.1, 0.5),
    )
    assert curves["deletion"][0].tolist() == pytest.approx([0.8, 0.4, 0.2, 0.1], abs=1e-7)
    assert curves["insertion"][0].tolist() == pytest.approx([0.1, 0.5, 0.9, 0.8], abs=1e-7)
    assert curves["deletion_auc"].item() == pytest.approx(0.255, abs=1e-7)
    assert curves["insertion_auc"].item() == pytest.approx(0.735, abs=1e-7)


def test_a_perfect_ranking_has_an_area_near_zero_and_a_blind_one_falls_along_the_diagonal():
    shares = tuple(step / 1000 for step in range(1, 1000))
    sure, silent = torch.ones(2), torch.zeros(2)
    removed = torch.stack([torch.zeros(999), 1 - torch.tensor(shares)])
    kept = torch.stack([torch.ones(999), torch.tensor(shares)])
    curves = deletion_insertion(sure, silent, kept, removed, shares)
    assert curves["deletion_auc"].tolist() == pytest.approx([0.0005, 0.5], abs=1e-6)
    assert curves["insertion_auc"].tolist() == pytest.approx([0.9995, 0.5], abs=1e-6)


def test_an_empty_mask_has_flat_curves():
    points = len(SHARES)
    curves = deletion_insertion(
        torch.tensor([0.7, 0.7]),
        torch.tensor([0.1, 0.1]),
        torch.full((2, points), 0.1),
        torch.full((2, points), 0.7),
        SHARES,
        empty=torch.tensor([True, False]),
    )
    assert curves["deletion"][0].tolist() == pytest.approx([0.7] * (points + 2), abs=1e-6)
    assert curves["insertion"][0].tolist() == pytest.approx([0.1] * (points + 2), abs=1e-6)
    assert curves["deletion_auc"][0].item() == pytest.approx(0.7, abs=1e-6)
    assert curves["deletion"][1, -1].item() == pytest.approx(0.1, abs=1e-6)  # everything is gone in the end


@pytest.mark.parametrize("shares", [(0.0, 0.5), (0.5, 1.0), (0.5, 0.5), (0.6, 0.5)])
def test_shares_that_do_not_rise_between_the_ends_are_refused(shares):
    with pytest.raises(ValueError, match="rise strictly"):
        deletion_insertion(torch.ones(1), torch.zeros(1), torch.ones(1, 2), torch.ones(1, 2), shares)


def test_mismatched_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        deletion_insertion(torch.ones(1), torch.zeros(1), torch.ones(1, 3), torch.ones(1, 2), (0.1, 0.2))
