"""L2I (Algorithm 2): soft masks and gains by hand, lanes that add up, networks and losses."""

import math
from dataclasses import replace

import pytest
import torch

from lmaczs.explainers.l2i.explainer import interpreter_config
from lmaczs.explainers.l2i.interpretation import (
    choose,
    gain_of_share,
    log_magnitude,
    relevance_of,
    share_of,
    soft_masks,
)
from lmaczs.explainers.l2i.loss import fidelity_loss, logit_loss, reconstruction_loss, sparsity_loss
from lmaczs.explainers.l2i.networks import Psi

# --- Algorithm 2


def test_relevance_by_hand():
    contribution = torch.tensor([[2.0, -4.0, 1.0], [-1.0, -2.0, -4.0], [0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.5, -1.0, 0.25], [-0.25, -0.5, -1.0], [0.0, 0.0, 0.0]])
    assert torch.equal(relevance_of(contribution), expected)
    released = relevance_of(contribution, released=True)
    assert released[0].tolist() == [1.0, -2.0, 0.5]
    # All against the class: the plain maximum turns the signs.
    assert released[1].tolist() == [1.0, 2.0, 4.0]


def test_components_above_the_threshold_are_chosen_and_no_more_than_some():
    relevance = torch.tensor([[0.4, 0.8, 0.7, 0.6, 0.5, 0.9, 0.1]])
    assert choose(relevance, 0.3, 12)[0].tolist() == [True] * 6 + [False]
    assert choose(relevance, 0.3, 5)[0].tolist() == [False] + [True] * 5 + [False]


def test_soft_masks_sum_to_one_and_follow_the_model():
    dictionary = torch.tensor([[0.6, 0.0], [0.8, 1.0]])
    activations = torch.tensor([[[1.0, 0.0], [2.0, 3.0]]])
    masks = soft_masks(dictionary, activations)
    # Frame 0, bin 1: 0.8 * 1 of 0.8 + 1 * 2. Frame 1, bin 0: the model has nothing there, so nobody has a share.
    assert masks[0, :, 1, 0].tolist() == pytest.approx([0.8 / 2.8, 2 / 2.8])
    assert masks[0, :, 0, 0].tolist() == [1.0, 0.0] and masks[0, :, 0, 1].tolist() == [0.0, 0.0]
    assert masks.sum(1)[0].tolist() == [[1.0, 0.0], [1.0, 1.0]]


def test_a_share_of_the_logarithm_as_a_factor_on_the_magnitude():
    # |S| = 8, and silence.
    log_mag = torch.tensor([[[math.log(9.0), 0.0]]])
    half = torch.full_like(log_mag, 0.5)
    # exp(ln 9 / 2) - 1 = 2, a quarter of 8; where there is nothing, the share itself.
    assert gain_of_share(half, log_mag)[0, 0].tolist() == pytest.approx([0.25, 0.5], abs=1e-5)


def test_lanes_add_up_to_the_paper_s_interpretation_at_every_threshold(l2i, windows, target):
    activations, contribution = l2i.decompose(windows, target)
    relevance = l2i.relevance(contribution)
    log_mag = log_magnitude(windows.stft)
    for row in range(3):
        order = relevance[row].argsort(descending=True)
        gains = l2i.lane_gains(windows.stft[row], activations[row], order)
        assert float(gains.min()) >= 0 and float(gains.sum(0).max()) <= 1 + 1e-5
        masks = soft_masks(l2i.patterns, activations[row : row + 1])[0]
        # X_int = sum X_k, then back from the logarithm (Algorithm 2).
        for count in range(1, len(order) + 1):
            heard = torch.expm1(masks[order[:count]].sum(0) * log_mag[row])
            expected = heard / torch.expm1(log_mag[row]).clamp_min(1e-12)
            torch.testing.assert_close(gains[:count].sum(0), expected, atol=1e-4, rtol=0)


