"""The one way from a sound to a scored explanation: a backend whose right answer is known, and tiny real weights."""

import math
from unittest.mock import patch

import pytest
import torch

from lmaczs.errors import AudioError, LMACError, PromptError
from lmaczs.explainers import load_explainer
from lmaczs.explainers.base import PASSES_AT_ONCE
from lmaczs.explainers.gradcam import GradCAMPlusPlus
from lmaczs.hearing import classify, explain, explain_clip, explain_top, listen, make_target
from lmaczs.signal.audio import make_clip, resample
from lmaczs.types import AudioClip

PROMPTS = ["a beep", "rain on a roof"]
both_domains = pytest.mark.parametrize("domain", ["stft", "mel"])


@pytest.fixture
def right_box(planted_backend, fixed_mask):
    """The explanation that is known to be right."""
    return fixed_mask(planted_backend, box=(planted_backend.box_bins, planted_backend.box_frames))


def test_the_right_explanation_keeps_the_decision_and_its_removal_takes_it_away(
    planted_backend, right_box, beep_in_noise
):
    result = explain_clip(beep_in_noise, PROMPTS, planted_backend, right_box)
    assert result.target == "a beep" and result.prediction.predicted == 0
    assert result.target_similarity > 0.9
    assert result.metrics["ff"] > 0.9 and result.metrics["fid_in"] == 1.0 and result.metrics["ad"] < 1.0
    burst = slice(17000, 23000)
    kept, removed = result.listening.kept.waveform, result.listening.removed.waveform
    # Power of the burst, 0.5^2 / 2.
    assert float(kept[burst].square().mean()) == pytest.approx(0.125, rel=0.05)
    assert float(kept[:14000].abs().max()) == 0.0
    # The noise alone.
    assert float(removed[burst].square().mean()) < 0.05**2 * 1.1


def test_a_wrong_explanation_has_no_faithfulness(planted_backend, beep_in_noise, fixed_mask):
    elsewhere = fixed_mask(planted_backend, box=(slice(150, 200), slice(0, 40)))
    metrics = explain_clip(beep_in_noise, PROMPTS, planted_backend, elsewhere).metrics
    assert abs(metrics["ff"]) < 0.01 and metrics["fid_in"] == 0.0 and metrics["ad"] > 90.0


@both_domains
def test_zero_mask_gives_zero_faithfulness_and_silence(planted_backend, beep_in_noise, fixed_mask, domain):
    nothing = fixed_mask(planted_backend, value=0.0, domain=domain)
    result = explain_clip(beep_in_noise, PROMPTS, planted_backend, nothing)
    assert not result.listening.kept.waveform.any()
    assert torch.equal(result.listening.removed.waveform, result.clip.waveform)
    assert result.metrics["ff"] == pytest.approx(0.0, abs=1e-6)
    assert result.metrics["mm"] == 0.0


@both_domains
@pytest.mark.parametrize("value", [1.0, 0.1])
def test_a_constant_mask_is_the_recording_as_faint_as_it_is(
    planted_backend, beep_in_noise, fixed_mask, domain, value
):
    """A mask is what is heard and what is scored, as it comes from the method: nothing makes it louder."""
    constant = fixed_mask(planted_backend, value=value, domain=domain)
    result = explain_clip(beep_in_noise, PROMPTS, planted_backend, constant)
    torch.testing.assert_close(
        result.explanation.mask, torch.full_like(result.explanation.mask, value), atol=1e-6, rtol=0
    )
    # A mel mask is a factor on power.
    factor = value if domain == "stft" else value**0.5
    expected = factor * result.clip.waveform
    torch.testing.assert_close(result.listening.kept.waveform, expected, atol=1e-5, rtol=0)
    assert result.metrics["mm"] == pytest.approx(value)
    if value == 1.0:
        assert result.metrics["ad"] == pytest.approx(0.0, abs=1e-3) and result.metrics["fid_in"] == 1.0
        # Equal up to rounding of the resynthesis.
        assert result.metrics["ai"] == 0.0 or result.metrics["ag"] < 1e-3
    else:
        # The planted model goes by the level: a faint beep is less of one.
        assert result.metrics["ad"] > 1.0


