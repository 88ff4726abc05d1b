"""L2I as a method: components that are heard, one relevance for a whole recording, both vocabularies, releases."""

import pytest
import torch

from lmaczs.errors import CheckpointError, LMACError, PromptError
from lmaczs.explainers import load_explainer
from lmaczs.explainers.l2i.explainer import L2I, L2IESC50, load_interpreter, release_config
from lmaczs.explainers.l2i.interpretation import gain_of_share, log_magnitude, share_of
from lmaczs.hearing import explain, explain_clip, listen, make_target
from lmaczs.hub import save_release
from lmaczs.types import AudioClip

PROMPTS = ("a beep", "rain", "a dog")


@pytest.fixture
def closed(debug_backend, fresh_interpreter):
    return L2IESC50(debug_backend, interpreter=fresh_interpreter(classes=3), closed_set=PROMPTS)


def played(listening):
    """All components and the rest."""
    return sum(sound.waveform for sound in listening.components) + listening.rest.waveform


def test_the_mask_is_the_paper_s_interpretation_of_what_is_above_the_threshold(
    l2i, debug_backend, waveforms, target
):
    for row in range(3):
        recording = listen(AudioClip(waveforms[row], 16000, "one"), debug_backend)
        found = l2i.explain(recording, target)
        (audio,) = recording.states
        activations, contribution = l2i.decompose(audio, target)
        above = l2i.relevance(contribution) > l2i.relevance_threshold
        share = share_of(l2i.patterns, activations, above)
        expected = gain_of_share(share, log_magnitude(audio.stft))[0]
        assert found.evidence == "present" and found.attribution is None
        torch.testing.assert_close(found.mask, expected, atol=1e-5, rtol=0)


def test_windows_are_decomposed_alike_alone_and_together_and_every_time(l2i, debug_backend, windows, target):
    activations, contribution = l2i.decompose(windows, target)
    assert torch.equal(contribution, l2i.decompose(windows, target)[1])
    for row in range(3):
        alone = l2i.decompose(windows[row : row + 1], target)
        torch.testing.assert_close(activations[row], alone[0][0], atol=1e-4, rtol=0)
        torch.testing.assert_close(contribution[row], alone[1][0], atol=1e-4, rtol=0)
    silence = debug_backend.analyze(torch.zeros(1, debug_backend.clip_samples))
    assert all(bool(torch.isfinite(part).all()) for part in l2i.decompose(silence, target))


@pytest.mark.parametrize("seconds", [0.7, 2.0, 5.3])
def test_components_and_the_rest_are_the_recording(l2i, debug_backend, make_beep, seconds):
    clip = make_beep(seconds)
    result = explain_clip(clip, PROMPTS, debug_backend, l2i, measure=False)
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
    torch.testing.assert_close(played(listening), clip.waveform, atol=1e-4, rtol=0)
    heard = sum(s.waveform * (r > 0.1) for s, r in zip(listening.components, relevance, strict=True))
    torch.testing.assert_close(listening.kept.waveform, heard, atol=1e-4, rtol=0)
    both = listening.kept.waveform + listening.removed.waveform
    torch.testing.assert_close(both, clip.waveform, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("seconds", "votes"), [(4.0, [1 / 2, 1 / 2]), (5.0, [2 / 5, 2 / 5, 1 / 5])])
def test_a_long_recording_has_one_relevance_for_each_component(l2i, debug_backend, make_beep, seconds, votes):
    """The mean contribution of its windows, by their votes."""
    result = explain_clip(make_beep(seconds), PROMPTS, debug_backend, l2i, target="rain", measure=False)
    (audio,) = listen(make_beep(seconds), debug_backend).states
    _, contribution = l2i.decompose(audio, make_target(debug_backend, "rain"))
    relevance = l2i.relevance((torch.tensor(votes) @ contribution).unsqueeze(0))[0]
    for part in result.explanation.components:
        assert part.relevance == pytest.approx(float(relevance[part.index]), abs=1e-4)


