"""The encoder: sizes of its maps, and gradients that finite differences confirm."""

from copy import deepcopy

import pytest
import torch

from lmaczs.clap.band_norm import normalise_bands
from lmaczs.clap.cnn14 import CNN14, Projection


def test_hidden_maps_are_those_of_the_four_deepest_blocks_in_time_order():
    encoder = CNN14((8, 8, 16, 16, 24, 32), n_mels=64, embed_width=12).eval()
    log_mel = torch.zeros(1, 64, 320)
    log_mel[:, :, 240:] = 30.0  # sound in the last quarter only
    features, hidden = encoder(log_mel)
    assert features.shape == (1, 12)
    assert [level.shape for level in hidden] == [
        (1, 16, 40, 8), (1, 16, 20, 4), (1, 24, 10, 2), (1, 32, 10, 2),
    ]  # fmt: skip
    quiet, loud = hidden[0][:, :, 5:25].mean(), hidden[0][:, :, 33:].mean()
    assert (quiet - loud).abs() > 1e-4


@pytest.mark.parametrize("seed", [0, 1])
def test_gradient_with_respect_to_the_sound_agrees_with_finite_differences(debug_backend, seed):
    """Guards against a wrong backward: explanations and decoders rest on this gradient."""
    generator = torch.Generator().manual_seed(seed)
    frames = 1 + debug_backend.clip_samples // debug_backend.spectral.hop_length
    log_power = torch.randn(2, debug_backend.spectral.n_mels, frames, generator=generator)
    direction = torch.randn(2, debug_backend.embed_dim, generator=generator)

    def score(log_power):
        return (debug_backend.encode(log_power.exp())[0] * direction).sum()

    point = log_power.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(point), point)
    exact = deepcopy(debug_backend).double()
    point = log_power.double().requires_grad_(True)

    def exact_score(log_power):
        return (exact.encode(log_power.exp())[0] * direction).sum()

    (wanted,) = torch.autograd.grad(exact_score(point), point)
    assert (gradient - wanted).norm() < 1e-3 * wanted.norm()
    step = wanted / wanted.norm()
    with torch.no_grad():
        # So short that hardly a unit is switched on or off on the way.
        slope = (exact_score(point + 1e-6 * step) - exact_score(point - 1e-6 * step)) / 2e-6
    assert slope.item() == pytest.approx(wanted.norm().item(), rel=1e-3)


def test_evaluation_mode_normalises_as_the_batch_norm_module_does():
    encoder = CNN14((4, 4, 4, 4), n_mels=8, embed_width=4)
    encoder.bn0.running_mean.normal_()
    encoder.bn0.running_var.uniform_(0.5, 3)
    encoder.eval()
    log_mel = torch.randn(2, 8, 40)
    expected = encoder.bn0(log_mel.unsqueeze(-1)).squeeze(-1)
    assert torch.allclose(normalise_bands(encoder.bn0, log_mel), expected, atol=1e-5)


def test_projection_follows_its_formula():
    torch.manual_seed(0)
    projection = Projection(6, 4).eval()
    features = torch.randn(3, 6)
    first = features @ projection.linear1.weight.T
    gelu = 0.5 * first * (1 + torch.erf(first / 2**0.5))
    summed = first + gelu @ projection.linear2.weight.T
    centred = summed - summed.mean(1, keepdim=True)
    expected = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(projection(features), expected, atol=1e-5)
