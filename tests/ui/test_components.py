"""Components as lanes in a real Chromium, with a method whose components are known (see `bands`)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bands import EDGES_HZ, ORDER, RELEVANCE, SHARE
from playwright.sync_api import Locator
from recorder import Recorder
from stage import ROOT, running_page
from visit import Visit

from lmaczs.ui import text
from lmaczs.ui.settings import read

RATE, SECONDS = 44100, 30.0
TONES_HZ = np.array([300.0, 790.0, 1830.0, 3470.0])  # one in each band
AMPLITUDES = np.array([0.2, 0.15, 0.1, 0.08])
QUIET_HZ = (4500, 7500)  # where the recording has nothing, and a click would have something
STEADY_S = 0.15
TRIES = 5  # until a recording of the browser's output has no gap


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the page with the known method."""
    folder = tmp_path_factory.mktemp("server")
    program = Path(__file__).with_name("bands.py")
    with running_page(folder, program, environment={"PYTHONPATH": str(ROOT)}) as url:
        yield url


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steady tones, one in each band."""
    path = tmp_path_factory.mktemp("tones") / "tones.wav"
    time_s = np.arange(round(SECONDS * RATE)) / RATE
    soundfile.write(path, AMPLITUDES @ np.sin(2 * np.pi * TONES_HZ[:, None] * time_s), RATE)
    return path


@pytest.fixture
def explained(visit: Visit, tones: Path) -> Visit:
    """A visitor who looks at the components of the tones."""
    assert [low < tone < high for low, tone, high in zip(EDGES_HZ, TONES_HZ, EDGES_HZ[1:], strict=False)]
    visit.upload(tones)
    visit.type_prompts("a beep", "rain falling", "a dog barking")
    visit.classify()
    visit.ready()
    return visit


def part_of(band: str | int) -> str:
    """Name of the part that plays a band; the lanes are counted from 1."""
    return "rest" if isinstance(band, str) else f"component-{1 + ORDER.index(band)}"


def lane(visit: Visit, band: str | int) -> Locator:
    return visit.page.locator(f'.lz-lane[data-part="{part_of(band)}"]')


def solo(visit: Visit, band: str | int) -> Locator:
    return lane(visit, band).get_by_role("button", name="Solo")


def overrule(visit: Visit, band: str | int) -> Locator:
    """Mutes what is heard, adds what is not."""
    return lane(visit, band).locator(".lz-lane-hand")


def phasors(samples: np.ndarray, rate: int) -> np.ndarray:
    """Amplitude and phase of the four tones, (4,) complex, by least squares; the phase at the first sample."""
    time_s = np.arange(len(samples)) / rate
    waves = np.exp(2j * np.pi * TONES_HZ[:, None] * time_s)
    parts, *_ = np.linalg.lstsq(np.concatenate([waves.real, -waves.imag]).T, samples, rcond=None)
    return parts[:4] + 1j * parts[4:]


def levels(recorder: Recorder) -> np.ndarray:
    """Amplitudes of the four tones in what is heard now, once the gains stand."""
    recorder.take(100)
    samples = recorder.take(round(1000 * STEADY_S))
    assert len(samples) > 0.3 * STEADY_S * recorder.rate
    return np.abs(phasors(samples, recorder.rate))


def heard(bands: dict[int, float], others: float = 0.0) -> list[float]:
    """Share of each tone that should be heard."""
    return [bands.get(band, others) for band in range(4)]


def test_lanes_say_what_each_component_is(explained: Visit):
    lanes = explained.page.locator(".lz-lane")
    assert [row.get_attribute("data-part") for row in lanes.all()] == [
        *("component-1", "component-2", "component-3", "component-4"),
        "rest",
    ]
    values = explained.page.locator(".lz-lane-value").all_inner_texts()
    assert [float(value) for value in values] == [RELEVANCE[index] for index in ORDER]
    widths = explained.page.locator(".lz-lane-bar").evaluate_all(
        """bars => bars.map(bar => parseFloat(getComputedStyle(bar, "::before").width) / bar.clientWidth)"""
    )
    assert widths == pytest.approx([RELEVANCE[index] for index in ORDER], abs=0.02)
    assert [row.get_attribute("data-counts") for row in lanes.all()] == ["yes"] * 3 + ["no"] * 2
    for index in ORDER:
        words = lane(explained, index).locator(".lz-lane-pattern").get_attribute("aria-label")
        found = re.fullmatch(r"Frequencies, strongest at ([\d.]+) (k?)Hz", words or "")
        assert found, words
        hertz = float(found[1]) * (1000 if found[2] else 1)
        assert EDGES_HZ[index] - 70 <= hertz <= EDGES_HZ[index + 1]
    high, low = (outline(explained, index) for index in (3, 0))
    assert (
        high[:, 0][high[:, 1] < 50].min() > low[:, 0][low[:, 1] < 50].max()
    )  # high frequencies on the right
    before = high
    explained.page.locator(".lz-scale").select_option("lin")
    after = outline(explained, 3)
    assert after[:, 0][after[:, 1] < 50].min() < before[:, 0][before[:, 1] < 50].min()  # as the large picture
    explained.picture("components-light")


def outline(visit: Visit, index: int) -> np.ndarray:
    """(points, 2) of the drawn frequencies: right and down, 0 to 100."""
    path = lane(visit, index).locator(".lz-lane-pattern path").get_attribute("d")
    return np.array(
        [[float(number) for number in pair.split(",")] for pair in path.split("L")[1].split()[:-2]]
    )


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
            visit.page.wait_for_timeout(150)
        end = visit.state()["pos"]
        samples = recorder.take()
        if not recorder.broken:
            break
    assert not recorder.broken
    assert visit.state()["playing"] and end - start == pytest.approx(len(samples) / recorder.rate, abs=0.6)
    # Band 1 is in every one of these mixes: its tone goes on as if nothing had happened.
    size = round(0.05 * recorder.rate)
    pieces = samples[: len(samples) // size * size].reshape(-1, size)
    turns = np.exp(-2j * np.pi * TONES_HZ[1] * np.arange(len(pieces)) * size / recorder.rate)
    tone = np.array([phasors(piece, recorder.rate)[1] for piece in pieces]) * turns
    steady = np.abs(np.abs(tone) / AMPLITUDES[1] - 0.95) < 0.1
    assert steady.mean() > 0.6
    assert np.abs(np.angle(tone[steady] / tone[steady][0])).max() < 0.05  # 10 microseconds
    # Where the recording has no sound, a cut of a tone would be heard.
    assert click_of(samples, recorder.rate) < 1e-3
    third = len(samples) // 3
    samples[third + np.abs(samples[third : 2 * third]).argmax() :] = 0
    assert click_of(samples, recorder.rate) > 5e-3


def click_of(samples: np.ndarray, rate: int) -> float:
    """Peak of what lies in QUIET_HZ, without the ends of the recording."""
    spectrum = np.fft.rfft(samples * np.hanning(len(samples)))
    hertz = np.fft.rfftfreq(len(samples), 1 / rate)
    spectrum[(hertz < QUIET_HZ[0]) | (hertz > QUIET_HZ[1])] = 0
    return float(np.abs(np.fft.irfft(spectrum, len(samples))).max())


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


def test_threshold_acts_without_the_server(explained: Visit):
    visit, page = explained, explained.page
    page.wait_for_selector(".lz-tracks b:not(:empty)")
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    slider = page.get_by_role("slider", name="Counts above")
    assert slider.input_value() == "0.3"
    visit.track("kept").click()
    before = pixels(visit)
    shares = page.locator(".lz-tracks b").all_inner_texts()
    slider.focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "0.36, 2 of 4 count"
    assert lane(visit, 0).get_attribute("data-counts") == "no"
    assert visit.state()["gains"][part_of(0)] == 0
    assert np.abs(pixels(visit) - before).max() > 20  # the picture follows
    assert page.locator(".lz-tracks b").all_inner_texts() == [shares[0], "", ""]  # not known for this choice
    assert "threshold at 0.30" in page.locator(".lz-check").inner_text()
    slider.fill("0.32")
    assert page.locator(".lz-tracks b").all_inner_texts() == shares
    assert np.array_equal(pixels(visit), before)
    slider.fill("1")
    assert page.locator(".lz-tally").inner_text() == "0 of 4 count"
    assert not requests
    # Another prompt has a threshold of its own; this one is as it was left.
    prompt = visit.state()["prompt"]
    page.locator(".lz-bar").last.click()
    visit.until(f"state.prompt !== {json.dumps(prompt)}")
    assert slider.input_value() == "0.3"
    page.locator(".lz-bar").first.click()
    visit.until(f"state.prompt === {json.dumps(prompt)}")
    assert slider.input_value() == "1"


def pixels(visit: Visit) -> np.ndarray:
    data = visit.page.locator(".lz-picture").evaluate(
        """canvas => {
            const copy = new OffscreenCanvas(60, 60);
            const context = copy.getContext("2d");
            context.drawImage(canvas, 0, 0, 60, 60);
            return [...context.getImageData(0, 0, 60, 60).data];
        }"""
    )
    return np.array(data).reshape(60, 60, 4)[:, :, :3].astype(float)


def test_picture_shows_what_is_heard(explained: Visit):
    visit = explained
    visit.page.locator(".lz-scale").select_option("lin")

    def brightness() -> np.ndarray:
        """Of the four bands."""
        rows = pixels(visit)[::-1].mean(axis=(1, 2))
        edges = [round(60 * hertz / 8000) for hertz in EDGES_HZ]
        return np.array([rows[low:high].max() for low, high in zip(edges, edges[1:], strict=False)])

    whole = brightness()
    assert (whole > 30).all()
    solo(visit, 2).click()
    alone = brightness()
    assert alone[2] > 0.8 * whole[2]
    assert (alone[[0, 3]] < 0.6 * whole[[0, 3]]).all()
    visit.picture("components-solo")


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


def test_a_method_without_components_has_no_lanes(explained: Visit):
    visit = explained
    assert visit.page.locator(".lz-lanes").is_visible() and visit.page.locator(".lz-mix").is_visible()
    solo(visit, 1).click()
    visit.play.click()
    visit.until("state.pos > 0.3")
    before = visit.state()["pos"]
    visit.chip("grad-cam").click()
    visit.until("state.method === 'grad-cam'")
    assert visit.page.locator(".lz-lanes").is_hidden() and visit.page.locator(".lz-mix").is_hidden()
    state = visit.state()
    assert list(state["gains"]) == ["original", "kept", "removed"]
    assert state["playing"] and before <= state["pos"] < before + 20
    visit.chip("l2i").click()
    visit.until("state.method === 'l2i' && state.gains['component-1'] === 1")
    assert solo(visit, 1).get_attribute("aria-pressed") == "true"  # as it was left
    assert visit.state()["gains"][part_of(3)] == 0


def test_where_nothing_speaks_for_the_prompt_the_page_says_so(explained: Visit):
    visit, words = explained, explained.page.locator(".lz-check")
    visit.page.wait_for_selector(".lz-tracks b:not(:empty)")
    assert words.inner_text().startswith("Percentages:")
    visit.chip("nothing").click()
    visit.until("state.method === 'nothing'")
    assert words.inner_text() == text.ABSENT
    assert text.ABSENT in visit.page.locator(".lz-live").text_content()
    visit.ready()
    # Also once the parts were measured.
    visit.page.wait_for_selector(".lz-tracks b:not(:empty)")
    assert words.inner_text() == text.ABSENT
    visit.picture("absent")
    visit.chip("l2i").click()
    visit.until("state.method === 'l2i'")
    assert words.inner_text().startswith("Percentages:")


def test_lanes_are_for_keyboards_and_screen_readers(explained: Visit):
    visit, page = explained, explained.page
    group = page.get_by_role("group", name="component 1, relevance 1.00, counts, heard", exact=True)
    group.get_by_role("button", name="Solo component 1").focus()
    page.keyboard.press("Space")
    assert visit.state()["gains"] is not None and not visit.state()["playing"]
    assert solo(visit, 1).get_attribute("aria-pressed") == "true"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Mute component 1"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Solo component 2"
    assert "not heard" in lane(visit, 3).get_attribute("aria-label")
    page.keyboard.press("2")  # keys go on working from here
    assert visit.state()["active"] == "kept"
    assert solo(visit, 1).get_attribute("aria-pressed") == "false"
    label = overrule(visit, 2).get_attribute("aria-label")
    assert label == "Add component 4 to what you hear"
    visit.page.get_by_role("button", name="Add the rest to what you hear").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Reset", exact=True).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.track") == "kept"
    unnamed = visit.player.evaluate(
        """player => [...player.querySelectorAll('button, select, input, a')]
            .filter(node => !(node.textContent.trim() || node.ariaLabel || node.labels?.length)).length"""
    )
    assert unnamed == 0


def test_click_on_a_lane_seeks_and_presses_move_nothing(explained: Visit):
    visit = explained
    frame = lane(visit, 3).locator(".lz-lane-frame")
    box = frame.bounding_box()
    frame.click(position={"x": box["width"] / 4, "y": 10})
    assert visit.state()["pos"] == pytest.approx(SECONDS / 4, abs=0.1)
    line = frame.locator(".lz-head-line").bounding_box()
    assert line["x"] + 1 - box["x"] == pytest.approx(box["width"] / 4, abs=2)
    for width in (1280, 390):
        visit.page.set_viewport_size({"width": width, "height": 844})
        place = lane(visit, 2).bounding_box()["y"] + visit.page.evaluate("scrollY")
        for part in (2, 0, "rest"):
            solo(visit, part).click()
            overrule(visit, part).click()
            assert lane(visit, 2).bounding_box()["y"] + visit.page.evaluate("scrollY") == place
        visit.page.get_by_role("button", name="Reset", exact=True).click()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lanes_fit_a_phone(visit: Visit, server: str, tones: Path, theme: str):
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.open(f"{server}/?__theme={theme}")
    visit.upload(tones)
    visit.type_prompts("a beep", "rain falling")
    visit.classify()
    visit.ready()
    solo(visit, 3).click()
    assert visit.page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    for locator in visit.page.locator(".lz-lanes :is(button, input, svg):visible").all():
        box = locator.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        assert box["height"] >= 16 and box["width"] >= 40
    ink, paper = (
        visit.page.locator(".lz-lane-name").nth(1).evaluate("node => getComputedStyle(node).color"),
        visit.player.evaluate("node => getComputedStyle(node).backgroundColor"),
    )
    dark, light = sorted([brightness_of(ink), brightness_of(paper)])
    assert dark < 80 and light > 180
    visit.picture(f"components-phone-{theme}")
    visit.page.set_viewport_size({"width": 1280, "height": 900})
    visit.picture(f"components-{theme}")


def brightness_of(colour: str) -> float:
    return float(np.mean([int(number) for number in re.findall(r"\d+", colour)[:3]]))


def test_long_recording_says_why_it_has_no_lanes(visit: Visit, sounds: Path):
    visit.upload(sounds / "long.wav")
    visit.type_prompts("a beep", "rain falling")
    visit.classify()
    visit.ready()
    words = visit.page.locator(".lz-lanes-refused").inner_text()
    assert words == (
        "Components can be heard one by one in recordings of up to 187 seconds: cut out the part that you want to hear."
    )
    assert visit.page.locator(".lz-lane").count() == 0
    assert visit.page.locator(".lz-tau").is_hidden() and visit.page.locator(".lz-mix").is_hidden()
    visit.track("kept").click()
    visit.play.click()
    visit.until("state.gains.kept === 1")


def test_components_without_a_lane_count_as_they_did_when_the_server_was_asked(visit: Visit):
    """More components than lanes count: they are one part, and the parts still add up."""
    found = visit.page.evaluate(
        """scripts => {
            const { Mixing, Gains } = Function(scripts + "; return { Mixing, Gains }")();
            const mixing = new Mixing({ threshold: 0.3, more: {}, lanes: [{ relevance: 1 }, { relevance: 0.6 }] });
            const gains = new Gains({ rows: 3, columns: 2, grey: Uint8Array.of(100, 0, 50, 90, 5, 60) }, mixing.parts);
            const look = () => ({
                parts: mixing.parts,
                kept: [...gains.sum(mixing.gains("kept"))],
                removed: [...gains.sum(mixing.gains("removed"))],
                words: mixing.sentence("kept", { kept: "what counted" }),
                measured: mixing.asMeasured,
                tally: mixing.tally,
            });
            const states = [look()];
            mixing.threshold = 0.4;
            states.push(look());
            mixing.threshold = 0.2;
            mixing.overrule("kept", "more");
            mixing.overrule("kept", "component-1");
            states.push(look());
            return states;
        }""",
        read("mixing.js") + read("gains.js"),
    )
    parts = ["component-1", "component-2", "more", "rest"]
    assert [state["parts"] for state in found] == [parts] * 3
    assert [state["tally"] for state in found] == [2, 2, 2]
    assert [state["measured"] for state in found] == [True, False, True]
    assert [state["kept"] for state in found] == [[155, 150], [150, 90], [50, 90]]
    assert [state["removed"] for state in found] == [[100, 105], [105, 165], [100, 105]]
    assert found[2]["words"] == "what counted, without component 1 and the others that count"
