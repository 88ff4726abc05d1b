"""L2I: soft masks and gains by hand, lanes that add up, both vocabularies, and releases."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from lmaczs.errors import CheckpointError, LMACError, PromptError
from lmaczs.explainers import EXPLAINERS, domains_of, load_explainer
from lmaczs.explainers.l2i.explainer import (
    L2I,
    L2IESC50,
    interpreter_config,
    load_interpreter,
    release_config,
)
from lmaczs.explainers.l2i.interpretation import (
    choose,
    gain_of_share,
    log_magnitude,
    relevance_of,
    share_of,
    soft_masks,
)
from lmaczs.explainers.l2i.loss import fidelity_loss, logit_loss, reconstruction_loss, sparsity_loss
from lmaczs.explainers.l2i.networks import Interpreter, Psi
from lmaczs.hub import save_release
from lmaczs.pipeline import explain, explain_clip, open_recording
from lmaczs.types import AudioClip, TextState

COMPONENTS = 9
PROMPTS = ("a beep", "rain", "a dog")


def fresh_interpreter(backend, classes=None, pooling="attention", seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = interpreter_config(backend, COMPONENTS, classes=classes, pooling=pooling)
        dictionary = F.normalize(torch.rand(config.bins, COMPONENTS), dim=0)
        interpreter = Interpreter(config, dictionary)
        interpreter.psi.last.weight.data *= 0.2
        torch.nn.init.constant_(interpreter.psi.last.bias, 0.5)  # so that every component sounds
        weight = interpreter.theta.linear.weight
        if classes is None:  # pairs of opposites: whatever the prompt, some component speaks for it
            weight.data[1::2] = -weight.data[:-1:2]
    return interpreter.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def l2i(debug_backend):
    return L2I(debug_backend, fresh_interpreter(debug_backend))


@pytest.fixture
def states(debug_backend, make_beep):
    waveforms = torch.stack([make_beep(seed=seed).waveform for seed in range(3)])
    return debug_backend.analyze(waveforms), debug_backend.encode_text(PROMPTS)


# --- Algorithm 2


def test_relevance_by_hand():
    contribution = torch.tensor([[2.0, -4.0, 1.0], [-1.0, -2.0, -4.0], [0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.5, -1.0, 0.25], [-0.25, -0.5, -1.0], [0.0, 0.0, 0.0]])
    assert torch.equal(relevance_of(contribution), expected)
    released = relevance_of(contribution, released=True)
    assert released[0].tolist() == [1.0, -2.0, 0.5]
    assert released[1].tolist() == [1.0, 2.0, 4.0]  # all against the class: the plain maximum turns the signs


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
    log_mag = torch.tensor([[[math.log(9.0), 0.0]]])  # |S| = 8, and silence
    half = torch.full_like(log_mag, 0.5)
    # exp(ln 9 / 2) - 1 = 2, a quarter of 8; where there is nothing, the share itself.
    assert gain_of_share(half, log_mag)[0, 0].tolist() == pytest.approx([0.25, 0.5], abs=1e-5)


def test_lanes_add_up_to_the_paper_s_interpretation_at_every_threshold(l2i, states):
    audio, text = states
    parts = l2i.decompose(audio, text)
    relevance = l2i.relevance(parts.contribution)
    log_mag = log_magnitude(audio.stft)
    for row in range(3):
        order = relevance[row].argsort(descending=True)
        gains = l2i.lane_gains(audio.stft[row], parts.activations[row], order)
        assert float(gains.min()) >= 0 and float(gains.sum(0).max()) <= 1 + 1e-5
        masks = soft_masks(l2i.patterns, parts.activations[row : row + 1])[0]
        for count in range(1, COMPONENTS + 1):  # X_int = sum X_k, then back from the logarithm (Algorithm 2)
            heard = torch.expm1(masks[order[:count]].sum(0) * log_mag[row])
            expected = heard / torch.expm1(log_mag[row]).clamp_min(1e-12)
            torch.testing.assert_close(gains[:count].sum(0), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(l2i.masks(audio, text)[0], _by_sets(l2i, audio, parts, relevance)[0])


def _by_sets(l2i, audio, parts, relevance):
    share = share_of(l2i.patterns, parts.activations, relevance > l2i.relevance_threshold)
    return gain_of_share(share, log_magnitude(audio.stft))


def test_removal_takes_the_share_out_of_the_logarithm(l2i, states):
    """X2 = X - sum X_l, section 4.1."""
    audio, text = states
    parts = l2i.decompose(audio, text)
    chosen = l2i.chosen(l2i.relevance(parts.contribution))
    log_mag = log_magnitude(audio.stft)
    share = share_of(l2i.patterns, parts.activations, chosen)
    left = l2i.removal_gain(audio, parts.activations, chosen) * torch.expm1(log_mag)
    torch.testing.assert_close(left, torch.expm1(log_mag - share * log_mag), atol=1e-3, rtol=1e-4)
    everything = l2i.removal_gain(audio, parts.activations, torch.ones_like(chosen))
    assert float(everything.max()) < 1e-5


def test_a_louder_copy_has_the_same_log_magnitude(debug_backend, make_beep):
    waveform = make_beep().waveform[None]
    quiet, loud = (debug_backend.analyze(waveform * factor).stft for factor in (0.01, 1.0))
    torch.testing.assert_close(log_magnitude(quiet), log_magnitude(loud), atol=1e-4, rtol=0)
    assert not log_magnitude(torch.zeros_like(quiet)).any()


# --- networks and losses


@pytest.mark.parametrize("pooling", ["attention", "max"])
@pytest.mark.parametrize("classes", [None, 4])
def test_contributions_sum_to_the_logit(debug_backend, states, pooling, classes):
    audio, text = states
    interpreter = fresh_interpreter(debug_backend, classes, pooling)
    prompts = text.embedding if classes is None else torch.tensor([2, 0, 3])
    activations, pooled = interpreter(audio.hidden)
    assert activations.shape == (3, COMPONENTS, audio.stft.shape[2]) and float(activations.min()) >= 0
    logits = interpreter.logits(pooled, prompts)
    for prompt in range(3):
        contribution = pooled * interpreter.theta.class_weights(prompts)[prompt]
        torch.testing.assert_close(contribution.sum(1), logits[:, prompt])
    if pooling == "max":
        assert torch.equal(pooled, activations.amax(2))
    else:
        assert bool((pooled <= activations.amax(2) + 1e-6).all())  # a weighted mean over time


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


# --- as an explainer


def test_windows_are_explained_alike_alone_and_together_and_every_time(l2i, debug_backend, states):
    audio, text = states
    masks = l2i.masks(audio, text)
    assert masks.shape == audio.stft.shape and masks.dtype == torch.float32
    assert bool(torch.isfinite(masks).all()) and float(masks.min()) >= 0 and float(masks.max()) <= 1
    assert torch.equal(masks, l2i.masks(audio, text))
    for row in range(3):
        alone = l2i.masks(
            audio[row : row + 1], TextState(text.prompts[row : row + 1], text.embedding[row : row + 1])
        )
        torch.testing.assert_close(masks[row], alone[0], atol=1e-4, rtol=0)
    silence = debug_backend.analyze(torch.zeros(1, debug_backend.clip_samples))
    assert bool(torch.isfinite(l2i.masks(silence, debug_backend.encode_text(["a beep"]))).all())


@pytest.mark.parametrize("seconds", [0.7, 2.0, 5.3])
def test_components_and_the_rest_are_the_recording(l2i, debug_backend, make_beep, seconds):
    clip = make_beep(seconds)
    result = explain_clip(clip, PROMPTS, debug_backend, l2i, score=False)
    explanation, listening = result.explanation, result.listening
    found = explanation.components
    assert 0 < len(found) <= 12 and len(listening.components) == len(found)
    relevance = [part.relevance for part in found]
    assert relevance == sorted(relevance, reverse=True) and all(0 < value <= 1 for value in relevance)
    for part in found:
        assert part.gain.shape == explanation.mask.shape == result.magnitude_db.shape
        assert part.activation.shape == (explanation.mask.shape[1],)
        assert torch.equal(part.pattern, l2i.patterns[:, part.index])
    total = sum(part.gain for part in found)
    assert float(total.max()) <= 1 + 1e-5
    above = torch.zeros_like(total)
    for part in found:
        above = above + part.gain * (part.relevance > explanation.relevance_threshold)
    torch.testing.assert_close(explanation.mask, above, atol=1e-5, rtol=0)
    played = sum(sound.waveform for sound in listening.components)
    torch.testing.assert_close(played + listening.rest.waveform, clip.waveform, atol=1e-4, rtol=0)
    heard = sum(s.waveform * (r > 0.1) for s, r in zip(listening.components, relevance, strict=True))
    torch.testing.assert_close(listening.kept.waveform, heard, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        listening.kept.waveform + listening.removed.waveform, clip.waveform, atol=1e-5, rtol=0
    )


def test_a_long_recording_has_one_relevance_for_each_component(l2i, debug_backend, make_beep):
    """The mean contribution of its windows; windows are taken apart one by one."""
    clip = make_beep(4.0)
    result = explain_clip(clip, PROMPTS, debug_backend, l2i, target="rain", score=False)
    text = debug_backend.encode_text(["rain", "rain"])
    parts = l2i.decompose(debug_backend.analyze(clip.waveform.view(2, -1)), text)
    relevance = l2i.relevance(parts.contribution.mean(0, keepdim=True))[0]
    for part in result.explanation.components:
        assert part.relevance == pytest.approx(float(relevance[part.index]), abs=1e-4)


def test_recordings_that_would_fill_memory_have_fewer_components(l2i, debug_backend, make_beep, monkeypatch):
    clip = make_beep(2.0)
    monkeypatch.setattr("lmaczs.pipeline.COMPONENT_CELLS", 2 * 257 * 101)
    result = explain_clip(clip, PROMPTS, debug_backend, l2i, score=False)
    assert len(result.explanation.components) == 2
    played = sum(sound.waveform for sound in result.listening.components)
    torch.testing.assert_close(played + result.listening.rest.waveform, clip.waveform, atol=1e-4, rtol=0)


def test_a_prompt_that_nothing_speaks_for_has_no_components(debug_backend, make_beep):
    interpreter = fresh_interpreter(debug_backend)
    interpreter.theta.linear.weight.zero_()
    result = explain_clip(make_beep(), PROMPTS, debug_backend, L2I(debug_backend, interpreter), score=False)
    assert not result.explanation.mask.any() and result.explanation.components == ()
    assert result.listening.components == () and result.listening.rest is None


def test_griffin_lim_changes_the_phase_and_still_adds_up(l2i, debug_backend, make_beep):
    clip = make_beep()
    refined = L2I(debug_backend, l2i.interpreter, griffin_lim=3)
    recording = open_recording(clip, debug_backend)
    plain, other = (explain(recording, PROMPTS, debug_backend, e, score=False) for e in (l2i, refined))
    assert not torch.equal(plain.listening.kept.waveform, other.listening.kept.waveform)
    assert torch.equal(plain.explanation.mask, other.explanation.mask)
    played = sum(sound.waveform for sound in other.listening.components)
    torch.testing.assert_close(played + other.listening.rest.waveform, clip.waveform, atol=1e-4, rtol=0)


def test_as_released_five_components_are_played_at_most(debug_backend, states, l2i):
    released = L2I(debug_backend, l2i.interpreter, compat="released")
    assert released.relevance_threshold == 0.2 and l2i.relevance_threshold == 0.1
    parts = released.decompose(*states)
    chosen = released.chosen(released.relevance(parts.contribution))
    assert int(chosen.sum(1).max()) <= 5
    result = explain_clip(AudioClip(states[0].waveform[0], 16000, "beep"), PROMPTS, debug_backend, released)
    assert all(-1 <= part.relevance <= 1 for part in result.explanation.components)


# --- closed set


@pytest.fixture
def closed(debug_backend):
    interpreter = fresh_interpreter(debug_backend, classes=3)
    return L2IESC50(debug_backend, interpreter, PROMPTS)


def test_a_prompt_outside_of_the_closed_set_is_one_sentence(closed, debug_backend, make_beep, states):
    message = r"knows 3 prompts \('a beep', 'rain', 'a dog'\), and 'a cat' is none of them: .* method 'l2i'"
    with pytest.raises(PromptError, match=message):
        explain_clip(make_beep(), PROMPTS, debug_backend, closed, target="a cat")
    with pytest.raises(PromptError, match=message):
        closed.masks(states[0], debug_backend.encode_text(["a beep", "rain", "a cat"]))


def test_a_prompt_of_the_closed_set_uses_its_own_weights(closed, states):
    audio, text = states
    contribution = closed.decompose(audio, text).contribution
    pooled = closed.interpreter(audio.hidden)[1]
    torch.testing.assert_close(contribution, pooled * closed.interpreter.theta.linear.weight)


# --- options and releases


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 2}, "option threshold is 2: choose a number, 0 to 1"),
        ({"compat": "old"}, "option compat is 'old': choose 'paper' or 'released'"),
        ({"griffin_lim": -1}, "option griffin_lim is -1: choose a whole number, 0 or more"),
    ],
)
def test_options_out_of_range(debug_backend, l2i, options, message):
    with pytest.raises(LMACError, match=message):
        L2I(debug_backend, l2i.interpreter, **options)


@pytest.mark.parametrize("prompts", [None, PROMPTS])
def test_a_release_brings_back_the_same_explainer(debug_backend, states, tmp_path, prompts):
    interpreter = fresh_interpreter(debug_backend, None if prompts is None else 3)
    explainer = L2I(debug_backend, interpreter, prompts)
    config = release_config(debug_backend, interpreter, prompts)
    save_release(tmp_path / "l2i", "l2i", config, interpreter.state_dict())
    loaded = load_explainer("l2i", debug_backend, release=tmp_path / "l2i", threshold=0.4)
    assert loaded.prompts == prompts and loaded.relevance_threshold == 0.4
    loaded.relevance_threshold = 0.1
    assert torch.equal(loaded.masks(*states), explainer.masks(*states))


def test_a_release_for_another_backend_or_of_another_shape_is_refused(debug_backend, tmp_path):
    interpreter = fresh_interpreter(debug_backend)
    config = release_config(debug_backend, interpreter, None)
    save_release(tmp_path / "other", "l2i", config | {"backend": "clap"}, interpreter.state_dict())
    with pytest.raises(CheckpointError, match="trained for the backend 'clap', but 'debug' is loaded"):
        load_interpreter(tmp_path / "other", debug_backend)
    state = interpreter.state_dict() | {"dictionary": torch.zeros(3, 3)}
    save_release(tmp_path / "shape", "l2i", config, state)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_interpreter(tmp_path / "shape", debug_backend)


def test_mel_masks_are_refused_in_one_sentence(debug_backend):
    with pytest.raises(LMACError, match="in the stft domain, and 'mel' was asked for: choose 'stft'"):
        load_explainer("l2i", debug_backend, "mel")


def test_every_method_says_which_domains_it_has_without_being_built():
    found = {name: domains_of(name) for name in EXPLAINERS}
    assert {name for name, domains in found.items() if domains == ("stft",)} == {"l2i", "l2i-esc50"}
    assert {domains for name, domains in found.items() if not name.startswith("l2i")} == {("stft", "mel")}