@both_domains
@pytest.mark.parametrize("duration_s", [0.3, 2.0, 2.01, 4.7, 10.5])
def test_results_lie_on_the_recordings_own_time_axis(
    debug_backend, make_beep, fixed_mask, loud_cells, duration_s, domain
):
    clip = make_beep(duration_s)
    method = loud_cells(debug_backend) if domain == "stft" else fixed_mask(debug_backend, domain="mel")
    result = explain_clip(clip, PROMPTS, debug_backend, method, measure=False)
    grid = debug_backend.spectral
    frames = 1 + len(clip.waveform) // grid.hop_length
    rows = grid.n_bins if domain == "stft" else grid.n_mels
    assert result.explanation.mask.shape == result.magnitude_db.shape == (rows, frames)
    assert (len(result.frequencies_hz), len(result.times_s)) == (rows, frames)
    assert 0 <= clip.duration_s - float(result.times_s[-1]) < grid.hop_length / grid.sample_rate
    parts = result.listening.kept.waveform + result.listening.removed.waveform
    torch.testing.assert_close(parts, clip.waveform, atol=1e-6, rtol=0)
    assert float(result.explanation.mask.max()) == pytest.approx(1.0, abs=0.1)


def test_two_calls_are_equal_bit_for_bit(debug_backend, make_beep):
    clip = make_beep(4.7, 22050)
    first, second = (
        explain_clip(clip, PROMPTS, debug_backend, load_explainer("grad-cam++", debug_backend))
        for _ in range(2)
    )
    assert torch.equal(first.explanation.mask, second.explanation.mask)
    assert torch.equal(first.explanation.attribution, second.explanation.attribution)
    assert first.explanation.prompt == second.explanation.prompt
    assert torch.equal(first.listening.kept.waveform, second.listening.kept.waveform)
    assert torch.equal(first.prediction.probabilities, second.prediction.probabilities)
    assert first.metrics == second.metrics


@pytest.mark.parametrize("target", ["a door slams", "  rain on a roof "])
def test_any_sentence_can_be_the_target(debug_backend, beep_in_noise, loud_cells, target):
    result = explain_clip(beep_in_noise, PROMPTS, debug_backend, loud_cells(debug_backend), target=target)
    embedding = listen(beep_in_noise, debug_backend).embedding
    expected = embedding @ debug_backend.encode_text([target]).embedding[0]
    assert result.target == result.explanation.prompt == target.strip()
    assert result.target_similarity == pytest.approx(float(expected), abs=1e-6)
    assert result.prediction.prompts == tuple(PROMPTS)
    assert all(math.isfinite(value) for value in result.metrics.values())


def test_the_order_of_prompts_changes_nothing_but_the_order(debug_backend, beep_in_noise):
    recording = listen(beep_in_noise, debug_backend)
    prompts = ["rain", "a beep", "a dog"]
    first, second = (classify(recording, p, debug_backend) for p in (prompts, prompts[::-1]))
    torch.testing.assert_close(first.probabilities, second.probabilities.flip(0), atol=1e-6, rtol=0)
    assert first.prompts[first.predicted] == second.prompts[second.predicted]


@pytest.mark.parametrize("score", ["logit", "probability", "contrastive"])
def test_what_is_explained_is_the_target_among_all_prompts(debug_backend, make_beep, score):
    """`score` and the prompts make the target; the method is asked for just that."""
    recording = listen(make_beep(3.0), debug_backend)
    method = load_explainer("integrated-gradients", debug_backend, "mel", steps=3)
    found = explain(recording, PROMPTS, debug_backend, method, target="rain", score=score, measure=False)
    expected = method.explain(recording, make_target(debug_backend, "rain", PROMPTS, score))
    assert torch.equal(found.explanation.attribution, expected.attribution)
    plain = method.explain(recording, make_target(debug_backend, "rain"))
    assert torch.equal(found.explanation.attribution, plain.attribution) == (score == "logit")


def test_a_score_that_compares_needs_more_than_one_prompt(debug_backend, beep_in_noise):
    method = load_explainer("saliency", debug_backend)
    with pytest.raises(
        LMACError, match="'contrastive' compares the prompt with others, and it is the only one"
    ):
        explain_clip(beep_in_noise, ["rain"], debug_backend, method, score="contrastive")
    with pytest.raises(LMACError, match="no score 'loss'"):
        explain_clip(beep_in_noise, PROMPTS, debug_backend, method, score="loss")


def test_a_recording_of_another_rate_is_brought_to_the_backends(debug_backend, make_beep, loud_cells):
    clip = make_beep(2.0, 44100)
    result = explain_clip(clip, PROMPTS, debug_backend, loud_cells(debug_backend), measure=False)
    assert result.clip.sample_rate == result.listening.kept.sample_rate == 16000
    assert torch.equal(result.clip.waveform, resample(clip, 16000).waveform)


@pytest.mark.parametrize("duration_s", [6.0, 19.0])
def test_progress_rises_to_one(debug_backend, make_beep, duration_s):
    """Also over several batches of windows."""
    seen = []
    explain_clip(
        make_beep(duration_s),
        PROMPTS,
        debug_backend,
        load_explainer("rise", debug_backend, "mel", n=3),
        progress=lambda share, _: seen.append(share),
    )
    assert seen == sorted(seen) and seen[-1] == pytest.approx(1.0) and len(seen) >= 3


