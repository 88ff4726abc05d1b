"""Recordings of any length: where windows lie, and how their maps come back."""

import pytest
import torch

from lmaczs.signal.spectral import SpectralConfig
from lmaczs.signal.windows import clip_frames, cut_windows, plan_windows, stitch

RATE = 16000
GRID = SpectralConfig(sample_rate=RATE, n_fft=512, hop_length=320, n_mels=32)
WINDOW = 100 * 320  # 2 s, 101 frames


def sound(num_samples, seed=0):
    """Noise of full level that sounds everywhere."""
    return torch.randn(num_samples, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def plan_of(num_samples, window=WINDOW):
    return plan_windows(sound(num_samples), window, RATE)


def starts(plan):
    return tuple(window.start for window in plan.windows)


@pytest.mark.parametrize(
    ("num_samples", "expected"),
    [
        (1600, (0,)),
        (WINDOW - 1, (0,)),
        (WINDOW, (0,)),
        # A rest under 1 % gets no window of its own.
        (WINDOW + 100, (0,)),
        (WINDOW + 320, (0, 320)),
        (2 * WINDOW, (0, WINDOW)),
        (int(2.5 * WINDOW), (0, WINDOW, int(1.5 * WINDOW))),
    ],
)
def test_windows_cover_the_recording_side_by_side(num_samples, expected):
    plan = plan_of(num_samples)
    assert starts(plan) == expected
    assert plan.valid_samples == min(num_samples, WINDOW)
    uncovered = num_samples - (plan.windows[-1].start + WINDOW)
    assert uncovered < 0.01 * WINDOW
    assert [window.first for window in plan.windows] == [0, *(window.stop for window in plan.windows[:-1])]
    assert plan.windows[-1].stop == num_samples


def test_a_short_recording_is_tiled_from_its_first_sample():
    waveform = torch.arange(7000.0)
    window = cut_windows(waveform, plan_of(7000), 0, 1)
    assert window.shape == (1, WINDOW)
    assert torch.equal(window[0], torch.arange(WINDOW).remainder(7000).float())


def test_windows_of_a_long_recording_are_its_own_samples():
    waveform = torch.arange(2.5 * WINDOW)
    windows = cut_windows(waveform, plan_of(len(waveform)), 1, 3)
    assert torch.equal(windows[0], waveform[WINDOW : 2 * WINDOW])
    assert torch.equal(windows[1], waveform[-WINDOW:])


def test_maps_of_copies_are_averaged_back_on_the_recording():
    """40 hops tiled into 100: two whole copies count, the cut third one does not."""
    mask = torch.zeros(1, 2, 101)
    # First copy only.
    mask[0, 0, 10] = 1.0
    # Both copies.
    mask[0, 1, 20] = mask[0, 1, 60] = 1.0
    # The cut copy, frame 10 of it.
    mask[0, :, 90] = 1.0
    folded = stitch(mask, plan_of(40 * 320), GRID)
    assert folded.shape == (2, 41) == (2, clip_frames(40 * 320, GRID))
    assert float(folded[0, 10]) == 0.5 and float(folded[1, 20]) == 1.0
    assert float(folded.sum()) == 1.5


def test_a_map_that_follows_the_tiled_copies_folds_back_to_itself():
    """The period is no whole number of hops: copies lie between frames, and interpolation finds them."""
    num_samples = 7000
    sample = torch.arange(101) * 320.0
    wave = lambda position: 0.5 + 0.4 * torch.cos(2 * torch.pi * position / num_samples)  # noqa: E731
    folded = stitch(wave(sample)[None, None], plan_of(num_samples), GRID)[0]
    expected = wave(torch.arange(len(folded)) * 320.0)
    # Linear interpolation of a cosine.
    torch.testing.assert_close(folded, expected, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    "num_samples", [WINDOW, 2 * WINDOW, 5 * WINDOW // 2, 2 * WINDOW + 5001, 3 * WINDOW + 17]
)
def test_stitching_puts_every_column_at_its_own_time(num_samples):
    """Each window's map says the time of its columns; the stitched one must then say the time everywhere."""
    plan = plan_of(num_samples)
    times = torch.stack([(start + torch.arange(101) * 320.0)[None] for start in starts(plan)])
    stitched = stitch(times, plan, GRID)[0]
    expected = torch.arange(1 + num_samples // 320) * 320.0
    inside = expected <= plan.windows[-1].start + WINDOW
    # float32 of 1e5.
    torch.testing.assert_close(stitched[inside], expected[inside], atol=0.05, rtol=0)
    assert int((~inside).sum()) <= 1


def test_an_extremely_short_recording_still_has_its_own_columns():
    folded = stitch(torch.full((1, 3, 101), 0.7), plan_of(1600), GRID)
    torch.testing.assert_close(folded, torch.full((3, 6), 0.7))


def test_a_rest_without_a_window_of_its_own_shares_the_last_column():
    window = 200 * 320
    plan = plan_of(window + 600, window)
    assert starts(plan) == (0,)
    mask = torch.rand(1, 3, 201, generator=torch.Generator().manual_seed(0))
    stitched = stitch(mask, plan, GRID)
    torch.testing.assert_close(stitched[:, :201], mask[0])
    torch.testing.assert_close(stitched[:, 201], mask[0, :, -1])
