"""SI-SDR against signals whose parts are orthogonal, so that the ratio is known; cells counted by hand."""

import math

import pytest
import torch

from lmaczs.metrics.localisation import (
    LIMIT_DB,
    dominant_cells,
    energy_on_target,
    pointing_accuracy,
    si_sdr,
    si_sdr_improvement,
)

TIME = torch.arange(16000, dtype=torch.float64) / 16000
SOURCE = torch.sin(2 * math.pi * 440 * TIME).unsqueeze(0)
OTHER = torch.sin(2 * math.pi * 1000 * TIME).unsqueeze(0)  # orthogonal to SOURCE over one second, same energy


@pytest.mark.parametrize(("gain", "decibels"), [(1.0, 0.0), (0.1, 20.0), (10.0, -20.0)])
def test_an_orthogonal_disturbance_gives_its_energy_ratio(gain, decibels):
    assert si_sdr(SOURCE + gain * OTHER, SOURCE).item() == pytest.approx(decibels, abs=1e-6)


def test_level_sign_and_offset_of_the_estimate_do_not_matter():
    reference = si_sdr(SOURCE + 0.5 * OTHER, SOURCE)
    assert torch.allclose(si_sdr(-0.01 * (SOURCE + 0.5 * OTHER) + 0.3, SOURCE), reference, atol=1e-6)
    assert torch.allclose(si_sdr(SOURCE + 0.5 * OTHER, 3 * SOURCE - 1), reference, atol=1e-6)


def test_perfect_and_silent_estimates_reach_the_limits():
    assert si_sdr(SOURCE, SOURCE).item() == LIMIT_DB
    assert si_sdr(torch.zeros_like(SOURCE), SOURCE).item() == -LIMIT_DB


def test_improvement_is_zero_for_the_mixture_and_six_decibels_for_half_the_disturbance():
    mixture = SOURCE + OTHER
    assert si_sdr_improvement(mixture, mixture, SOURCE).item() == 0.0
    half = si_sdr_improvement(SOURCE + 0.5 * OTHER, mixture, SOURCE)
    assert half.item() == pytest.approx(20 * math.log10(2), abs=1e-6)


def test_a_silent_reference_is_refused():
    with pytest.raises(ValueError, match="silent"):
        si_sdr(SOURCE, torch.zeros_like(SOURCE))


def test_batch_equals_singles():
    estimates = torch.cat([SOURCE + 0.1 * OTHER, OTHER, SOURCE])
    references = torch.cat([SOURCE, SOURCE, OTHER])
    together = si_sdr(estimates, references)
    for index in range(3):
        alone = si_sdr(estimates[index : index + 1], references[index : index + 1])
        assert together[index].item() == pytest.approx(alone[0].item(), abs=1e-6)


# Two bins by two frames. Powers of the sources and of the mixture, and the target's cells:
#   target 4 1   other 1 2   mixture 5 3   target's: yes no
#          0 3         1 1           1 4             no  yes
TARGET = torch.tensor([[[4.0, 1.0], [0.0, 3.0]]])
REST = torch.tensor([[[1.0, 2.0], [1.0, 1.0]]])
CELLS = torch.tensor([[[True, False], [False, True]]])


def test_cells_belong_to_the_louder_source_and_a_draw_to_nobody():
    assert torch.equal(dominant_cells(TARGET, REST), CELLS)
    assert not dominant_cells(REST, REST).any()


@pytest.mark.parametrize(
    ("mask", "share"),
    [
        ([[1.0, 1.0], [1.0, 1.0]], 9 / 13),  # the full mask: what the target's cells have of the mixture
        ([[1.0, 0.0], [0.0, 1.0]], 1.0),
        ([[0.0, 1.0], [0.0, 0.0]], 0.0),
        ([[0.5, 1.0], [0.0, 0.0]], 1.25 / 4.25),  # on power a mask counts squared
    ],
)
def test_share_of_the_kept_energy_on_the_target_worked_out_by_hand(mask, share):
    found = energy_on_target(torch.tensor([mask]), TARGET + REST, CELLS)
    assert found.item() == pytest.approx(share, abs=1e-12)
    assert energy_on_target(0.1 * torch.tensor([mask]), TARGET + REST, CELLS).item() == pytest.approx(
        share, abs=1e-6
    )


@pytest.mark.parametrize(
    ("mask", "hits"),
    [
        ([[0.1, 0.2], [0.3, 0.9]], 1.0),
        ([[0.1, 0.9], [0.3, 0.2]], 0.0),
        ([[1.0, 1.0], [0.0, 0.0]], 0.5),  # two equal maxima, one of them on the target
        ([[0.5, 0.5], [0.5, 0.5]], 0.5),
    ],
)
def test_pointing_worked_out_by_hand(mask, hits):
    assert pointing_accuracy(torch.tensor([mask]), CELLS).item() == hits


def test_an_empty_mask_points_nowhere():
    empty = torch.zeros(1, 2, 2)
    assert math.isnan(pointing_accuracy(empty, CELLS).item())
    assert math.isnan(energy_on_target(empty, TARGET + REST, CELLS).item())
