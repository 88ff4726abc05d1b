"""GradCAM and GradCAM++ against a map worked out by hand and a backend whose right explanation is known."""

import pytest
import torch

from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import LMACError
from lmaczs.explainers import load_explainer
from lmaczs.explainers.gradcam import GradCAM, GradCAMPlusPlus, class_activation_map, stretch
from lmaczs.explainers.hooks import evaluation_mode, output_as_leaf
from lmaczs.signal.audio import tile_to_length
from lmaczs.signal.spectral import frequencies_hz, mel_to_bins

METHODS = pytest.mark.parametrize("method", [GradCAM, GradCAMPlusPlus], ids=lambda method: method.name)

# Two channels of 2 x 2.  S = 1 + 0 + 1 + 2 = 4 for channel 0 and 2 for channel 1.
ACTIVATION = torch.tensor([[[[1.0, 0.0], [1.0, 2.0]], [[2.0, 0.0], [0.0, 0.0]]]])
GRADIENT = torch.tensor([[[[0.5, 0.0], [-1.0, 1.0]], [[-0.25, 0.0], [1.0, 0.0]]]])


def window(backend: CLAPBackend, clip) -> torch.Tensor:
    return tile_to_length(clip.waveform, backend.clip_samples).unsqueeze(0)


def explain(method, backend, waveform, prompts, **options):
    return method(backend, **options).masks(backend.analyze(waveform), backend.encode_text(prompts))


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

        def _activation_and_gradient(self, audio, text):
            activation, gradient = super()._activation_and_gradient(audio, text)
            return activation, gradient * self.scale

    waveform = torch.cat([window(debug_backend, make_beep(seed=seed)) for seed in range(4)])
    audio, text = debug_backend.analyze(waveform), debug_backend.encode_text(["a beep"] * 4)
    reference = Scaled(debug_backend).masks(audio, text).flatten(1)
    assert (reference.amax(1) == 1).all()
    for scale in (0.01, 0.1, 10.0):
        method = Scaled(debug_backend)
        method.scale = scale
        scaled = method.masks(audio, text).flatten(1)
        assert torch.cosine_similarity(reference, scaled).min() > 0.98


@METHODS
@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_mass_lies_inside_the_planted_box(planted_backend, beep_in_noise, method, domain):
    mask = explain(
        method, planted_backend, window(planted_backend, beep_in_noise), ["a beep"], domain=domain
    )[0]
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
    waveform = window(debug_backend, beep_in_noise)
    last = list(debug_backend.cam_layers)[-1]
    default = explain(method, debug_backend, waveform, ["a beep"])
    assert method(debug_backend).layer == last
    assert torch.equal(default, explain(method, debug_backend, waveform, ["a beep"], layer=last))
    assert not torch.equal(default, explain(method, debug_backend, waveform, ["a beep"], layer="block2"))
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
def test_shape_and_normalisation_of_the_mask(debug_backend, make_beep, method):
    waveform = torch.cat([window(debug_backend, make_beep(seed=seed)) for seed in range(3)])
    masks = explain(method, debug_backend, waveform, ["a beep", "rain", "a dog"])
    frames = 1 + debug_backend.clip_samples // debug_backend.spectral.hop_length
    assert masks.shape == (3, debug_backend.spectral.n_bins, frames)
    assert masks.dtype == torch.float32
    assert masks.min() >= 0
    # 1, or 0 where no channel speaks for the prompt
    assert set(masks.amax(dim=(1, 2)).tolist()) <= {0.0, 1.0}
    assert masks.amax() == 1.0


@METHODS
def test_batch_equals_singles(debug_backend, make_beep, method):
    waveform = torch.cat([window(debug_backend, make_beep(seed=seed)) for seed in range(3)])
    prompts = ["a beep", "rain", "a dog"]
    together = explain(method, debug_backend, waveform, prompts)
    for index in range(3):
        alone = explain(method, debug_backend, waveform[index : index + 1], [prompts[index]])
        assert torch.allclose(together[index], alone[0], atol=1e-5)


@METHODS
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_works_where_gradients_are_off_and_is_the_same_bit_for_bit(
    debug_backend, beep_in_noise, method, context
):
    waveform = window(debug_backend, beep_in_noise)
    expected = explain(method, debug_backend, waveform, ["a beep"])
    with context():
        found = explain(method, debug_backend, waveform, ["a beep"])
    assert torch.equal(expected, found)


@METHODS
def test_the_backend_is_left_as_it_was(debug_backend, beep_in_noise, method):
    waveform = window(debug_backend, beep_in_noise)
    audio, text = debug_backend.analyze(waveform), debug_backend.encode_text(["a beep"])
    weights = {name: value.clone() for name, value in debug_backend.state_dict().items()}
    mel_power = audio.mel_power.clone()
    dropout = next(iter(debug_backend.audio_projection.children()))
    dropout.train()
    try:
        method(debug_backend).masks(audio, text)
        assert dropout.training and not debug_backend.training
    finally:
        dropout.eval()
    assert all(torch.equal(value, weights[name]) for name, value in debug_backend.state_dict().items())
    assert all(not weight.requires_grad and weight.grad is None for weight in debug_backend.parameters())
    assert torch.equal(audio.mel_power, mel_power) and not audio.mel_power.requires_grad
    assert not any(module._forward_hooks for module in debug_backend.modules())


def test_hooks_and_flags_are_restored_after_an_exception(debug_backend, beep_in_noise):
    class Failing(GradCAM):
        def channel_weights(self, activation, gradient):
            raise RuntimeError("planned")

    audio = debug_backend.analyze(window(debug_backend, beep_in_noise))
    with pytest.raises(RuntimeError, match="planned"):
        Failing(debug_backend).masks(audio, debug_backend.encode_text(["a beep"]))

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
