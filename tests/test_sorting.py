"""Sorted on several threads or on one: the same."""

import numpy as np
import pytest
import torch

from lmaczs.sorting import WORTH_A_THREAD, ascending, descending_places

COUNT = 3 * WORTH_A_THREAD + 7


@pytest.fixture(params=[1, 2, 3])
def threads(request, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)
    return request.param


def cells(rows, count=COUNT):
    values = np.random.default_rng(0).random((rows, count), dtype=np.float32)
    # Many masks are zero almost everywhere.
    values[:, ::3] = 0
    return torch.from_numpy(values)


@pytest.mark.parametrize(("rows", "count"), [(1, COUNT), (3, COUNT), (1, 1), (2, 5)])
def test_rows_are_sorted_and_left_as_they_were(threads, rows, count):
    values = cells(rows, count)
    before = values.clone()
    assert torch.equal(ascending(values), values.sort(1).values)
    assert torch.equal(values, before)


@pytest.mark.parametrize(("rows", "count"), [(1, COUNT), (3, COUNT), (5, COUNT), (1, 1), (2, 5), (0, 5)])
def test_places_lead_from_the_largest_value_to_the_smallest(threads, rows, count):
    values = cells(rows, count)
    places = descending_places(values)
    assert torch.equal(values.gather(1, places), values.sort(1, descending=True).values)
    assert torch.equal(places.sort(1).values, torch.arange(count).expand(rows, -1))


def test_places_of_values_of_every_kind(threads):
    inf = float("inf")
    values = torch.tensor([[1.0, -inf, 0.0, -1e-40, 3e38, -0.0, inf, 1e-40, -1.0, -3e38]])
    found = values.gather(1, descending_places(values))[0].tolist()
    assert found == [inf, values[0, 4], 1.0, values[0, 7], 0.0, 0.0, values[0, 3], -1.0, values[0, 9], -inf]
    assert descending_places(values.double()).tolist()[0][:3] == [6, 4, 0]


def test_a_graph_of_gradients_is_not_followed(threads):
    values = cells(2, 5).requires_grad_()
    assert not ascending(values).requires_grad
