"""Silence around and within a sound changes no decision, and nothing is explained in it."""

import math
from pathlib import Path

import pytest
import torch

from lmaczs import load_backend, load_clip
from lmaczs.clap import EMBEDDED
from lmaczs.explainers import METHODS, entry_of, load_explainer
from lmaczs.hearing import classify, explain, listen, make_target, split
from lmaczs.types import AudioClip

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
LABELS = ("a siren", "an engine idling", "rain", "a dog barking", "a person speaking", "a car horn")
PROMPTS = tuple(f"this is the sound of {label}" for label in LABELS)
RATE = 16000
FAINT = 10 ** (-70 / 20)
QUICK = {
    "smoothgrad": {"n": 2},
    "integrated-gradients": {"steps": 3},
    "occlusion": {"bands": 32, "seconds": 2.0, "overlap": 1},
    "rise": {"n": 6},
    "slime": {"n": 24},
    "optimized-mask": {"steps": 2},
}


@pytest.fixture(scope="module")
def compact():
    return load_backend(EMBEDDED, "cpu")


@pytest.fixture(scope="module")
def siren(compact):
    clip = load_clip(EXAMPLES / "siren-and-engine.wav")
    return clip, classify(listen(clip, compact), PROMPTS, compact).probabilities


def around(waveform, before_s, behind_s, level=0.0):
    """Zeros or faint white noise on both sides."""
    generator = torch.Generator().manual_seed(0)
    sides = [level * torch.randn(round(part * RATE), generator=generator) for part in (before_s, behind_s)]
    return AudioClip(torch.cat([sides[0], waveform, sides[1]]), RATE, "around")


@pytest.mark.parametrize("level", [0.0, FAINT], ids=["zeros", "-70 dBFS"])
@pytest.mark.parametrize(
    ("before_s", "behind_s"), [(5.0, 5.0), (0.21, 0.0), (0.0, 1.7), (1.2345, 0.777), (7.7, 31.4159)]
)
def test_silence_around_a_siren_changes_no_probability(compact, siren, before_s, behind_s, level):
    clip, alone = siren
    recording = listen(around(clip.waveform, before_s, behind_s, level), compact)
    found = classify(recording, PROMPTS, compact).probabilities
    assert float((found - alone).abs().max()) < 0.02
    assert len(recording.plan.windows) == 1, "silence has no vote"


@pytest.mark.parametrize("seconds", [3.33, 4.9, 7.12345])
def test_also_around_shorter_and_longer_sounds(compact, siren, seconds):
    waveform = siren[0].waveform.repeat(2)[: round(seconds * RATE)]
    alone, padded = (
        classify(listen(clip, compact), PROMPTS, compact).probabilities
        for clip in (AudioClip(waveform, RATE, "alone"), around(waveform, 5.1, 2.3))
    )
    assert float((padded - alone).abs().max()) < 0.02


def test_a_silent_minute_in_the_middle_changes_no_decision(compact, siren):
    clip, alone = siren
    twice = torch.cat([clip.waveform, torch.zeros(60 * RATE), clip.waveform])
    recording = listen(AudioClip(twice, RATE, "minute"), compact)
    # What the resampler rings on for has a thousandth of a vote at most.
    weights = sorted((window.weight for window in recording.plan.windows), reverse=True)
    assert weights[:2] == pytest.approx([0.5, 0.5], abs=1e-3) and sum(weights[2:]) < 2e-3
    found = classify(recording, PROMPTS, compact).probabilities
    torch.testing.assert_close(found, alone, atol=5e-3, rtol=0)


@pytest.mark.parametrize("name", [name for name in METHODS if not entry_of(name).trained])
def test_no_method_explains_a_silent_minute(debug_backend, make_beep, name):
    """The two sounds get what they would get side by side, and what is kept adds up with what is removed."""
    beep = make_beep().waveform
    clip = AudioClip(torch.cat([beep, torch.zeros(60 * RATE), beep.flip(0)]), RATE, "minute")
    recording = listen(clip, debug_backend)
    method = load_explainer(name, debug_backend, **QUICK.get(name, {}))
    found = method.explain(recording, make_target(debug_backend, "a beep"))
    assert not found.mask[:, 100:3100].any()
    assert found.mask.any() or found.evidence == "absent"
    side_by_side = listen(AudioClip(torch.cat([beep, beep.flip(0)]), RATE, "two"), debug_backend)
    expected = method.explain(side_by_side, make_target(debug_backend, "a beep")).mask
    together = torch.cat([found.mask[:, :100], found.mask[:, 3100:]], dim=1)
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=0)
    parts = split(recording, found, method, debug_backend)
    torch.testing.assert_close(parts.kept.waveform + parts.removed.waveform, clip.waveform, atol=1e-6, rtol=0)


# --- horn, then hum


def hum(seconds, level_db, like):
    """A mains hum at a level relative to another sound."""
    time = torch.arange(round(seconds * RATE)) / RATE
    tones = torch.sin(2 * math.pi * 100 * time) + 0.5 * torch.sin(2 * math.pi * 200 * time)
    return tones * (like.square().mean().sqrt() / tones.square().mean().sqrt()) * 10 ** (level_db / 20)


@pytest.mark.parametrize("name", [name for name in METHODS if entry_of(name).name != "l2i-esc50"])
def test_a_hum_far_below_a_horn_lights_up_in_no_method(compact, name):
    """Scaled by its own maximum, the hum's window had a mean of .45 with GradCAM, and the horn's .07."""
    horn = load_clip(EXAMPLES / "horn-in-rain.wav").waveform
    recording = listen(AudioClip(torch.cat([horn, hum(5.0, -60, horn)]), RATE, "horn, hum"), compact)
    method = load_explainer(name, compact, **QUICK.get(name, {}))
    result = explain(recording, PROMPTS, compact, method, target=PROMPTS[-1], measure=False)
    mask, border = result.explanation.mask, int((result.times_s < len(horn) / RATE).sum())
    assert float(mask[:, border + 2 :].mean()) < 0.02 and mask[:, :border].any()
    kept, removed = result.listening.kept.waveform, result.listening.removed.waveform
    torch.testing.assert_close(kept + removed, recording.clip.waveform, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["integrated-gradients", "occlusion", "rise", "slime"])
def test_a_hum_that_is_heard_gets_no_more_than_it_adds_to_the_score(planted_backend, make_beep, name):
    """Loud enough to have a window of its own, in the band that the model hears; by changes of the score, not slopes."""
    beep = make_beep().waveform
    time = torch.arange(len(beep)) / RATE
    tone = torch.sin(2 * math.pi * 1200 * time) * 0.2 * 10 ** (-25 / 20)
    recording = listen(AudioClip(torch.cat([beep, tone]), RATE, "beep, hum"), planted_backend)
    assert len(recording.plan.windows) == 2
    options = {**QUICK.get(name, {}), **({"n": 60} if name == "rise" else {})}
    method = load_explainer(name, planted_backend, "mel", **options)
    mask = method.explain(recording, make_target(planted_backend, "a beep")).mask
    assert float(mask[:, 103:].mean()) < 0.1 * float(mask[:, :98].mean())
