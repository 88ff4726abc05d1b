"""The one-way flow on a backend whose right answer is known, and on the real class with tiny weights."""

import math

import pytest
import torch

from lmaczs.errors import AudioError, PromptError
from lmaczs.explainers import load_explainer
from lmaczs.explainers.base import PASSES_AT_ONCE, Explainer
from lmaczs.pipeline import WINDOWS_KEPT, classify, explain, explain_clip, explain_top, open_recording
from lmaczs.signal.audio import make_clip, resample
from lmaczs.types import AudioClip

PROMPTS = ["a beep", "rain on a roof"]


class FixedMask(Explainer):
    """The same mask for every window: all ones, all zeros, or ones in one box."""

    name = "fixed"
    label = "Fixed mask"

    def __init__(self, backend, value=1.0, box=None, domain="stft"):
        super().__init__(backend, domain)
        self.value, self.box = value, box

    def masks(self, audio, text):
        rows = self.backend.spectral.n_bins if self.domain == "stft" else self.backend.spectral.n_mels
        mask = torch.zeros(len(audio.waveform), rows, audio.stft.shape[2])
        mask[:, *(self.box or (slice(None), slice(None)))] = self.value
        return mask


class LoudCells(Explainer):
    """Depends on every cell of the window, so that a wrong window, order or scale shows."""

    name = "loud"
    label = "Loud cells"

    def masks(self, audio, text):
        level = audio.stft.abs().sqrt()
        return level / level.amax(dim=(1, 2), keepdim=True)


@pytest.fixture
def right_box(planted_backend):
    """The explanation that is known to be right."""
    return FixedMask(planted_backend, box=(planted_backend.box_bins, planted_backend.box_frames))


def test_the_right_explanation_keeps_the_decision_and_its_removal_takes_it_away(
    planted_backend, right_box, beep_in_noise
):
    result = explain_clip(beep_in_noise, PROMPTS, planted_backend, right_box)
    assert result.target == "a beep" and result.prediction.predicted == 0
    assert result.target_similarity > 0.9
    assert result.metrics["ff"] > 0.9 and result.metrics["fid_in"] == 1.0 and result.metrics["ad"] < 1.0
    burst = slice(17000, 23000)
    kept, removed = result.listening.kept.waveform, result.listening.removed.waveform
    assert float(kept[burst].square().mean()) == pytest.approx(
        0.125, rel=0.05
    )  # power of the burst, 0.5^2 / 2
    assert float(kept[:14000].abs().max()) == 0.0
    assert float(removed[burst].square().mean()) < 0.05**2 * 1.1  # the noise alone


def test_a_wrong_explanation_has_no_faithfulness(planted_backend, beep_in_noise):
    elsewhere = FixedMask(planted_backend, box=(slice(150, 200), slice(0, 40)))
    metrics = explain_clip(beep_in_noise, PROMPTS, planted_backend, elsewhere).metrics
    assert abs(metrics["ff"]) < 0.01 and metrics["fid_in"] == 0.0 and metrics["ad"] > 90.0


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_zero_mask_gives_zero_faithfulness_and_silence(planted_backend, beep_in_noise, domain):
    nothing = FixedMask(planted_backend, value=0.0, domain=domain)
    result = explain_clip(beep_in_noise, PROMPTS, planted_backend, nothing)
    assert not result.listening.kept.waveform.any()
    assert torch.equal(result.listening.removed.waveform, result.clip.waveform)
    assert result.metrics["ff"] == pytest.approx(0.0, abs=1e-6)
    assert result.metrics["mm"] == 0.0


@pytest.mark.parametrize("domain", ["stft", "mel"])
@pytest.mark.parametrize("value", [1.0, 0.1])
def test_a_constant_mask_is_the_whole_recording_however_faint(planted_backend, beep_in_noise, domain, value):
    """Masks are max-normalised before they are heard and scored: a faint constant one cannot cheat."""
    everything = FixedMask(planted_backend, value=value, domain=domain)
    result = explain_clip(beep_in_noise, PROMPTS, planted_backend, everything)
    torch.testing.assert_close(result.listening.kept.waveform, result.clip.waveform, atol=1e-5, rtol=0)
    assert result.metrics["ad"] == pytest.approx(0.0, abs=1e-3)
    assert (
        result.metrics["ai"] == 0.0 or result.metrics["ag"] < 1e-3
    )  # equal up to rounding of the resynthesis
    assert result.metrics["fid_in"] == 1.0 and result.metrics["mm"] == 1.0


