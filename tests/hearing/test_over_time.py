"""Scores over time: a window that moves on, as each would be heard alone; nothing is said of silence."""

import pytest
import torch

from lmaczs.hearing import classify, classify_over_time, listen, listen_over_time
from lmaczs.types import AudioClip

PROMPTS = ["a beep", "rain"]


def test_each_place_is_what_the_window_alone_says(planted_backend, make_beep):
    clip = make_beep(6.0, 16000, 0)
    size, rate = planted_backend.clip_samples, clip.sample_rate
    recording = listen(clip, planted_backend)
    heard = listen_over_time(recording, planted_backend)
    found = classify_over_time(heard, PROMPTS, planted_backend)
    spare = len(clip.waveform) - size
    assert len(found) == 1 + round(spare / rate) and found.shape[1] == 2
    for place, (time, shares) in enumerate(zip(heard.times.tolist(), found, strict=True)):
        start = round(place * spare / (len(found) - 1))
        assert time == pytest.approx((start + size / 2) / rate)
        alone = AudioClip(clip.waveform[start : start + size], rate, "window")
        said = classify(listen(alone, planted_backend), PROMPTS, planted_backend)
        assert torch.allclose(shares, said.probabilities, atol=1e-5)
    # The beep sounds from 1.0 to 1.5 s: its score falls as the window leaves it.
    assert float(found[0, 0]) > float(found[-1, 0])


def test_a_recording_that_fits_into_a_window_has_one_place(planted_backend, make_beep):
    clip = make_beep(1.0, 16000, 0)
    heard = listen_over_time(listen(clip, planted_backend), planted_backend)
    found = classify_over_time(heard, PROMPTS, planted_backend)
    whole = classify(listen(clip, planted_backend), PROMPTS, planted_backend)
    assert heard.times.tolist() == [0.5] and torch.allclose(found[0], whole.probabilities, atol=1e-6)


def test_silence_says_nothing_and_long_recordings_have_longer_hops(planted_backend, make_beep):
    beep = make_beep(2.0, 16000, 0)
    size = planted_backend.clip_samples
    clip = AudioClip(torch.cat([beep.waveform, torch.zeros(4 * size)]), 16000, "then silence")
    heard = listen_over_time(listen(clip, planted_backend), planted_backend, most=7)
    found = classify_over_time(heard, PROMPTS, planted_backend)
    assert len(found) == 7
    assert not found[0].isnan().any() and found[-1].isnan().all()
    assert torch.equal(found.isnan().any(1), ~heard.sounds)
