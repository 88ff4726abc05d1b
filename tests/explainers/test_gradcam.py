"""GradCAM and GradCAM++ against a map worked out by hand and a backend whose right explanation is known."""

import pytest
import torch

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.hooks import evaluation_mode, output_as_leaf
from lmaczs.errors import LMACError
from lmaczs.explainers import load_explainer
from lmaczs.explainers.gradcam import GradCAM, GradCAMPlusPlus, class_activation_map
from lmaczs.explainers.gradients import grid_levels, stretch
from lmaczs.hearing import make_target
from lmaczs.signal.audio import tile_to_length
from lmaczs.signal.spectral import frequencies_hz, mel_to_bins

METHODS = pytest.mark.parametrize("method", [GradCAM, GradCAMPlusPlus], ids=lambda method: method.entry.name)

# Two channels of 2 x 2.  S = 1 + 0 + 1 + 2 = 4 for channel 0 and 2 for channel 1.
ACTIVATION = torch.tensor([[[[1.0, 0.0], [1.0, 2.0]], [[2.0, 0.0], [0.0, 0.0]]]])
GRADIENT = torch.tensor([[[[0.5, 0.0], [-1.0, 1.0]], [[-0.25, 0.0], [1.0, 0.0]]]])


def one_window(backend: CLAPBackend, clip) -> torch.Tensor:
    return tile_to_length(clip.waveform, backend.clip_samples).unsqueeze(0)


def attribute(method, backend, waveform, prompt="a beep", **options):
    audio = backend.analyze(waveform)
    return method(backend, **options).map_windows(audio, make_target(backend, prompt)).values


def test_gradcam_of_two_channels_is_the_map_worked_out_by_hand(debug_backend):
    # mean gradients: (.5 - 1 + 1) / 4 = .125 and (-.25 + 1) / 4 = .1875
    # map: .125 * [1 0; 1 2] + .1875 * [2 0; 0 0] = [.5 0; .125 .25]
    cam = class_activation_map(ACTIVATION, GRADIENT, GradCAM(debug_backend).channel_weights)
    assert cam.tolist() == [[[0.5, 0.0], [0.125, 0.25]]]


def test_gradcam_plus_plus_of_two_channels_is_the_map_worked_out_by_hand(debug_backend):
    # For G > 0 alpha = 1 / (2 + S G).  Channel 0: alpha(.5) = 1/4, alpha(1) = 1/6, weight .125 + 1/6 =
    # .291667. Channel 1: alpha(1) = 1/4, weight .25.  Map: .291667 * [1 0; 1 2] + .25 * [2 0; 0 0].
    # (Summing A G^3 cell by cell instead, a known bug, gives .5 / 2.5 + 1 / 4 = .45 for channel 0.)
    weights = GradCAMPlusPlus(debug_backend).channel_weights(ACTIVATION, GRADIENT)
    assert weights[0].tolist() == pytest.approx([0.125 + 1 / 6, 0.25], rel=1e-5)
    cam = class_activation_map(ACTIVATION, GRADIENT, GradCAMPlusPlus(debug_backend).channel_weights)
    assert cam[0].flatten().tolist() == pytest.approx([0.791667, 0.0, 0.291667, 0.583333], rel=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1e-3])
def test_tiny_gradients_of_a_cosine_do_not_drown_in_the_epsilon(debug_backend, scale):
    # As G becomes small, alpha tends to 1/2 and the weights to half the sum of positive gradients. With an
    # absolute epsilon of 1e-6 they would tend to a sum of cubes, and the stronger channel would take
    # everything.
    method = GradCAMPlusPlus(debug_backend)
    weights = method.channel_weights(ACTIVATION, GRADIENT * scale) / scale
    assert weights[0].tolist() == pytest.approx([0.75, 0.5], rel=5e-3)


def test_target_scale_hardly_changes_gradcam_plus_plus(debug_backend, make_beep):
    class Scaled(GradCAMPlusPlus):
        scale = 1.0

        def _activation_and_gradient(self, power, audio, target):
            activation, gradient = super()._activation_and_gradient(power, audio, target)
            return activation, gradient * self.scale

    waveform = torch.cat([one_window(debug_backend, make_beep(seed=seed)) for seed in range(4)])
    reference = attribute(Scaled, debug_backend, waveform).flatten(1)
    assert bool((reference.amax(1) > 0).all())
    for scale in (0.01, 0.1, 10.0):
        other = type("Other", (Scaled,), {"scale": scale})
        scaled = attribute(other, debug_backend, waveform).flatten(1)
        assert torch.cosine_similarity(reference, scaled).min() > 0.98


@METHODS
@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_mass_lies_inside_the_planted_box(planted_backend, beep_in_noise, method, domain):
    waveform = one_window(planted_backend, beep_in_noise)
    mask = attribute(method, planted_backend, waveform, domain=domain)[0]
    rows = planted_backend.box_bins if domain == "stft" else planted_backend.box_mels
    box = mask[rows, planted_backend.box_frames]
    assert mask.shape == ((257, 101) if domain == "stft" else (32, 101))
    share_of_cells = box.numel() / mask.numel()
    # A cell of the deepest map is 8 frames x 8 bands, so interpolation spreads half a cell over each edge of
    # the box of 4 x 1 cells.
    assert box.sum() / mask.sum() > 5 * share_of_cells
    assert mask.argmax().item() // mask.shape[1] in range(rows.start, rows.stop)
    assert mask.argmax().item() % mask.shape[1] in range(*planted_backend.box_frames.indices(101))