@pytest.mark.parametrize("domain", ["stft", "mel"])
@pytest.mark.parametrize("duration_s", [0.3, 2.0, 2.01, 4.7, 10.5])
def test_results_lie_on_the_recordings_own_time_axis(debug_backend, make_beep, duration_s, domain):
    clip = make_beep(duration_s)
    explainer = LoudCells(debug_backend) if domain == "stft" else FixedMask(debug_backend, domain="mel")
    result = explain_clip(clip, PROMPTS, debug_backend, explainer, score=False)
    grid = debug_backend.spectral
    frames = 1 + len(clip.waveform) // grid.hop_length
    rows = grid.n_bins if domain == "stft" else grid.n_mels
    assert result.explanation.mask.shape == result.magnitude_db.shape == (rows, frames)
    assert (len(result.frequencies_hz), len(result.times_s)) == (rows, frames)
    assert 0 <= clip.duration_s - float(result.times_s[-1]) < grid.hop_length / grid.sample_rate
    parts = result.listening.kept.waveform + result.listening.removed.waveform
    torch.testing.assert_close(parts, clip.waveform, atol=1e-6, rtol=0)
    assert float(result.explanation.mask.max()) == pytest.approx(1.0)


def test_two_calls_are_equal_bit_for_bit(debug_backend, make_beep):
    clip = make_beep(4.7, 22050)
    first, second = (
        explain_clip(clip, PROMPTS, debug_backend, load_explainer("grad-cam++", debug_backend))
        for _ in range(2)
    )
    for name in ("mask", "prompt", "method"):
        a, b = getattr(first.explanation, name), getattr(second.explanation, name)
        assert torch.equal(a, b) if name == "mask" else a == b
    assert torch.equal(first.listening.kept.waveform, second.listening.kept.waveform)
    assert torch.equal(first.prediction.probabilities, second.prediction.probabilities)
    assert first.metrics == second.metrics


def test_an_opened_recording_gives_what_a_fresh_one_gives(debug_backend, make_beep):
    """Also above WINDOWS_KEPT windows, where nothing of the encoder is kept."""
    for duration_s in (3.0, 2.0 * WINDOWS_KEPT + 1):
        clip, explainer = make_beep(duration_s), LoudCells(debug_backend)
        recording = open_recording(clip, debug_backend)
        assert len(recording.states) == (2 if duration_s == 3.0 else 0)
        first = explain(recording, PROMPTS, debug_backend, explainer, score=False)
        second = explain_clip(clip, PROMPTS, debug_backend, explainer, score=False)
        assert torch.equal(first.explanation.mask, second.explanation.mask)


def test_a_batch_of_windows_gives_what_each_gives_alone(debug_backend, make_beep):
    waveforms = torch.stack([make_beep(seed=seed).waveform for seed in range(3)])
    together = debug_backend.analyze(waveforms)
    text = debug_backend.encode_text(["a beep"] * 3)
    explainer = load_explainer("grad-cam++", debug_backend)
    masks = explainer.masks(together, text)
    for row in range(3):
        alone = debug_backend.analyze(waveforms[row : row + 1])
        mask = explainer.masks(alone, debug_backend.encode_text(["a beep"]))[0]
        torch.testing.assert_close(masks[row], mask, atol=1e-4, rtol=0)  # masks divide by a maximum


def test_one_window_at_a_time_is_in_memory(debug_backend, make_beep, monkeypatch):
    sizes = []
    analyze = type(debug_backend).analyze

    def watched(self, waveform, valid_samples=None):
        sizes.append(tuple(waveform.shape))
        return analyze(self, waveform, valid_samples)

    monkeypatch.setattr(type(debug_backend), "analyze", watched)
    explain_clip(make_beep(21.0), PROMPTS, debug_backend, LoudCells(debug_backend), score=False)
    assert set(sizes) == {(1, debug_backend.clip_samples)}
    assert len(sizes) == 22  # 11 windows: heard once to classify, once to explain


def test_a_long_recordings_windows_are_explained_where_they_lie(planted_backend, make_beep):
    """The box is at 0.96 s to 1.6 s of each 2 s window; the kept sound must be there in every window."""
    clip = make_beep(6.0)
    box = FixedMask(planted_backend, box=(slice(None), planted_backend.box_frames))
    mask = explain_clip(clip, PROMPTS, planted_backend, box, score=False).explanation.mask[0]
    for window in range(3):
        columns = mask[window * 100 : window * 100 + 100]
        assert columns[48:80].min() == 1.0 and not columns[:48].any() and not columns[80:].any()


@pytest.mark.parametrize("target", ["a door slams", "  rain on a roof "])
def test_any_sentence_can_be_the_target(debug_backend, beep_in_noise, target):
    result = explain_clip(beep_in_noise, PROMPTS, debug_backend, LoudCells(debug_backend), target=target)
    embedding = open_recording(beep_in_noise, debug_backend).embedding
    expected = embedding @ debug_backend.encode_text([target]).embedding[0]
    assert result.target == result.explanation.prompt == target.strip()
    assert result.target_similarity == pytest.approx(float(expected), abs=1e-6)
    assert result.prediction.prompts == tuple(PROMPTS)
    assert all(math.isfinite(value) for value in result.metrics.values())


