"""The encoder: sizes of its maps, and gradients that finite differences confirm."""

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
    step = gradient / gradient.norm()
    with torch.no_grad():
        # Steps so long that differences are far above the rounding of float32, of fourth order so that they may be.
        near, far = (score(log_power + h * step) - score(log_power - h * step) for h in (0.2, 0.4))
        slope = (8 * near - far) / (12 * 0.2)
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=0.02)


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