@METHODS
def test_layer_is_a_choice_and_the_last_one_is_the_default(debug_backend, beep_in_noise, method):
    waveform = one_window(debug_backend, beep_in_noise)
    last = list(debug_backend.cam_layers)[-1]
    default = attribute(method, debug_backend, waveform)
    assert method(debug_backend).layer is None
    assert torch.equal(default, attribute(method, debug_backend, waveform, layer=last))
    assert not torch.equal(default, attribute(method, debug_backend, waveform, layer="block2"))
    with pytest.raises(LMACError, match="'block9'.*'block2'"):
        method(debug_backend, layer="block9")


def test_low_mel_bands_stay_at_low_frequencies(debug_backend):
    # A map that is 1 in the lowest quarter of the mel bands must end, on the linear axis, where those bands
    # end; a plain resize would put its edge at a quarter of 8 kHz.
    filters = debug_backend.mel_filters
    mel_map = torch.zeros(len(filters), 1)
    mel_map[:8] = 1.0
    bins = (mel_to_bins(filters) @ mel_map)[:, 0]
    frequency = frequencies_hz(debug_backend.spectral)
    band_edge = frequency[filters[7].nonzero().max()].item()  # 782 Hz here
    half = frequency[(bins >= 0.5).nonzero().max()].item()
    assert 500 < half <= band_edge < 1000
    assert bins[0] == 1.0 and bins[-1] == 0.0


@METHODS
def test_values_are_positive_and_as_large_as_they_come(debug_backend, make_beep, method):
    """Nothing divides a window by its own maximum: windows of a recording are compared with each other."""
    waveform = torch.cat([one_window(debug_backend, make_beep(seed=seed)) for seed in range(3)])
    values = attribute(method, debug_backend, waveform)
    assert values.dtype == torch.float32 and float(values.min()) >= 0
    largest = values.amax(dim=(1, 2))
    assert len(set(largest.tolist())) == 3 and float(largest.min()) > 0
    alone = attribute(method, debug_backend, waveform[1:2])
    torch.testing.assert_close(values[1] / largest[1], alone[0] / largest[1], atol=1e-4, rtol=0)


@METHODS
@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_attributing_levels_is_attributing_the_window(debug_backend, beep_in_noise, method, domain):
    """The way that noisy copies take: levels in decibels, back to mel power, then the same map."""
    audio = debug_backend.analyze(one_window(debug_backend, beep_in_noise))
    target = make_target(debug_backend, "a beep")
    explainer = method(debug_backend, domain)
    expected = explainer.map_windows(audio, target).values
    found, error = explainer.attribute_levels(grid_levels(debug_backend, audio, domain), audio, target)
    scale = float(expected.max())
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-3, rtol=0)
    assert error is None


def test_hooks_and_flags_are_restored_after_an_exception(debug_backend, beep_in_noise):
    class Failing(GradCAM):
        def channel_weights(self, activation, gradient):
            raise RuntimeError("planned")

    with pytest.raises(RuntimeError, match="planned"):
        attribute(Failing, debug_backend, one_window(debug_backend, beep_in_noise))

    layer = torch.nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="inside"), output_as_leaf(layer):
        raise RuntimeError("inside")
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout().eval())
    with pytest.raises(RuntimeError, match="inside"), evaluation_mode(model):
        assert not model[0].training
        raise RuntimeError("inside")
    assert not layer._forward_hooks
    assert [module.training for module in model.modules()] == [True, True, False]
    assert not any(module._forward_hooks for module in debug_backend.modules())


def test_leaf_carries_the_gradient_of_what_comes_after():
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    with output_as_leaf(first) as outputs:
        score = second(first(torch.ones(1, 2))).sum()
    (gradient,) = torch.autograd.grad(score, outputs[0])
    assert torch.equal(gradient, second.weight)


def test_stretched_cells_keep_their_true_width():
    # 11 frames pooled by 4 give 2 cells with centres at frames 1.5 and 5.5; frames 8-10 were dropped by the
    # pooling.
    stretched = stretch(torch.tensor([[0.0, 1.0]]), 11, dim=1)
    assert stretched[0].tolist() == pytest.approx([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1, 1])


def test_cells_that_are_no_pooled_pairs_share_the_whole_axis():
    # 10 frames in 4 cells is no pooling by two (that would leave 2 or 5): cells are 2.5 frames wide, centres
    # .75 3.25 ...
    stretched = stretch(torch.arange(4.0).unsqueeze(0), 10, dim=1)[0]
    assert stretched.tolist() == pytest.approx([0, 0.1, 0.5, 0.9, 1.3, 1.7, 2.1, 2.5, 2.9, 3.0])


@pytest.mark.parametrize("length", [1, 3, 8])
def test_a_single_cell_stretches_to_a_constant(length):
    assert (
        stretch(torch.full((2, 1, 3), 0.5), length, dim=1).tolist()
        == torch.full((2, length, 3), 0.5).tolist()
    )


def test_registry_gives_gradcam_plus_plus(debug_backend):
    explainer = load_explainer("grad-cam++", debug_backend)
    assert isinstance(explainer, GradCAMPlusPlus)
    assert (explainer.name, explainer.label, explainer.domain) == ("grad-cam++", "GradCAM++", "stft")