def test_explaining_changes_neither_the_clip_nor_the_model(debug_backend, beep_in_noise):
    waveform = beep_in_noise.waveform.clone()
    weights = {name: value.clone() for name, value in debug_backend.state_dict().items()}
    explain_clip(beep_in_noise, PROMPTS, debug_backend, load_explainer("grad-cam++", debug_backend))
    assert torch.equal(beep_in_noise.waveform, waveform)
    assert all(torch.equal(value, weights[name]) for name, value in debug_backend.state_dict().items())
    assert not debug_backend.training
    for module in debug_backend.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks and not module._backward_hooks
    assert all(p.grad is None and not p.requires_grad for p in debug_backend.parameters())


def test_clips_made_by_hand_pass_the_same_gate(debug_backend, loud_cells):
    silent = AudioClip(torch.zeros(16000), 16000, "silence")
    with pytest.raises(AudioError, match="'silence' is silent"):
        explain_clip(silent, PROMPTS, debug_backend, loud_cells(debug_backend))


def test_wrong_prompts_are_refused_before_anything_is_explained(debug_backend, beep_in_noise, loud_cells):
    method = loud_cells(debug_backend)
    with patch.object(type(method), "map_windows", side_effect=AssertionError):
        for prompts, target in (([], None), (["rain", " "], None), (["rain"], "  ")):
            with pytest.raises(PromptError):
                explain_clip(beep_in_noise, prompts, debug_backend, method, target=target)


def test_the_shortest_accepted_clip_can_be_explained(debug_backend, loud_cells):
    # 0.1 s at 8 kHz.
    tone = torch.sin(torch.arange(800) * 0.3)
    result = explain_clip(make_clip(tone, 8000), PROMPTS, debug_backend, loud_cells(debug_backend))
    assert len(result.listening.kept.waveform) == 1600


def test_the_most_probable_prompts_come_one_after_the_other(debug_backend, beep_in_noise):
    recording = listen(beep_in_noise, debug_backend)
    prompts = ["rain", "a beep", "a dog", "wind"]
    prediction = classify(recording, prompts, debug_backend)
    order = [prompts[i] for i in prediction.probabilities.argsort(descending=True).tolist()]
    explained, shares = [], []

    class Watched(GradCAMPlusPlus):
        def map_windows(self, audio, target, progress):
            explained.append(target.prompt)
            return super().map_windows(audio, target, progress)

    task = (recording, prompts, debug_backend, Watched(debug_backend))
    results = explain_top(*task, 3, measure=False, progress=lambda share, _: shares.append(share))
    # Nothing is made before it is asked for.
    assert next(results).target == order[0] and explained == order[:1]
    assert [result.target for result in results] == order[1:3]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert [result.target for result in explain_top(*task, 9, measure=False)] == order
    alone = explain(*task, target=order[1], measure=False)
    again = list(explain_top(*task, 2, measure=False))[1]
    assert torch.equal(alone.explanation.mask, again.explanation.mask)


def test_an_attribution_lies_on_the_recordings_own_axis_beside_its_mask(debug_backend, make_beep, loud_cells):
    clip = make_beep(4.7)
    method = load_explainer("integrated-gradients", debug_backend, "mel", steps=4)
    explanation = explain_clip(clip, PROMPTS, debug_backend, method, measure=False).explanation
    assert explanation.attribution.shape == explanation.mask.shape == (32, 236)
    assert float(explanation.attribution.min()) < 0
    assert bool((explanation.mask[explanation.attribution <= 0] == 0).all())
    (windows,) = listen(clip, debug_backend).states
    errors = method.map_windows(windows, make_target(debug_backend, explanation.prompt)).completeness_error
    # The worst window's.
    assert len(errors) == 3 and explanation.completeness_error == pytest.approx(float(errors.max()))
    other = explain_clip(clip, PROMPTS, debug_backend, loud_cells(debug_backend), measure=False).explanation
    assert other.attribution is None and other.completeness_error is None


def test_steps_inside_a_window_count_as_progress_and_may_stop_it(debug_backend, make_beep):
    class Stopped(Exception):
        pass

    method = load_explainer("rise", debug_backend, "mel", n=3 * PASSES_AT_ONCE)
    shares = []
    task = (make_beep(3.5), PROMPTS, debug_backend, method)
    explain_clip(*task, measure=False, progress=lambda share, _: shares.append(share))
    # Two windows of three chunks.
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0])

    def stop(share, _):
        if share > 0.4:
            raise Stopped

    with pytest.raises(Stopped):
        explain_clip(*task, measure=False, progress=stop)