def test_removal_takes_the_share_out_of_the_logarithm(l2i, windows, target):
    """X2 = X - sum X_l, section 4.1."""
    activations, contribution = l2i.decompose(windows, target)
    chosen = l2i.chosen(l2i.relevance(contribution))
    log_mag = log_magnitude(windows.stft)
    share = share_of(l2i.patterns, activations, chosen)
    left = l2i.removal_gain(windows, activations, chosen) * torch.expm1(log_mag)
    torch.testing.assert_close(left, torch.expm1(log_mag - share * log_mag), atol=1e-3, rtol=1e-4)
    everything = l2i.removal_gain(windows, activations, torch.ones_like(chosen))
    assert float(everything.max()) < 1e-5


def test_a_louder_copy_has_the_same_log_magnitude(debug_backend, make_beep):
    waveform = make_beep().waveform[None]
    quiet, loud = (debug_backend.analyze(waveform * factor).stft for factor in (0.01, 1.0))
    torch.testing.assert_close(log_magnitude(quiet), log_magnitude(loud), atol=1e-4, rtol=0)
    assert not log_magnitude(torch.zeros_like(quiet)).any()


# --- networks and losses


@pytest.mark.parametrize("pooling", ["attention", "max"])
@pytest.mark.parametrize("classes", [None, 4])
def test_contributions_sum_to_the_logit(debug_backend, windows, fresh_interpreter, pooling, classes):
    interpreter = fresh_interpreter(classes, pooling)
    text = debug_backend.encode_text(("a beep", "rain", "a dog")).embedding
    prompts = text if classes is None else torch.tensor([2, 0, 3])
    activations, pooled = interpreter(windows.hidden)
    assert activations.shape == (3, 9, windows.stft.shape[2]) and float(activations.min()) >= 0
    logits = interpreter.logits(pooled, prompts)
    for prompt in range(3):
        contribution = pooled * interpreter.theta.class_weights(prompts)[prompt]
        torch.testing.assert_close(contribution.sum(1), logits[:, prompt])
    if pooling == "max":
        assert torch.equal(pooled, activations.amax(2))
    else:
        # A weighted mean over time.
        assert bool((pooled <= activations.amax(2) + 1e-6).all())


@pytest.mark.parametrize("sizes", [((17, 9), (8, 4), (4, 2), (4, 2)), ((8, 8), (16, 4), (32, 2), (64, 1))])
def test_psi_fits_maps_of_any_size(debug_backend, sizes):
    config = replace(interpreter_config(debug_backend, 5), hidden_channels=(3, 4, 5, 6), frames=71)
    maps = tuple(torch.randn(2, c, *size) for c, size in zip(config.hidden_channels, sizes, strict=True))
    assert Psi(config)(maps).shape == (2, 5, 71)


def test_losses_by_hand():
    logits = torch.tensor([[math.log(3.0), 0.0]])
    # Theta says 3/4 and 1/4: -(.5 ln .75 + .5 ln .25) = .8370; independent: sigmoid is .75 and .5.
    decision = torch.tensor([[0.5, 0.5]])
    assert fidelity_loss(logits, decision).item() == pytest.approx(0.8370, abs=1e-4)
    both = -(0.5 * math.log(0.75) + 0.5 * math.log(0.25) + math.log(0.5)) / 2
    assert fidelity_loss(logits, decision, multi_label=True).item() == pytest.approx(both, abs=1e-4)
    # Differences 1 and 3 less their mean: -1 and 1.
    assert logit_loss(torch.tensor([[1.0, 3.0]]), torch.zeros(1, 2)).item() == pytest.approx(1.0)
    generator = torch.Generator().manual_seed(0)
    dictionary, spectra = torch.rand(6, 3, generator=generator), torch.rand(2, 6, 5, generator=generator)
    active = torch.rand(2, 3, 5, generator=generator)
    found = reconstruction_loss(dictionary, active, dictionary.T @ spectra, spectra.square().sum((1, 2)))
    assert found.item() == pytest.approx((spectra - dictionary @ active).square().mean().item(), rel=1e-4)
    assert sparsity_loss(torch.tensor([1.0, 3.0])).item() == 2.0
