"""SI-SDR against signals whose parts are orthogonal, so that the ratio is known."""

import math

import pytest
import torch

from lmaczs.metrics.localisation import LIMIT_DB, si_sdr, si_sdr_improvement

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
