"""The same numbers as captum and grad-cam where they compute the same thing; what differs on purpose has its name here.

Every comparison gives the public package the very function that our methods take gradients of: levels of the mask's
grid in decibels -> logit of a prompt (or, for occlusion, mel power -> logit).
"""

import pytest
import torch

from lmaczs.explainers import gradcam, load_explainer
from lmaczs.explainers import integrated_gradients as ig
from lmaczs.explainers.gradients import grid_levels, silence_db
from peers import Classifier, grad_cam_package, level_logits

both_domains = pytest.mark.parametrize("domain", ["stft", "mel"])
PROMPT = "a beep"


@pytest.fixture
def pair(windows):
    """Two windows; the target of `conftest.py` is PROMPT."""
    return windows[1:]


def close(ours, theirs):
    """Equal to 1e-4 of the largest value."""
    scale = float(theirs.abs().max())
    assert scale > 0
    torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-4, rtol=0)


@both_domains
def test_saliency_is_captums(debug_backend, pair, target, domain):
    attr = pytest.importorskip("captum.attr")
    levels = grid_levels(debug_backend, pair, domain).requires_grad_()
    theirs = attr.Saliency(level_logits(debug_backend, pair, PROMPT, domain)).attribute(levels, abs=True)
    close(load_explainer("saliency", debug_backend, domain).map_windows(pair, target).values, theirs)


@both_domains
def test_smoothgrad_without_noise_is_captums_noise_tunnel(debug_backend, pair, target, domain):
    """With noise the packages cannot meet: the random numbers differ. Ours averages magnitudes, as this set-up does."""
    attr = pytest.importorskip("captum.attr")
    levels = grid_levels(debug_backend, pair, domain).requires_grad_()
    tunnel = attr.NoiseTunnel(attr.Saliency(level_logits(debug_backend, pair, PROMPT, domain)))
    theirs = tunnel.attribute(levels, nt_type="smoothgrad", nt_samples=3, stdevs=0.0, abs=True)
    method = load_explainer("smoothgrad", debug_backend, domain, n=3, sigma=0)
    close(method.map_windows(pair, target).values, theirs)


@both_domains
def test_integrated_gradients_are_captums_with_its_rule(debug_backend, pair, target, domain, monkeypatch):
    """Ours puts its points denser near silence, which captum cannot; with evenly spaced midpoints they are the same."""
    attr = pytest.importorskip("captum.attr")

    def midpoints(steps):
        return (torch.arange(steps) + 0.5).double() / steps, torch.full((steps,), 1 / steps).double()

    monkeypatch.setattr(ig, "line_rule", midpoints)
    levels = grid_levels(debug_backend, pair, domain)
    silence = torch.full_like(levels, silence_db(debug_backend, domain))
    theirs, delta = attr.IntegratedGradients(level_logits(debug_backend, pair, PROMPT, domain)).attribute(
        levels, silence, n_steps=20, method="riemann_middle", return_convergence_delta=True
    )
    found = load_explainer("integrated-gradients", debug_backend, domain, steps=20).map_windows(pair, target)
    close(found.values, theirs)
    with torch.no_grad():
        change = level_logits(debug_backend, pair, PROMPT, domain)(levels) - level_logits(
            debug_backend, pair, PROMPT, domain
        )(silence)
    # captum sums in float32.
    torch.testing.assert_close(found.completeness_error, (delta / change).abs().float(), atol=5e-4, rtol=0)


def test_occlusion_is_captums_on_the_mel_grid(debug_backend, pair, target):
    """On STFT bins captum would have to lay its patches along Hz; ours lie along the mel axis in both domains."""
    attr = pytest.importorskip("captum.attr")

    def logits(mel_power):
        return target(debug_backend.encode(mel_power)[0])

    method = load_explainer("occlusion", debug_backend, "mel", bands=10, seconds=0.7, overlap=2)
    strides = tuple(cells // 2 for cells in method.size)
    with torch.no_grad():
        theirs = attr.Occlusion(logits).attribute(pair.mel_power, method.size, strides=strides, baselines=0.0)
    close(method.map_windows(pair, target).values, theirs)


@pytest.fixture
def grad_cam():
    try:
        with grad_cam_package() as package:
            yield package
    except ImportError as error:
        pytest.skip(f"grad-cam: {error}")


@pytest.mark.parametrize("layer", ["block2", "block4", "block5"])
@pytest.mark.parametrize(("ours", "theirs"), [("grad-cam", "GradCAM"), ("grad-cam++", "GradCAMPlusPlus")])
def test_cams_are_those_of_the_package_at_the_layer(
    debug_backend, pair, target, grad_cam, ours, theirs, layer, monkeypatch
):
    """Compared at the layer: the package then subtracts the smallest value and stretches the map over both axes alike,
    where ours keeps true cell widths and goes through the mel axis. GradCAM++ of the package adds an absolute 1e-6 in a
    denominator of squared gradients; ours adds a share of the largest, and is given that share here.
    """
    with getattr(grad_cam, theirs)(
        Classifier(debug_backend, [PROMPT, "rain", "a dog"]), [debug_backend.cam_layers[layer]]
    ) as package:
        # Frozen weights give the layer no gradient.
        images = pair.mel_power.detach().unsqueeze(1).requires_grad_()
        targets = [grad_cam.utils.model_targets.ClassifierOutputTarget(0)] * 2
        package(images, targets)
        activation = package.activations_and_grads.activations[0]
        gradient = package.activations_and_grads.gradients[0]
        maps = package.get_cam_image(
            images, debug_backend.cam_layers[layer], targets, activation.numpy(), gradient.numpy()
        )
    method = load_explainer(ours, debug_backend, "mel", layer=layer)
    found_activation, found_gradient = method._activation_and_gradient(pair.mel_power, pair, target)
    close(found_activation, activation)
    close(found_gradient, gradient)
    for row in range(2):
        part = slice(row, row + 1)
        share = 1e-6 / float(found_gradient[part].double().square().max())
        monkeypatch.setattr(gradcam, "RELATIVE_EPSILON", share)
        cam = gradcam.class_activation_map(
            found_activation[part], found_gradient[part], method.channel_weights
        )
        expected = torch.from_numpy(maps[part]).clamp_min(0).float()
        close(cam / cam.max(), expected / expected.max())