def test_the_order_of_prompts_changes_nothing_but_the_order(debug_backend, beep_in_noise):
    recording = open_recording(beep_in_noise, debug_backend)
    prompts = ["rain", "a beep", "a dog"]
    first, second = (classify(recording, p, debug_backend) for p in (prompts, prompts[::-1]))
    torch.testing.assert_close(first.probabilities, second.probabilities.flip(0), atol=1e-6, rtol=0)
    assert first.prompts[first.predicted] == second.prompts[second.predicted]


def test_a_recording_of_another_rate_is_brought_to_the_backends(debug_backend, make_beep):
    clip = make_beep(2.0, 44100)
    result = explain_clip(clip, PROMPTS, debug_backend, LoudCells(debug_backend), score=False)
    assert result.clip.sample_rate == result.listening.kept.sample_rate == 16000
    assert torch.equal(result.clip.waveform, resample(clip, 16000).waveform)


def test_progress_rises_to_one(debug_backend, make_beep):
    seen = []
    explain_clip(
        make_beep(6.0),
        PROMPTS,
        debug_backend,
        LoudCells(debug_backend),
        progress=lambda share, _: seen.append(share),
    )
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(seen) >= 3


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


def test_clips_made_by_hand_pass_the_same_gate(debug_backend):
    silent = AudioClip(torch.zeros(16000), 16000, "silence")
    with pytest.raises(AudioError, match="'silence' is silent"):
        explain_clip(silent, PROMPTS, debug_backend, LoudCells(debug_backend))


def test_wrong_prompts_are_refused_before_anything_is_explained(debug_backend, beep_in_noise):
    for prompts, target in (([], None), (["rain", " "], None), (["rain"], "  ")):
        with pytest.raises(PromptError):
            explain_clip(beep_in_noise, prompts, debug_backend, LoudCells(debug_backend), target=target)


def test_the_shortest_accepted_clip_can_be_explained(debug_backend, make_beep):
    tone = torch.sin(torch.arange(800) * 0.3)  # 0.1 s at 8 kHz
    result = explain_clip(make_clip(tone, 8000), PROMPTS, debug_backend, LoudCells(debug_backend))
    assert len(result.listening.kept.waveform) == 1600


def test_the_most_probable_prompts_come_one_after_the_other(debug_backend, beep_in_noise, monkeypatch):
    recording = open_recording(beep_in_noise, debug_backend)
    prompts = ["rain", "a beep", "a dog", "wind"]
    prediction = classify(recording, prompts, debug_backend)
    order = [prompts[i] for i in prediction.probabilities.argsort(descending=True).tolist()]
    explained, shares = [], []
    explainer = load_explainer("grad-cam++", debug_backend)
    attribute = explainer.attribute
    monkeypatch.setattr(
        explainer, "attribute", lambda a, t, p: explained.append(t.prompts[0]) or attribute(a, t, p)
    )
    task = (recording, prompts, debug_backend, explainer)
    results = explain_top(*task, 3, score=False, progress=lambda share, _: shares.append(share))
    assert next(results).target == order[0] and explained == order[:1], (
        "nothing is made before it is asked for"
    )
    assert [result.target for result in results] == order[1:3]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert [result.target for result in explain_top(*task, 9, score=False)] == order
    alone = explain(*task, target=order[1], score=False)
    again = list(explain_top(*task, 2, score=False))[1]
    assert torch.equal(alone.explanation.mask, again.explanation.mask)


def test_an_attribution_lies_on_the_recordings_own_axis_beside_its_mask(debug_backend, make_beep):
    clip = make_beep(4.7)
    explainer = load_explainer("integrated-gradients", debug_backend, "mel", steps=4)
    explanation = explain_clip(clip, PROMPTS, debug_backend, explainer, score=False).explanation
    assert explanation.attribution.shape == explanation.mask.shape == (32, 236)
    assert float(explanation.attribution.min()) < 0
    assert bool((explanation.mask[explanation.attribution <= 0] == 0).all())
    errors = []
    for state in open_recording(clip, debug_backend).states:
        found = explainer.attribute(state, debug_backend.encode_text([explanation.prompt]))
        errors.append(float(found.completeness_error))
    assert len(errors) == 3 and explanation.completeness_error == pytest.approx(max(errors))
    other = explain_clip(clip, PROMPTS, debug_backend, LoudCells(debug_backend), score=False).explanation
    assert other.attribution is None and other.completeness_error is None


def test_steps_inside_a_window_count_as_progress_and_may_stop_it(debug_backend, make_beep):
    class Stopped(Exception):
        pass

    explainer = load_explainer("rise", debug_backend, "mel", n=3 * PASSES_AT_ONCE)
    shares = []
    task = (make_beep(3.5), PROMPTS, debug_backend, explainer)
    explain_clip(*task, score=False, progress=lambda share, _: shares.append(share))
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0])  # two windows of three chunks

    def stop(share, _):
        if share > 0.4:
            raise Stopped

    with pytest.raises(Stopped):
        explain_clip(*task, score=False, progress=stop)
