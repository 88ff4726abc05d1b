"""Where a mask meets a sound: no trap of decibels, nothing lost, and the same result in blocks."""

import pytest
import torch

from lmaczs.errors import MaskShapeError
from lmaczs.signal import masking
from lmaczs.signal.masking import masked_power, masked_waveform, mel_mask_to_stft, resize_mask
from lmaczs.signal.spectral import SpectralConfig, istft, mel_filterbank, power_to_db, stft

GRID = SpectralConfig()
TAIL = GRID.n_fft // 2  # samples after the last frame's centre, where one fading window is all there is


def noise(num_samples, seed=0):
    return 0.3 * torch.randn(num_samples, generator=torch.Generator().manual_seed(seed))


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def mask_for(waveform, seed=0):
    return uniform(GRID.n_bins, 1 + len(waveform) // GRID.hop_length, seed=seed)


def grid_power(waveform, filters, domain):
    """Power of the cells that a mask has: (1, freq, frames)."""
    power = stft(waveform.unsqueeze(0), GRID).abs().square()
    return power if domain == "stft" else filters @ power


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_a_smaller_mask_never_raises_any_mel_bin(domain):
    """The trap of masking decibels: a mask of 0 would turn -60 dB into 0 dB."""
    filters = mel_filterbank(GRID)
    # Quiet: every level is below 0 dB.
    power = grid_power(1e-3 * noise(16000), filters, domain)
    rows = GRID.n_bins if domain == "stft" else GRID.n_mels
    larger = uniform(1, rows, power.shape[2], seed=1)
    smaller = larger * uniform(1, rows, power.shape[2], seed=2)
    masked = [masked_power(power, mask, domain) for mask in (smaller, larger)]
    levels = [power_to_db(filters @ part if domain == "stft" else part) for part in masked]
    assert float(levels[1].max()) < 0
    assert bool((levels[0] <= levels[1] + 1e-4).all())  # float rounding of a sum, in dB
    assert float((levels[1] - levels[0]).mean()) > 1


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_one_keeps_and_zero_removes_all_mel_power(domain):
    power = grid_power(noise(8000), mel_filterbank(GRID), domain)
    ones = torch.ones_like(power)
    assert torch.equal(masked_power(power, ones, domain), power)
    assert not masked_power(power, 0 * ones, domain).any()


def test_what_is_scored_is_what_is_heard():
    """The encoder sees the power of the masked STFT, not the masked power."""
    spectrum = stft(noise(8000).unsqueeze(0), GRID)
    mask = uniform(1, GRID.n_bins, spectrum.shape[2])
    seen = masked_power(spectrum.abs().square(), mask, "stft")
    torch.testing.assert_close(seen, (spectrum * mask).abs().square(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_gradient_reaches_the_mask(domain):
    power = grid_power(noise(8000), mel_filterbank(GRID), domain)
    mask = uniform(*power.shape).requires_grad_()
    masked_power(power, mask, domain).sum().backward()
    assert bool(torch.isfinite(mask.grad).all()) and float(mask.grad.abs().mean()) > 0


@pytest.mark.parametrize("num_samples", [16000, 16123, 1024, 700])
@pytest.mark.parametrize("block", [1, 7, 500])
def test_blocks_give_the_inverse_stft_of_the_masked_stft(num_samples, block, monkeypatch):
    monkeypatch.setattr(masking, "BLOCK_FRAMES", block)
    waveform = noise(num_samples)
    mask = mask_for(waveform)
    expected = istft(stft(waveform.unsqueeze(0), GRID) * mask, GRID, num_samples)[0]
    covered = num_samples // GRID.hop_length * GRID.hop_length
    torch.testing.assert_close(
        masked_waveform(waveform, mask, GRID)[:covered], expected[:covered], atol=1e-5, rtol=0
    )


def test_kept_and_removed_masks_split_the_input():
    waveform = noise(16123)
    mask = mask_for(waveform)
    parts = masked_waveform(waveform, mask, GRID) + masked_waveform(waveform, 1 - mask, GRID)
    torch.testing.assert_close(parts, waveform, atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_samples", [16000, 16319, 513])
def test_one_mask_is_a_no_op_and_zero_mask_is_silence(num_samples):
    waveform = noise(num_samples)
    ones = torch.ones_like(mask_for(waveform))
    torch.testing.assert_close(masked_waveform(waveform, ones, GRID), waveform, atol=1e-5, rtol=0)
    assert not masked_waveform(waveform, 0 * ones, GRID).any()


def test_a_band_mask_keeps_the_tone_in_it_and_removes_the_other():
    time = torch.arange(16000) / 16000
    low, high = torch.sin(2 * torch.pi * 500 * time), torch.sin(2 * torch.pi * 3000 * time)
    mask = torch.zeros_like(mask_for(low))
    mask[: round(1500 / 15.625)] = 1
    middle = slice(2000, 14000)
    kept = masked_waveform(low + high, mask, GRID)
    torch.testing.assert_close(kept[middle], low[middle], atol=1e-3, rtol=0)  # side lobes of the window


def test_a_mask_of_another_grid_is_refused_with_both_shapes():
    with pytest.raises(MaskShapeError, match=r"513 x 50 .* 513 x 51"):
        masked_waveform(noise(16000), torch.ones(513, 50), GRID)


def test_mel_mask_on_bins_keeps_ones_zeros_range_and_order():
    filters = mel_filterbank(GRID)
    ones = torch.ones(GRID.n_mels, 4)
    torch.testing.assert_close(mel_mask_to_stft(ones, filters), torch.ones(GRID.n_bins, 4))
    assert not mel_mask_to_stft(0 * ones, filters).any()
    larger = uniform(GRID.n_mels, 4)
    smaller = larger * uniform(GRID.n_mels, 4, seed=1)
    assert bool((mel_mask_to_stft(smaller, filters) <= mel_mask_to_stft(larger, filters) + 1e-6).all())
    band = torch.zeros(GRID.n_mels, 1)
    band[20] = 1
    assert filters[20, int(mel_mask_to_stft(band, filters).argmax())] > 0


def test_the_gradient_of_a_mel_mask_on_bins_is_finite_also_where_nothing_is_kept():
    mask = uniform(GRID.n_mels, 4)
    mask[10:40] = 0
    mask.requires_grad_()
    mel_mask_to_stft(mask, mel_filterbank(GRID)).sum().backward()
    assert bool(torch.isfinite(mask.grad).all()) and float(mask.grad.max()) > 0


def test_resizing_keeps_the_range_and_a_constant():
    mask = uniform(2, 5, 7)
    resized = resize_mask(mask, 16, 30)
    assert resized.shape == (2, 16, 30)
    assert float(resized.min()) >= float(mask.min()) and float(resized.max()) <= float(mask.max())
    torch.testing.assert_close(resize_mask(torch.full((1, 3, 3), 0.4), 8, 9), torch.full((1, 8, 9), 0.4))