def test_silence_has_no_vote_and_no_component(l2i, debug_backend, make_beep):
    beep = make_beep().waveform
    gap = torch.cat([beep, torch.zeros(5 * 32000), beep])
    alone, spread = (
        explain_clip(
            AudioClip(waveform, 16000, "beep"), PROMPTS, debug_backend, l2i, target="rain", measure=False
        )
        for waveform in (beep, gap)
    )
    for one, other in zip(alone.explanation.components, spread.explanation.components, strict=True):
        assert other.index == one.index and other.relevance == pytest.approx(one.relevance, abs=1e-5)
        assert not other.gain[:, 100:600].any() and not other.activation[100:600].any()
        torch.testing.assert_close(other.gain[:, :100], one.gain[:, :100], atol=1e-5, rtol=0)
    assert not spread.explanation.mask[:, 100:600].any()
    torch.testing.assert_close(played(spread.listening), gap, atol=1e-4, rtol=0)


def test_recordings_that_would_fill_memory_have_fewer_components(l2i, debug_backend, make_beep, monkeypatch):
    clip = make_beep(2.0)
    whole = explain_clip(clip, PROMPTS, debug_backend, l2i, measure=False)
    monkeypatch.setattr("lmaczs.explainers.l2i.explainer.COMPONENT_CELLS", 2 * 257 * 101)
    result = explain_clip(clip, PROMPTS, debug_backend, l2i, measure=False)
    assert len(result.explanation.components) == 2 < len(whole.explanation.components)
    # The mask is of all that are above the threshold, played or not.
    torch.testing.assert_close(result.explanation.mask, whole.explanation.mask, atol=1e-6, rtol=0)
    torch.testing.assert_close(played(result.listening), clip.waveform, atol=1e-4, rtol=0)


@pytest.mark.parametrize("weights", ["zero", "against"])
def test_without_a_positive_component_the_prompt_is_absent_and_nothing_is_kept(
    debug_backend, make_beep, fresh_interpreter, weights
):
    interpreter = fresh_interpreter()
    text = debug_backend.encode_text(["a beep"]).embedding[0]
    linear = interpreter.theta.linear
    linear.weight.data = (
        torch.zeros_like(linear.weight) if weights == "zero" else -text.expand_as(linear.weight)
    )
    if linear.bias is not None:
        linear.bias.data.zero_()
    clip, l2i = make_beep(5.0), L2I(debug_backend, interpreter=interpreter)
    result = explain_clip(clip, PROMPTS, debug_backend, l2i, target="a beep")
    assert result.explanation.evidence == "absent" and not result.explanation.mask.any()
    assert result.explanation.components == () == result.listening.components
    assert result.listening.rest is None
    assert not result.listening.kept.waveform.any()
    assert torch.equal(result.listening.removed.waveform, result.clip.waveform)


def test_griffin_lim_changes_the_phase_and_still_adds_up(l2i, debug_backend, make_beep):
    clip = make_beep()
    refined = L2I(debug_backend, interpreter=l2i.interpreter, griffin_lim=3)
    recording = listen(clip, debug_backend)
    plain, other = (explain(recording, PROMPTS, debug_backend, e, measure=False) for e in (l2i, refined))
    assert not torch.equal(plain.listening.kept.waveform, other.listening.kept.waveform)
    assert torch.equal(plain.explanation.mask, other.explanation.mask)
    torch.testing.assert_close(played(other.listening), clip.waveform, atol=1e-4, rtol=0)
    both = other.listening.kept.waveform + other.listening.removed.waveform
    torch.testing.assert_close(both, clip.waveform, atol=1e-5, rtol=0)


def test_as_released_five_components_are_kept_at_most(debug_backend, windows, target, l2i, make_beep):
    released = L2I(debug_backend, interpreter=l2i.interpreter, compat="released")
    assert released.relevance_threshold == 0.2 and l2i.relevance_threshold == 0.1
    chosen = released.chosen(released.relevance(released.decompose(windows, target)[1]))
    assert int(chosen.sum(1).max()) <= 5
    result = explain_clip(make_beep(), PROMPTS, debug_backend, released)
    assert all(-1 <= part.relevance <= 1 for part in result.explanation.components)


