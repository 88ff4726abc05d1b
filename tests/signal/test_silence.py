"""Silence belongs to no window: it has no vote and no map."""

from itertools import pairwise

import pytest
import torch

from lmaczs.signal.spectral import SpectralConfig
from lmaczs.signal.windows import SILENT_DB, plan_windows, sounding_blocks, stitch

RATE = 16000
GRID = SpectralConfig(sample_rate=RATE, n_fft=512, hop_length=320, n_mels=32)
WINDOW = 2 * RATE
BLOCK = RATE // 100


def scene(*parts, floor=0.0, seed=0):
    """Stretches of noise: (seconds, level) each, over a floor of noise."""
    generator = torch.Generator().manual_seed(seed)
    parts = [level * torch.randn(round(seconds * RATE), generator=generator) for seconds, level in parts]
    waveform = torch.cat(parts)
    return waveform + floor * torch.randn(len(waveform), generator=generator)


SCENES = {
    "sound all through": scene((7.3, 0.1)),
    "shorter than a window": scene((0.4, 0.1)),
    "silence before": scene((3.0, 0.0), (3.1, 0.1)),
    "silence behind": scene((2.9, 0.1), (4.0, 0.0)),
    "a silent minute": scene((3.3, 0.1), (60.0, 0.0), (2.2, 0.1)),
    "two short sounds near the start": scene((0.4, 0.1), (2.03, 0.0), (0.4, 0.1)),
    "two short sounds near the end": scene((9.0, 0.0), (0.3, 0.1), (2.05, 0.0), (0.3, 0.1)),
    "many short sounds": scene(*[(0.2, 0.1), (2.2, 0.0)] * 5),
    "a floor of noise": scene((5.0, 0.0), (3.3, 0.1), (5.01, 0.0), floor=10 ** (-70 / 20)),
    "a loud and a faint sound": scene((3.0, 0.3), (4.0, 0.3 * 10 ** (-60 / 20))),
}
every_scene = pytest.mark.parametrize("name", SCENES)


@every_scene
def test_votes_add_up_and_no_sample_has_two_windows(name):
    waveform = SCENES[name]
    plan = plan_windows(waveform, WINDOW, RATE)
    assert sum(window.weight for window in plan.windows) == pytest.approx(1.0)
    assert all(0 < window.weight <= 1 for window in plan.windows)
    for window in plan.windows:
        assert 0 <= window.start <= window.first < window.stop <= len(waveform)
        # Explained is what the window holds, and at most the short tail behind it.
        assert window.stop - window.start < 1.01 * WINDOW
        if len(waveform) >= WINDOW:
            assert window.start + WINDOW <= len(waveform)
    assert all(earlier.stop <= later.first for earlier, later in pairwise(plan.windows))


@every_scene
def test_what_sounds_is_explained(name):
    """All of what is not silent lies in some window, but for the last block, which may be cut."""
    waveform = SCENES[name]
    explained = torch.zeros(len(waveform), dtype=torch.bool)
    for window in plan_windows(waveform, WINDOW, RATE).windows:
        explained[window.first : window.stop] = True
    sounding = sounding_blocks(waveform, BLOCK).repeat_interleave(BLOCK)[: len(waveform)]
    assert bool(explained[sounding & (waveform != 0)].all())


@pytest.mark.parametrize("floor", [0.0, 10 ** (-70 / 20)])
def test_votes_are_shares_of_the_time_that_sounds(floor):
    waveform = scene((3.0, 0.1), (60.0, 0.0), (1.0, 0.1), floor=floor)
    votes = [window.weight for window in plan_windows(waveform, WINDOW, RATE).windows]
    assert votes == pytest.approx([2 / 4, 1 / 4, 1 / 4], abs=0.01)


def test_a_silent_minute_has_no_window_and_no_map():
    waveform = scene((2.0, 0.1), (60.0, 0.0), (2.0, 0.1))
    plan = plan_windows(waveform, WINDOW, RATE)
    assert [(window.first / RATE, window.stop / RATE) for window in plan.windows] == [(0, 2), (62, 64)]
    stitched = stitch(torch.ones(2, 1, 101), plan, GRID)[0]
    assert bool((stitched[:100] == 1).all()) and bool((stitched[3100:] == 1).all())
    assert not stitched[100:3100].any()


@pytest.mark.parametrize("before", [0.5, 3.0, 3.21357, 41.3])
@pytest.mark.parametrize("behind", [0.0, 7.77])
def test_zeros_around_a_sound_do_not_move_its_windows(before, behind):
    """To the sample, also where the zeros are no whole number of blocks."""
    inner = scene((4.56789, 0.1))
    zeros = round(before * RATE)
    alone = plan_windows(inner, WINDOW, RATE).windows
    around = plan_windows(
        torch.cat([torch.zeros(zeros), inner, torch.zeros(round(behind * RATE))]), WINDOW, RATE
    ).windows
    assert [window.start - zeros for window in around] == [window.start for window in alone]
    assert [window.weight for window in around] == pytest.approx(
        [window.weight for window in alone], abs=0.01
    )


def test_a_pause_shorter_than_a_window_is_explained_with_what_surrounds_it():
    waveform = scene((1.5, 0.1), (1.0, 0.0), (1.5, 0.1))
    plan = plan_windows(waveform, WINDOW, RATE)
    assert [(window.first, window.stop) for window in plan.windows] == [(0, WINDOW), (WINDOW, 2 * WINDOW)]
    assert [window.weight for window in plan.windows] == pytest.approx([0.5, 0.5], abs=0.01)


@pytest.mark.parametrize(("below_db", "silent"), [(SILENT_DB + 3, True), (SILENT_DB - 3, False)])
def test_silence_is_told_by_the_loudest_part_whatever_the_level(below_db, silent):
    for level in (1e-3, 0.3):
        waveform = scene((3.0, level), (4.0, level * 10 ** (-below_db / 20)))
        last = plan_windows(waveform, WINDOW, RATE).windows[-1]
        assert (last.stop <= 3.02 * RATE) == silent


def test_a_click_is_no_measure_of_what_is_loud():
    """One sample of full scale over a sound at -30 dB: loud is what is loud for a tenth of a second."""
    waveform = scene((6.0, 10 ** (-30 / 20)))
    waveform[0] = 1.0
    assert bool(sounding_blocks(waveform, BLOCK).all())


def test_a_recording_without_any_sound_is_one_stretch():
    plan = plan_windows(torch.zeros(5 * RATE), WINDOW, RATE)
    assert sum(window.weight for window in plan.windows) == pytest.approx(1.0)
    assert plan.windows[-1].stop == 5 * RATE
