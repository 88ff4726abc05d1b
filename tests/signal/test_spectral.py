"""Transforms against their definitions: inverse, physical places, and librosa's filters."""

import librosa
import pytest
import torch

from lmaczs.signal.spectral import (
    SpectralConfig,
    frequencies_hz,
    istft,
    mel_filterbank,
    mel_frequencies_hz,
    power_to_db,
    stft,
    times_s,
)

GRID = SpectralConfig()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_samples", [16000, 15999, 4321])
def test_inverse_of_the_stft_is_the_waveform(num_samples):
    waveform = noise(2, num_samples)
    covered = num_samples // GRID.hop_length * GRID.hop_length  # the window fades out past the last frame
    back = istft(stft(waveform, GRID), GRID, num_samples)
    torch.testing.assert_close(back[:, :covered], waveform[:, :covered], atol=1e-4, rtol=0)


def test_a_tone_lies_in_its_row_and_a_click_in_its_column():
    time = torch.arange(16000) / 16000
    power = stft(torch.sin(2 * torch.pi * 1000 * time).unsqueeze(0), GRID).abs().square()[0]
    row = int(power.mean(1).argmax())
    assert frequencies_hz(GRID)[row] == 1000
    click = torch.zeros(1, 16000)
    click[0, 8000] = 1.0
    column = int(stft(click, GRID).abs().square()[0].sum(0).argmax())
    assert float(times_s(51, GRID)[column]) == pytest.approx(0.5)


def test_last_column_is_the_end_of_the_recording():
    frames = stft(noise(1, 80000), GRID).shape[2]
    assert frames == 251
    assert float(times_s(frames, GRID)[-1]) == pytest.approx(5.0)


def test_stft_is_linear():
    first, second = noise(1, 8000, seed=1), noise(1, 8000, seed=2)
    both = stft(0.3 * first + second, GRID)
    torch.testing.assert_close(both, 0.3 * stft(first, GRID) + stft(second, GRID), atol=1e-3, rtol=1e-4)


def test_mel_filters_are_librosas():
    expected = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=64, fmin=50.0, fmax=8000.0)
    torch.testing.assert_close(mel_filterbank(GRID), torch.from_numpy(expected), atol=1e-7, rtol=1e-6)


def test_mel_centres_are_where_the_filters_peak():
    peaks = frequencies_hz(GRID)[mel_filterbank(GRID).argmax(1)]
    width = GRID.sample_rate / GRID.n_fft  # a peak can only fall on a bin
    assert float((peaks - mel_frequencies_hz(GRID)).abs().max()) <= width


def test_decibels_have_a_floor():
    assert power_to_db(torch.tensor([1.0, 0.01, 0.0])).tolist() == pytest.approx(
        [0.0, -20.0, -100.0], abs=1e-4
    )