def test_progress_and_stopping(l2i, debug_backend, make_beep):
    class Stopped(Exception):
        pass

    recording, target, shares = listen(make_beep(21.0), debug_backend), make_target(debug_backend, "rain"), []
    l2i.explain(recording, target, lambda share, text: shares.append(share))
    assert shares == pytest.approx([2 / 11, 10 / 11, 1.0])

    def stop(share, text):
        raise Stopped

    with pytest.raises(Stopped):
        l2i.explain(recording, target, stop)


# --- closed set


def test_a_prompt_outside_of_the_closed_set_is_one_sentence(closed, debug_backend, make_beep):
    message = r"knows 3 prompts \('a beep', 'rain', 'a dog'\), and 'a cat' is none of them: .* such as 'l2i'"
    with pytest.raises(PromptError, match=message):
        explain_clip(make_beep(), PROMPTS, debug_backend, closed, target="a cat")
    with pytest.raises(PromptError, match=message):
        closed.explain(listen(make_beep(), debug_backend), make_target(debug_backend, "a cat"))
    with pytest.raises(PromptError, match=message):
        closed.check_prompts(["rain", "a cat"])
    closed.check_prompts(PROMPTS)


def test_a_prompt_of_the_closed_set_uses_its_own_weights(closed, debug_backend, windows):
    pooled = closed.interpreter(windows.hidden)[1]
    for number, prompt in enumerate(PROMPTS):
        _, contribution = closed.decompose(windows, make_target(debug_backend, prompt))
        weight = closed.interpreter.theta.linear.weight[number]
        torch.testing.assert_close(contribution, pooled * weight)


# --- options and releases


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 2}, "option threshold is 2: choose a number, 0 to 1"),
        ({"compat": "old"}, "option compat is 'old': choose 'paper' or 'released'"),
        ({"griffin_lim": -1}, "option griffin_lim is -1: choose a whole number, 0 or more"),
        ({"domain": "mel"}, "L2I has no masks in the domain 'mel': choose 'stft', or another method"),
    ],
)
def test_options_out_of_range(debug_backend, l2i, options, message):
    with pytest.raises(LMACError, match=message):
        L2I(debug_backend, interpreter=l2i.interpreter, **options)


@pytest.mark.parametrize("prompts", [None, PROMPTS])
def test_a_release_brings_back_the_same_method(
    debug_backend, make_beep, tmp_path, fresh_interpreter, prompts
):
    interpreter = fresh_interpreter(None if prompts is None else 3)
    method = L2I(debug_backend, interpreter=interpreter, closed_set=prompts)
    config = release_config(debug_backend, interpreter, prompts)
    save_release(tmp_path / "l2i", "l2i", config, interpreter.state_dict())
    strict, loaded = (
        load_explainer("l2i", debug_backend, release=tmp_path / "l2i", threshold=threshold)
        for threshold in (0.4, None)
    )
    assert strict.prompts == prompts and strict.relevance_threshold == 0.4
    assert loaded.relevance_threshold == 0.1
    recording, target = listen(make_beep(3.0), debug_backend), make_target(debug_backend, "a beep")
    assert torch.equal(loaded.explain(recording, target).mask, method.explain(recording, target).mask)


def test_a_release_for_another_backend_or_of_another_shape_is_refused(
    debug_backend, tmp_path, fresh_interpreter
):
    interpreter = fresh_interpreter()
    config = release_config(debug_backend, interpreter, None)
    save_release(tmp_path / "other", "l2i", config | {"backend": "clap"}, interpreter.state_dict())
    with pytest.raises(CheckpointError, match="trained for the backend 'clap', but 'debug' is loaded"):
        load_interpreter(tmp_path / "other", debug_backend)
    state = interpreter.state_dict() | {"dictionary": torch.zeros(3, 3)}
    save_release(tmp_path / "shape", "l2i", config, state)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_interpreter(tmp_path / "shape", debug_backend)


def test_mel_masks_are_refused_in_one_sentence(debug_backend):
    with pytest.raises(
        LMACError, match="L2I has no masks in the domain 'mel': choose 'stft', or another method"
    ):
        load_explainer("l2i", debug_backend, "mel")
