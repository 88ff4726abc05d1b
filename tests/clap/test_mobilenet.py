"""The AudioSet MobileNet: what the published weights give, four maps, and its front end worked out by hand."""

import copy
import math

import pytest
import torch
from published_mobilenet import published_scores, published_state
from torch import nn

from lmaczs.clap.htk_mel import band_centres_hz, centred_window, htk_filterbank, to_mel
from lmaczs.clap.mobilenet import HIDDEN_AFTER, ConvNorm, MobileNet, from_published
from lmaczs.signal.spectral import SpectralConfig, mel_to_bins, power_of, stft

GRID = SpectralConfig(32000, 1024, 320, 128, 0.0, 15000.0, window=centred_window(800, 1024))


@pytest.fixture(scope="module")
def pair():
    """A network with random published weights, and those weights."""
    state = published_state()
    network = MobileNet().eval()
    network.load_state_dict(from_published(state), strict=True)
    return network, state


def test_it_gives_what_the_table_says(pair):
    network, state = pair
    log_mel = torch.randn(2, 128, 101, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        scores, features, hidden = network(log_mel)
        expected, maps = published_scores(state, log_mel)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)
    assert features.shape == (2, 512)
    for own, published in zip(hidden, maps, strict=True):
        torch.testing.assert_close(own, published.transpose(2, 3), atol=1e-4, rtol=1e-4)


def test_maps_lie_at_strides_4_8_16_32_with_the_channels_that_it_promises(pair):
    _, _, hidden = pair[0](torch.zeros(1, 128, 501))
    assert [tuple(level.shape[1:]) for level in hidden] == [
        (16, 126, 32), (16, 63, 16), (48, 32, 8), (384, 16, 4)
    ]  # fmt: skip
    assert tuple(level.shape[1] for level in hidden) == pair[0].hidden_channels
    assert list(pair[0].cam_layers) == [*(f"block{number}" for number in HIDDEN_AFTER), "last"]


def test_a_missing_or_strange_weight_is_not_passed_over(pair):
    state = dict(pair[1])
    del state["features.4.block.2.conc_se_layers.0.fc1.bias"]
    with pytest.raises(RuntimeError, match="blocks.3.excite.squeeze.bias"):
        MobileNet().load_state_dict(from_published(state), strict=True)
    with pytest.raises((KeyError, IndexError)):
        from_published(pair[1] | {"classifier.7.weight": torch.zeros(1)})


def test_gradient_agrees_with_finite_differences(pair):
    """Along the gradient itself, in double precision."""
    network = MobileNet().eval().double()
    network.load_state_dict(pair[0].state_dict())
    point = torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(2)).double().requires_grad_()

    def score(value):
        return network.classes(network(value)[1])[0, :5].sum()

    (gradient,) = torch.autograd.grad(score(point), point)
    step = 1e-4 * gradient / gradient.norm()
    with torch.no_grad():
        slope = (score(point + step) - score(point - step)) / 2e-4
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=1e-3)


def test_mel_scale_and_triangles_by_hand():
    """1127 ln(1 + 700 / 700) = 781.2; 129 steps of 3505 / 129 mel from 0 to 15 kHz."""
    assert to_mel(torch.tensor(700.0)).item() == pytest.approx(1127 * math.log(2))
    centres = band_centres_hz(GRID)
    spacing = to_mel(centres).diff()
    torch.testing.assert_close(
        spacing, torch.full_like(spacing, 1127 * math.log1p(15000 / 700) / 129), atol=0.01, rtol=0
    )
    plain = htk_filterbank(GRID, pre_emphasis=0.0)
    assert plain.shape == (128, 513) and float(plain[:, -1].abs().max()) == 0.0
    # Between the outer centres neighbouring triangles add up to 1.
    hertz = torch.arange(513) * 31.25
    inside = (hertz > centres[0]) & (hertz < centres[-1])
    torch.testing.assert_close(plain[:, inside].sum(0), torch.ones(int(inside.sum())), atol=1e-5, rtol=0)


def test_pre_emphasis_in_the_filters_is_that_of_the_waveform():
    """White noise, emphasised before the STFT or inside the filters: the same mel power, but for window edges."""
    noise = torch.randn(1, 32000, generator=torch.Generator().manual_seed(0))
    emphasised = torch.cat([noise[:, :1], noise[:, 1:] - 0.97 * noise[:, :-1]], dim=1)
    inside = htk_filterbank(GRID) @ power_of(stft(noise, GRID))
    before = htk_filterbank(GRID, pre_emphasis=0.0) @ power_of(stft(emphasised, GRID))
    difference = (inside[:, :, 2:-2].log() - before[:, :, 2:-2].log()).abs()
    assert float(difference.median()) < 0.01


def test_the_window_is_symmetric_and_in_the_middle():
    window = torch.tensor(GRID.window)
    assert torch.equal(window, window.flip(0)) and float(window[:112].abs().max()) == 0.0
    assert float(window.max()) == pytest.approx(1.0, abs=1e-5)


def test_bands_that_share_a_bin_still_have_a_way_back_to_bins():
    """The two lowest bands hold bin 1 alone; rows of the weights sum to 1."""
    weights = mel_to_bins(htk_filterbank(GRID))
    torch.testing.assert_close(weights.sum(1), torch.ones(513))


@pytest.fixture
def layer():
    """As a release leaves it: frozen, with statistics of its own."""
    torch.manual_seed(0)
    made = ConvNorm((4, 6), kernel=3, stride=2)
    for value in (made.norm.weight, made.norm.bias, made.norm.running_mean):
        nn.init.normal_(value)
    nn.init.uniform_(made.norm.running_var, 0.5, 2)
    return made.eval().requires_grad_(False)


def apart(layer, maps):
    return layer.norm(layer.conv(maps))


def retrained(layer):
    layer.load_state_dict({name: 2 * value for name, value in layer.state_dict().items()})


def measured(layer):
    """As the sanity checks do: the norm alone takes its statistics anew."""
    layer.norm.training, layer.norm.momentum = True, 1.0
    layer(3 * torch.randn(2, 4, 20, 16))
    layer.norm.training = False


def scaled(layer):
    with torch.no_grad():
        layer.norm.weight.mul_(3)


@pytest.mark.parametrize("change", [retrained, measured, scaled, nn.Module.double])
def test_convolution_and_norm_in_one_follow_every_change(layer, change):
    maps = torch.randn(2, 4, 20, 16)
    with torch.inference_mode():
        layer(maps)
    torch.testing.assert_close(layer(maps), apart(layer, maps), atol=1e-5, rtol=1e-5)
    before = layer(maps)
    change(layer)
    maps = maps.to(layer.conv.weight)
    torch.testing.assert_close(layer(maps), apart(layer, maps), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(layer(maps).float(), before) or change is nn.Module.double
    # A copy goes its own way.
    twin = copy.deepcopy(layer)
    scaled(twin)
    torch.testing.assert_close(twin(maps), apart(twin, maps), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer(maps), apart(layer, maps), atol=1e-5, rtol=1e-5)


def test_weights_that_are_learnt_get_their_gradients(layer):
    layer(torch.randn(1, 4, 20, 16))
    layer.requires_grad_(True)
    layer(torch.randn(1, 4, 20, 16)).sum().backward()
    assert all(value.grad.any() for value in (layer.conv.weight, layer.norm.weight, layer.norm.bias))


def test_the_input_gets_the_gradient_of_both(layer):
    maps = torch.randn(1, 4, 20, 16, requires_grad=True)
    found = [
        torch.autograd.grad(run(maps).square().sum(), maps)[0] for run in (layer, lambda x: apart(layer, x))
    ]
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)
