"""Mixing at a stated signal-to-noise ratio."""

import math

import pytest
import torch

from lmaczs.errors import AudioError
from lmaczs.signal.mixing import active_power, add_at_gain, mix_at_gains, mix_at_snr, mix_powers

TIME = torch.arange(32000) / 16000
TONE = 0.1 * torch.sin(2 * torch.pi * 500 * TIME)
NOISE = 0.3 * torch.randn(32000, generator=torch.Generator().manual_seed(0))


def decibels(ratio: float) -> float:
    return 10 * math.log10(ratio)


@pytest.mark.parametrize("snr_db", [-6.0, 0.0, 3.0])
def test_snr_is_what_was_asked_for(snr_db):
    mixture, interferer = mix_at_snr(TONE, NOISE, snr_db)
    measured = decibels(float(TONE.double().square().mean() / interferer.double().square().mean()))
    assert measured == pytest.approx(snr_db, abs=1e-4)
    assert torch.equal(mixture, TONE + interferer)


def test_padding_does_not_make_a_sound_quieter():
    padded = TONE.clone()
    padded[8000:] = 0.0
    assert active_power(padded) == pytest.approx(0.1**2 / 2, rel=1e-4)
    _, beside_padded = mix_at_snr(padded, NOISE, 0.0)
    _, beside_whole = mix_at_snr(TONE, NOISE, 0.0)
    assert torch.allclose(
        beside_padded, beside_whole, atol=1e-6
    )  # a mean over the padding would give half of it


def test_quiet_parts_above_the_threshold_count():
    fading = TONE.clone()
    fading[16000:] *= 0.1  # 20 dB below
    assert active_power(fading) == pytest.approx((0.005 + 0.00005) / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("target", "interferer"), [(TONE, 0 * TONE), (0 * TONE, TONE)], ids=["interferer", "target"]
)
def test_silence_is_refused(target, interferer):
    with pytest.raises(AudioError, match="silent"):
        mix_at_snr(target, interferer, 0.0)


def test_sounds_are_mixed_at_their_levels():
    generator = torch.Generator().manual_seed(0)
    loud, quiet = torch.randn(16000, generator=generator), 0.01 * torch.randn(16000, generator=generator)
    mixture = mix_at_gains([quiet, loud], [0.0, -20.0])
    assert float(mixture.abs().max()) == pytest.approx(0.9)
    part = float((mixture @ quiet) / quiet.square().sum()) * quiet
    ratio = 10 * torch.log10(part.square().sum() / (mixture - part).square().sum())
    assert float(ratio) == pytest.approx(20.0, abs=0.3)


def test_a_sound_is_added_at_its_gain_one_for_each_of_a_batch():
    pair = torch.stack([NOISE, TONE])
    added = add_at_gain(torch.zeros(2, 32000), pair, torch.tensor([[-20.0], [6.0]]))
    assert torch.allclose(added, torch.stack([0.1 * NOISE, 10**0.3 * TONE]))
    assert torch.allclose(add_at_gain(TONE, NOISE, -20.0), TONE + 0.1 * NOISE)


def test_powers_add_at_the_ratio_that_was_asked_for():
    power, other = torch.full((2, 3, 4), 2.0), torch.full((2, 3, 4), 50.0)
    mixed = mix_powers(power, other, torch.tensor([0.0, 10.0]))
    assert torch.allclose(mixed, torch.tensor([4.0, 2.2])[:, None, None].expand(2, 3, 4))
