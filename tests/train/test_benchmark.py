"""The training benchmark times the same loss three ways."""

import pytest
import torch

from benchmarks import training


@pytest.fixture(scope="module")
def task(debug_backend):
    return training.make_task(debug_backend, 3)


def gradient(task, way):
    task.decoder.zero_grad()
    loss = way(task)
    found = [p.grad.flatten() for p in task.decoder.parameters() if p.grad is not None]
    return loss, torch.cat(found)


@pytest.mark.parametrize("way", [training.loop_once, training.loop_as_written])
def test_loops_give_the_loss_and_the_gradient_of_the_batched_pass(task, way):
    loss, expected = gradient(task, training.batched)
    other, found = gradient(task, way)
    assert other == pytest.approx(loss, rel=1e-4)
    assert found.shape == expected.shape and (found - expected).norm() <= 1e-3 * expected.norm()


def test_a_portion_keeps_its_share(task):
    kept = training.kept_megabytes(lambda: training.batched(task))
    assert 0.2 * kept < training.portion_megabytes(task) < 0.45 * kept  # three of nine pairs


def test_tables_name_every_way(task, monkeypatch):
    monkeypatch.setattr(training, "channels_last", lambda task: task)
    page = "\n".join(
        training.loops_table(task, 1)
        + training.options_table(task, 1, False)
        + training.epoch_table({"x": task}, 1)
    )
    for text in (
        "| batched, one pass over all pairs |",
        "as written | ",
        "channels-last",
        "9598 steps",
        "RTX 3090",
    ):
        assert text in page
