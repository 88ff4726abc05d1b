"""Components as lanes in a real Chromium: what is heard of them, and what can be kept."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from bands import ORDER, SHARE
from lane_words import AMPLITUDES, TONES_HZ, TRIES, click_of, heard, levels, overrule, part_of, phasors, solo
from playwright.sync_api import Locator
from recorder import Recorder
from visit import Visit

pytestmark = pytest.mark.alone


def test_levels_on_the_loudspeaker_are_those_of_the_parts(explained: Visit):
    visit, recorder = explained, Recorder(explained)
    visit.page.get_by_role("button", name="Loop", exact=True).click()  # every tone ends where it began
    visit.play.click()
    whole = levels(recorder)
    assert whole == pytest.approx(AMPLITUDES, rel=0.2)  # the browser's resampling dampens high tones

    def shares() -> np.ndarray:
        assert visit.state()["playing"]
        return levels(recorder) / whole

    for index in ORDER:
        solo(visit, index).click()
        assert shares() == pytest.approx(heard({index: SHARE}), abs=0.01)
        solo(visit, index).click()
    solo(visit, "rest").click()
    assert shares() == pytest.approx([1 - SHARE] * 4, abs=0.01)
    solo(visit, 2).click()  # two at once
    assert shares() == pytest.approx(heard({2: 1.0}, 1 - SHARE), abs=0.01)
    visit.track("kept").click()  # no longer through single components
    assert shares() == pytest.approx(heard({2: 0.0}, SHARE), abs=0.01)
    overrule(visit, 1).click()  # mute
    assert shares() == pytest.approx(heard({0: SHARE, 3: SHARE}), abs=0.01)
    overrule(visit, 2).click()  # add
    assert shares() == pytest.approx(heard({1: 0.0}, SHARE), abs=0.01)
    overrule(visit, "rest").click()
    assert shares() == pytest.approx(heard({1: 1 - SHARE}, 1.0), abs=0.01)
    assert (
        visit.page.locator(".lz-mix-words").inner_text()
        == "You hear what counted, without component 1, with component 4 and the rest."
    )
    visit.page.get_by_role("button", name="Reset", exact=True).click()
    assert visit.page.locator(".lz-mix-words").inner_text() == "You hear what counted."
    visit.page.locator(".lz-tau").fill("0.5")
    assert shares() == pytest.approx(heard({1: SHARE, 3: SHARE}), abs=0.01)
    visit.track("removed").click()
    assert shares() == pytest.approx(heard({1: 1 - SHARE, 3: 1 - SHARE}, 1.0), abs=0.01)
    visit.track("original").click()
    assert shares() == pytest.approx([1.0] * 4, abs=0.01)
    visit.page.get_by_role("button", name="Match loudness", exact=True).click()
    solo(visit, 3).click()
    loud = np.sqrt((AMPLITUDES**2).sum()) / AMPLITUDES[3]
    assert shares()[3] == pytest.approx(loud, rel=0.03)


def steadiness(samples: np.ndarray, rate: float) -> tuple[float, float]:
    """In how many pieces the tone of band 1 is as loud as ever, and how far its phase wanders there, in radians."""
    size = round(0.05 * rate)
    pieces = samples[: len(samples) // size * size].reshape(-1, size)
    turns = np.exp(-2j * np.pi * TONES_HZ[1] * np.arange(len(pieces)) * size / rate)
    tone = np.array([phasors(piece, rate)[1] for piece in pieces]) * turns
    steady = np.abs(np.abs(tone) / AMPLITUDES[1] - 0.95) < 0.1
    if not steady.any():
        return 0.0, np.inf
    return float(steady.mean()), float(np.abs(np.angle(tone[steady] / tone[steady][0])).max())


def test_switching_parts_keeps_the_place_and_never_clicks(explained: Visit):
    visit, recorder = explained, Recorder(explained)
    visit.play.click()
    for _ in range(TRIES):
        visit.track("original").click()
        visit.page.locator(".lz-tau").fill("0.3")
        visit.page.keyboard.press("Home")
        recorder.take(200)
        start = visit.state()["pos"]
        for press in (
            lambda: solo(visit, 1).click(),
            lambda: solo(visit, 1).click(),
            lambda: overrule(visit, 3).click(),
            lambda: visit.track("kept").click(),
            lambda: visit.page.get_by_role("button", name="Reset", exact=True).click(),
            lambda: visit.page.locator(".lz-tau").fill("0.7"),
        ):
            press()
            place = visit.state()["pos"]
            visit.until(f"state.pos > {place + 0.15}")
        end = visit.state()["pos"]
        samples = recorder.take()
        # On a busy machine the recorder and the page's clock are read at different moments.
        late = abs(end - start - len(samples) / recorder.rate)
        steady, drift = steadiness(samples, recorder.rate)
        # A sample that the recorder misses turns the tone, too: a fault of the page comes with every try.
        if not recorder.broken and late < 0.6 and drift < 0.05:
            break
    assert not recorder.broken and late < 0.6
    assert visit.state()["playing"]
    # Band 1 is in every one of these mixes: its tone goes on as if nothing had happened.
    assert steady > 0.6
    assert drift < 0.05  # 10 microseconds
    # Where the recording has no sound, a cut of a tone would be heard.
    assert click_of(samples, recorder.rate) < 1e-3
    third = len(samples) // 3
    samples[third + np.abs(samples[third : 2 * third]).argmax() :] = 0
    assert click_of(samples, recorder.rate) > 5e-3


def test_parts_add_up_to_the_original(explained: Visit):
    names, misfit, loudness = explained.player.evaluate(
        """player => {
            const { original, ...parts } = player.samples();
            const sum = new Float64Array(original.length);
            for (const samples of Object.values(parts)) samples.forEach((value, at) => (sum[at] += value));
            const misfit = sum.reduce((most, value, at) => Math.max(most, Math.abs(value - original[at])), 0);
            const power = parts["component-3"].reduce((total, value) => total + value ** 2, 0);
            return [Object.keys(parts), misfit, Math.sqrt(power / original.length)];
        }"""
    )
    assert names == [*map(part_of, ORDER), "rest"]
    assert misfit < 1e-6
    assert loudness == pytest.approx(SHARE * AMPLITUDES[0] / np.sqrt(2), rel=0.01)


def test_what_is_mixed_on_the_page_can_be_kept(explained: Visit, tmp_path: Path):
    visit, page = explained, explained.page

    def download(press: Locator) -> np.ndarray:
        with page.expect_download() as found:
            press.click()
        found.value.save_as(tmp_path / "mix.wav")
        samples, rate = soundfile.read(tmp_path / "mix.wav")
        assert len(samples) / rate == pytest.approx(visit.state()["dur"])
        middle = samples[rate : 2 * rate]
        return np.abs(phasors(middle, rate)) / AMPLITUDES

    links = page.locator(".lz-downloads")
    kept = download(links.get_by_text("What counted", exact=True))  # the server's
    assert kept == pytest.approx(heard({2: 0.0}, SHARE), abs=0.01)
    solo(visit, 3).click()
    page.locator(".lz-tau").fill("0.9")
    kept = download(links.get_by_text("What counted", exact=True))
    assert kept == pytest.approx(heard({1: SHARE}), abs=0.01)
    removed = download(links.get_by_text("What was ignored", exact=True))
    assert removed == pytest.approx(heard({1: 1 - SHARE}, 1.0), abs=0.01)
    alone = download(page.get_by_role("button", name="Download this"))
    assert alone == pytest.approx(heard({3: SHARE}), abs=0.01)
