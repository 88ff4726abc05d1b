"""Sparseness, complexity, mean and equal-area masks against numbers known in closed form."""

import math

import pytest
import torch

from lmaczs.metrics.shape import binarise_top, mask_shape, top_masks

CELLS = 690 * 64


@pytest.mark.parametrize("level", [1.0, 0.25, 1e-6])
def test_uniform_mask_has_no_sparseness_and_full_complexity(level):
    shape = mask_shape(torch.full((1, 64, 690), level))
    assert shape["sps"].item() == pytest.approx(0.0, abs=1e-9)
    assert shape["comp"].item() == pytest.approx(math.log(CELLS), abs=1e-9)  # 10.70
    assert shape["mm"].item() == pytest.approx(level, rel=1e-6)


def test_one_cell_is_as_sparse_and_simple_as_can_be():
    mask = torch.zeros(1, 64, 690)
    mask[0, 3, 5] = 0.7
    shape = mask_shape(mask)
    assert shape["sps"].item() == pytest.approx(1 - 1 / CELLS, abs=1e-12)
    assert shape["comp"].item() == pytest.approx(0.0, abs=1e-12)


def test_a_tenth_of_the_cells_gives_the_textbook_values():
    mask = torch.zeros(1, 64, 690)
    mask.view(-1)[: CELLS // 10] = 1.0
    shape = mask_shape(mask)
    assert shape["sps"].item() == pytest.approx(0.9, abs=1e-9)
    assert shape["comp"].item() == pytest.approx(math.log(CELLS / 10), abs=1e-9)  # 8.393
    assert shape["mm"].item() == pytest.approx(0.1, abs=1e-9)


def test_empty_mask_has_zeros_by_convention():
    shape = mask_shape(torch.zeros(2, 4, 4))
    assert all(value.tolist() == [0.0, 0.0] for value in shape.values())


def test_gini_and_entropy_of_four_cells_worked_out_by_hand():
    # sorted shares .1 .2 .3 .4, weights -3 -1 1 3: Gini = (-.3 - .2 + .3 + 1.2) / 4 = .25
    shape = mask_shape(torch.tensor([[[0.4, 0.1], [0.3, 0.2]]]))
    assert shape["sps"].item() == pytest.approx(0.25, abs=1e-7)  # 0.1 and its kind are rounded in float32
    entropy = -sum(p * math.log(p) for p in (0.1, 0.2, 0.3, 0.4))
    assert shape["comp"].item() == pytest.approx(entropy, abs=1e-7)


@pytest.mark.parametrize("name", ["even", "soft", "faint", "steep"])
def test_cells_within_one_level_cost_less_than_a_millionth(name):
    noise = torch.randn(64, 690, generator=torch.Generator().manual_seed(0))
    mask = {
        "even": torch.special.ndtr(noise),
        "soft": torch.sigmoid(5 * noise - 6),
        "faint": 1e-4 * torch.special.ndtr(noise),
        "steep": noise.abs() ** 12 / noise.abs().amax() ** 12,
    }[name]
    cells = mask.flatten().double().sort().values
    weights = 2 * torch.arange(CELLS, dtype=torch.float64) - (CELLS - 1)
    assert mask_shape(mask[None])["sps"].item() == pytest.approx(
        float(weights @ cells / cells.sum() / CELLS), abs=1e-6
    )


def test_shape_does_not_depend_on_the_masks_level_and_keeps_its_input():
    mask = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
    before = mask.clone()
    faint, loud = mask_shape(mask * 0.01), mask_shape(mask)
    assert torch.allclose(faint["sps"], loud["sps"], atol=1e-6)
    assert torch.allclose(faint["comp"], loud["comp"], atol=1e-6)
    assert torch.equal(mask, before)


def test_batch_equals_singles():
    mask = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
    together = mask_shape(mask)
    for index in range(3):
        alone = mask_shape(mask[index : index + 1])
        for key in together:
            assert together[key][index] == alone[key][0]


@pytest.mark.parametrize(("share", "kept"), [(0.0, 0), (0.1, 12876), (0.2, 25753), (1.0, 513 * 251)])
def test_binarised_mask_keeps_exactly_the_share_of_cells(share, kept):
    mask = torch.rand(2, 513, 251, generator=torch.Generator().manual_seed(0))
    top = binarise_top(mask, share)
    assert top.sum((1, 2)).tolist() == [kept, kept]
    assert set(top.unique().tolist()) <= {0.0, 1.0}


def test_binarised_mask_keeps_the_largest_cells():
    mask = torch.tensor([[[0.1, 0.9], [0.8, 0.2]]])
    assert binarise_top(mask, 0.5).tolist() == [[[0.0, 1.0], [1.0, 0.0]]]


def test_ties_are_broken_the_same_way_every_time_and_not_by_frequency():
    flat = torch.ones(2, 100, 100)
    top = binarise_top(flat, 0.1)
    assert top.sum((1, 2)).tolist() == [1000.0, 1000.0]
    assert torch.equal(top[0], top[1])
    assert torch.equal(top, binarise_top(flat, 0.1))
    assert 50 < top[0, :10].sum() < 150  # the lowest tenth of the rows gets about its tenth, not all


def test_an_impossible_share_is_refused():
    with pytest.raises(ValueError, match="1.5"):
        binarise_top(torch.ones(1, 2, 2), 1.5)


def test_top_cells_of_a_smaller_share_are_among_those_of_a_larger_one_also_where_cells_are_equal():
    steps = torch.randint(0, 4, (2, 60, 50), generator=torch.Generator().manual_seed(0)) / 3
    tops = top_masks(steps, (0.1, 0.3, 0.45, 1.0))
    assert tops.shape == (2, 4, 60, 50)
    assert tops.sum((2, 3)).tolist() == [[300, 900, 1350, 3000]] * 2
    for smaller, larger in ((0, 1), (1, 2), (2, 3)):
        assert bool((tops[:, smaller] <= tops[:, larger]).all())
    for index, share in enumerate((0.1, 0.3, 0.45, 1.0)):
        assert torch.equal(tops[:, index], binarise_top(steps, share))
