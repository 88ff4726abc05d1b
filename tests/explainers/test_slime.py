"""SLIME: its segments, its samples, its regression, and a linear model that it must find again."""

import pytest
import torch

from lmaczs.explainers import load_explainer
from lmaczs.explainers.base import PASSES_AT_ONCE
from lmaczs.explainers.perturbing import to_grid
from lmaczs.explainers.slime import fit_ridge, random_halves, segments


def test_segments_tile_the_grid_evenly():
    found = segments(64, 251, 4, 6)
    assert found.unique().tolist() == list(range(24))
    sizes = found.flatten().bincount()
    assert sizes.max() <= 16 * 42 and sizes.min() >= 16 * 41
    assert found[0, 0] == 0 and found[0, -1] == 5 and found[-1, 0] == 18 and found[-1, -1] == 23


def test_samples_are_fair_and_the_first_is_the_whole():
    kept = random_halves(1000, 24, 3)
    assert kept[0].tolist() == [1.0] * 24 and set(kept.unique().tolist()) == {0.0, 1.0}
    assert float(kept.mean()) == pytest.approx(0.5, abs=0.02)
    assert torch.equal(kept, random_halves(1000, 24, 3)) and not torch.equal(kept, random_halves(1000, 24, 4))


def test_the_regression_solves_the_weighted_normal_equations():
    """Written out once more: the kernel from LIME's formula, the ridge without the intercept."""
    kept = random_halves(300, 6, 0)
    scores = torch.randn(300, generator=torch.Generator().manual_seed(0)) + kept @ torch.arange(6.0)
    cosine = kept.double().sum(1) / (kept.double().sum(1).sqrt() * 6**0.5).clamp_min(1e-12)
    kernel = (-((1 - cosine) ** 2) / 0.25**2).exp().sqrt()
    design = torch.cat([kept.double(), torch.ones(300, 1, dtype=torch.float64)], dim=1)
    ridge = torch.diag(torch.tensor([1.0] * 6 + [0.0], dtype=torch.float64))
    left = design.T @ (kernel[:, None] * design) + ridge
    right = design.T @ (kernel * scores.double())
    expected = torch.linalg.solve(left, right)[:6].float()
    torch.testing.assert_close(fit_ridge(kept, scores, 1.0, 0.25), expected, atol=1e-5, rtol=0)


def test_a_linear_model_is_found_again():
    weight = torch.tensor([2.0, -1.0, 0.0, 0.5])
    kept = random_halves(500, 4, 0)
    found = fit_ridge(kept, kept @ weight + 3.0, 1e-4, 0.25)
    torch.testing.assert_close(found, weight, atol=1e-3, rtol=0)


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_every_cell_has_the_value_of_its_segment(debug_backend, window, target, domain):
    def values(domain):
        method = load_explainer("slime", debug_backend, domain, n=60, rows=2, columns=3)
        return method.map_windows(window, target).values[0]

    mel = values("mel")
    segment = segments(*window.mel_power[0].shape, 2, 3)
    if domain == "mel":
        assert all(len(mel[segment == number].unique()) == 1 for number in range(6))
        assert len(mel.unique()) == 6
    else:
        # Scored on the same samples, but through the STFT's cells: nearly the same weights.
        torch.testing.assert_close(
            values("stft"), to_grid(debug_backend, mel, "stft"), atol=0.1 * float(mel.abs().max()), rtol=0
        )


def test_samples_and_seed_count_and_memory_does_not(debug_backend, window, target, monkeypatch):
    batches = []
    encode = debug_backend.encode
    monkeypatch.setattr(debug_backend, "encode", lambda mel: batches.append(len(mel)) or encode(mel))

    def values(**options):
        method = load_explainer("slime", debug_backend, "mel", n=50, **options)
        return method.map_windows(window, target).values

    first = values()
    assert sum(batches) == 50 and max(batches) == PASSES_AT_ONCE
    assert torch.equal(first, values(seed=0))
    assert not torch.equal(first, values(seed=1))
