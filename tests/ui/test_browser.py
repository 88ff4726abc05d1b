"""The page in a real Chromium: seeing, hearing and keeping an explanation, on every screen."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from visit import OUT, QUICK, Visit


def test_first_paint_is_an_explained_example_before_any_model_ran(visit: Visit):
    visit.page.wait_for_selector('.lz-player[data-ready="yes"]')
    state = visit.state()
    assert state["dur"] > 1 and state["method"] == "lmac-zs"
    top = visit.page.locator('.lz-bar[aria-checked="true"]')
    assert top.locator(".lz-name").inner_text() == state["prompt"]
    assert re.fullmatch(r"fits · [<>]? ?[\d.]+ %", top.locator(".lz-percent").inner_text())
    visit.page.get_by_text("knock-and-alarm.wav", exact=True).wait_for()  # the example's sound is loaded
    # The others follow when the models are loaded.
    visit.ready()
    assert set(visit.state()["methods"]) > {"lmac-zs", "lmac-any", "grad-cam++", "optimized-mask"}
    assert visit.state()["prompt"] == state["prompt"]
    visit.picture("desktop-light")


def test_picture_shows_the_mask_in_colour_and_what_is_heard(visit: Visit):
    visit.ready()
    small = """canvas => {
        const copy = new OffscreenCanvas(120, 40);
        const context = copy.getContext("2d");
        context.drawImage(canvas, 0, 0, 120, 40);
        return [...context.getImageData(0, 0, 120, 40).data];
    }"""
    canvas = visit.page.locator(".lz-picture")

    def rgb() -> np.ndarray:
        return np.array(canvas.evaluate(small)).reshape(-1, 4)[:, :3].astype(float)

    both = rgb()
    warmth = both[:, 0] - both[:, 2]
    assert warmth.max() > 60  # ember where the mask is high
    visit.page.locator(".lz-opacity").fill("0")
    assert np.abs(rgb()[:, 0] - rgb()[:, 2]).max() < 40  # nothing but grey
    visit.page.locator(".lz-opacity").fill("90")
    visit.track("kept").click()
    kept = rgb()
    visit.track("removed").click()
    removed = rgb()
    assert kept.sum() < both.sum() and removed.sum() < both.sum()
    assert not np.array_equal(kept, removed)
    visit.page.locator(".lz-scale").select_option("lin")
    assert not np.array_equal(rgb(), removed)
    visit.open(visit.page.url)
    assert visit.page.locator(".lz-scale").input_value() == "lin"  # this browser remembers how to draw


def test_any_prompt_and_any_method_is_explained_and_kept(visit: Visit):
    visit.ready()
    first = visit.state()
    last = visit.page.locator(".lz-bar").last
    wanted = last.locator(".lz-name").inner_text()
    last.click()
    visit.until(f"state.prompt === {json.dumps(wanted)}")
    assert last.get_attribute("aria-checked") == "true"
    visit.ready()
    requests = []
    visit.page.on("request", lambda request: requests.append(request.url))
    visit.page.locator(".lz-bar").first.click()  # known already: no round trip
    assert visit.state()["prompt"] == first["prompt"]
    assert not [url for url in requests if "queue/join" in url]
    for name in QUICK:
        visit.chip(name).click()
        visit.until(f"state.method === {json.dumps(name)}")
        assert visit.chip(name).get_attribute("aria-checked") == "true"
    assert visit.state()["prompt"] == first["prompt"]


@pytest.mark.alone
def test_tracks_switch_while_playing_without_a_gap(visit: Visit):
    visit.ready()
    visit.play.click()
    visit.until("state.pos > 0.3")
    # Watch position and gains at every frame while the track changes: no jump, no dip, no bump.
    visit.player.evaluate(
        """player => {
            window.watched = [];
            const look = () => {
                const state = player.state();
                window.watched.push([performance.now() / 1000, state.pos, ...Object.values(state.gains)]);
                if (performance.now() < end) requestAnimationFrame(look);
                else window.watchedAll = true;
            };
            const end = performance.now() + 800;
            look();
        }"""
    )
    visit.track("kept").click()
    visit.page.wait_for_function("window.watchedAll")
    rows = np.array(visit.page.evaluate("window.watched"))
    clock, position, gains = rows[:, 0], rows[:, 1], rows[:, 2:]
    assert np.abs((position - position[0]) - (clock - clock[0])).max() < 0.15  # one clock, never reset
    assert (np.diff(position) >= 0).all()
    assert np.allclose(gains.sum(axis=1), 1, atol=0.02)
    state = visit.state()
    assert (state["active"], state["gains"]) == ("kept", {"original": 0, "kept": 1, "removed": 0})
    visit.track("removed").click()
    visit.until("state.gains.removed === 1 && state.gains.kept === 0")
    assert visit.state()["playing"]
    visit.play.click()
    stopped = visit.state()
    assert not stopped["playing"]
    visit.track("original").click()
    assert visit.state()["pos"] == stopped["pos"]


def test_sound_that_is_heard_is_the_track_that_is_chosen(visit: Visit):
    """Kept plus removed is the original, in the buffers that the browser really plays."""
    visit.ready()
    tracks = visit.player.evaluate(
        "player => Object.entries(player.samples()).map(([name, data]) => [name, [...data]])"
    )
    original, kept, removed = (np.array(dict(tracks)[name]) for name in ("original", "kept", "removed"))
    assert np.abs(kept + removed - original).max() < 1e-4
    assert 0.001 < np.std(kept) < np.std(original)
    assert len(original) / visit.state()["dur"] == 32000


def test_click_on_the_picture_seeks_and_the_end_returns_to_play(visit: Visit):
    visit.ready()
    canvas = visit.page.locator(".lz-canvas")
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": 50})
    duration = visit.state()["dur"]
    assert visit.state()["pos"] == pytest.approx(duration / 2, abs=0.02)
    assert float(canvas.get_attribute("aria-valuenow")) == pytest.approx(duration / 2, abs=0.02)
    line = visit.page.locator(".lz-canvas .lz-head-line").bounding_box()
    assert line["x"] + 1 - box["x"] == pytest.approx(box["width"] / 2, abs=2)
    canvas.click(position={"x": box["width"] * 0.95, "y": 50})
    visit.play.click()
    visit.until("!state.playing && state.pos === 0")
    assert visit.play.get_attribute("aria-label") == "Play"


def test_a_playhead_that_moves_leaves_the_rest_of_the_page_alone(visit: Visit):
    """What is set on the page's root at each frame would be handed down to all of its nodes: most of a processor."""
    visit.ready()
    visit.play.click()
    visit.until("state.pos > 0.3")
    visit.page.evaluate(
        """() => {
            const watch = new MutationObserver((found) => (window.changes = (window.changes || 0) + found.length));
            watch.observe(document.querySelector(".lz-player"), { attributes: true, attributeFilter: ["style"] });
            window.line = document.querySelector(".lz-canvas .lz-head-line").getBoundingClientRect().x;
        }"""
    )
    visit.until("state.pos > 1")
    assert visit.page.evaluate("window.changes || 0") == 0
    assert (
        visit.page.locator(".lz-canvas .lz-head-line").bounding_box()["x"]
        > visit.page.evaluate("window.line") + 20
    )
    visit.play.click()
    visit.open_tab("Compare")
    share = visit.state()["pos"] / visit.state()["dur"]
    panel, line = (
        visit.page.locator('.lz-panel[data-method="lmac-zs"] ' + part).bounding_box()
        for part in (".lz-panel-picture", ".lz-head-line")
    )
    assert line["x"] + 1 - panel["x"] == pytest.approx(share * panel["width"], abs=2)


def test_hover_tells_time_frequency_level_and_mask(visit: Visit):
    visit.ready()
    box = visit.page.locator(".lz-canvas").bounding_box()
    visit.page.locator(".lz-scale").select_option("lin")
    visit.page.locator(".lz-canvas").hover(position={"x": box["width"] / 2, "y": box["height"] / 2})
    words = visit.page.locator(".lz-readout").inner_text()
    found = re.fullmatch(
        r"([\d.]+) s\s+·\s+([\d.]+) kHz\s+·\s+(?:below )?−?(\d+) dB\s+·\s+mask ([\d.]+)", words
    )
    assert found, words
    assert float(found[1]) == pytest.approx(visit.state()["dur"] / 2, abs=0.05)
    assert float(found[2]) == pytest.approx(8.0, abs=0.2)
    assert 0 <= float(found[4]) <= 1


def test_keyboard_does_everything(visit: Visit):
    visit.ready()
    press = visit.page.keyboard.press
    press("Space")
    visit.until("state.playing && state.pos > 0.1")
    press("2")
    visit.until("state.active === 'kept' && state.gains.kept === 1")
    press("3")
    visit.until("state.active === 'removed'")
    press("Space")
    assert not visit.state()["playing"]
    press("Home")
    assert visit.state()["pos"] == 0
    press("ArrowRight")
    press("Shift+ArrowRight")
    assert visit.state()["pos"] == pytest.approx(1.1, abs=1e-6)
    press("ArrowLeft")
    assert visit.state()["pos"] == pytest.approx(0.1, abs=1e-6)
    press("1")
    visit.page.locator('.lz-tracks [aria-checked="true"]').focus()
    press("ArrowRight")  # within a group of choices arrows move between the choices
    assert visit.state()["active"] == "kept"
    assert visit.state()["pos"] == pytest.approx(0.1, abs=1e-6)
    visit.page.get_by_label("Add a prompt").focus()
    press("1")  # typing is typing
    assert visit.state()["active"] == "kept"
    assert not visit.state()["playing"]


def test_loop_goes_on_and_matched_loudness_is_said(visit: Visit):
    visit.ready()
    visit.page.get_by_role("button", name="Loop", exact=True).click()
    visit.page.keyboard.press("End")
    visit.page.keyboard.press("ArrowLeft")
    visit.play.click()
    start = visit.state()["pos"]
    visit.until(f"state.playing && state.pos < {start} - 1")
    visit.page.get_by_role("button", name="Match loudness", exact=True).click()
    visit.track("kept").click()
    visit.until("state.gains.original === 0 && state.gains.kept > 1")
    assert visit.page.get_by_role("button", name="Match loudness").get_attribute("aria-pressed") == "true"


def test_newest_wish_wins(visit: Visit):
    visit.ready()
    first = visit.state()["prompt"]
    bars = visit.page.locator(".lz-bar")
    wanted = bars.nth(2).locator(".lz-name").inner_text()
    bars.last.click()
    bars.first.click()  # known from the first paint: shown at once, and the other answer comes too late
    assert visit.state()["prompt"] == first
    bars.last.click()
    bars.nth(2).click()
    visit.until(f"state.prompt === {json.dumps(wanted)}")
    visit.ready()
    visit.page.wait_for_selector(".lz-tracks b:not(:empty)")
    assert visit.state()["prompt"] == wanted
    assert bars.nth(2).get_attribute("aria-checked") == "true"


def test_downloads_are_what_was_heard(visit: Visit, tmp_path: Path):
    visit.ready()
    page = visit.page
    lengths = set()
    for link in ("What counted", "What was ignored"):
        with page.expect_download() as download:
            page.locator(".lz-downloads").get_by_text(link, exact=True).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        samples, rate = soundfile.read(path)
        lengths.add(len(samples) / rate)
    assert lengths == {visit.state()["dur"]}
    with page.expect_download() as download:
        page.get_by_role("button", name="Everything (zip)").click()
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert sorted(archive.namelist()) == [
            "explanation.png",
            "kept.wav",
            "mask.npz",
            "original.wav",
            "removed.wav",
            "result.json",
        ]
        result = json.loads(archive.read("result.json"))
        tracks = [
            soundfile.read(io.BytesIO(archive.read(f"{n}.wav")))[0] for n in ("original", "kept", "removed")
        ]
        mask = np.load(io.BytesIO(archive.read("mask.npz")))
    assert result["target"] == visit.state()["prompt"]
    assert np.abs(tracks[1] + tracks[2] - tracks[0]).max() < 1e-4
    assert mask["mask"].shape == (len(mask["frequencies_hz"]), len(mask["times_s"]))


def test_the_picture_is_kept_with_its_axes(visit: Visit, tmp_path: Path):
    visit.ready()
    visit.track("kept").click()
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Picture", exact=True).click()
    assert download.value.suggested_filename == "knock-and-alarm-picture.png"
    download.value.save_as(OUT / "saved-picture.png")
    picture = np.asarray(Image.open(OUT / "saved-picture.png").convert("RGB")).astype(int)
    assert picture.shape == (900, 1600, 3)
    assert (picture[0, 0] == 255).all()
    # Words above, frequencies to the left, times below; and colour on the mask.
    for part in (picture[20:110, 110:1500], picture[130:800, 20:100], picture[840:890, 110:1560]):
        assert 0.002 < (part.sum(axis=2) < 600).mean() < 0.2
    inside = picture[120:830, 110:1560]
    assert inside.mean() < 60 and (inside[..., 0] - inside[..., 2] > 60).mean() > 0.005


def test_the_report_opens_offline_and_holds_what_is_explained(visit: Visit, tmp_path: Path):
    visit.ready()
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Report (zip)").click()
    assert download.value.suggested_filename == "knock-and-alarm-report.zip"
    download.value.save_as(tmp_path / "report.zip")
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        archive.extractall(tmp_path / "report")
    page = visit.page.context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report/index.html").as_uri())
    names = page.locator("section h2").all_inner_texts()
    assert len(names) == 3 and any("GradCAM++" in name for name in names)
    assert page.locator("audio").count() >= 7
    page.screenshot(path=OUT / "page-report.png", full_page=True)
    assert all(url.startswith("file:") or url.startswith("data:") for url in asked)
    page.close()
    visit.ready()


def test_a_part_that_is_louder_than_full_scale_is_played_as_it_is(visit: Visit, sounds: Path):
    """Such a part comes as floats; read as 16 bits it would be noise."""
    visit.ready()
    loud = io.BytesIO()
    time_s = np.arange(int(visit.state()["dur"] * 32000)) / 32000
    soundfile.write(loud, 1.5 * np.sin(880 * np.pi * time_s), 32000, format="WAV", subtype="FLOAT")
    visit.page.route(
        "**/kept.flac", lambda route: route.fulfill(body=loud.getvalue(), content_type="audio/wav")
    )
    visit.try_example(2)
    visit.ready()
    samples = visit.page.evaluate("document.querySelector('.lz-player').samples()")
    kept = np.array(samples["kept"])
    assert np.abs(kept - 1.5 * np.sin(880 * np.pi * time_s)).max() < 1e-4
    assert np.abs(kept + samples["removed"] - np.array(samples["original"])).max() < 1e-6


def test_dark(visit: Visit, server: str):
    visit.open(f"{server}/?__theme=dark")
    visit.ready()
    light = "element => getComputedStyle(element).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    for selector in (".gradio-container", ".lz-player", ".lz-add-words"):
        assert max(visit.page.locator(selector).evaluate(light)) < 60, selector
    ink = "element => getComputedStyle(element).color.match(/\\d+/g).slice(0, 3).map(Number)"
    assert min(visit.page.locator(".lz-target").evaluate(ink)) > 200
    visit.picture("desktop-dark")
    for tab in ("Compare", "Faithfulness"):
        visit.open_tab(tab)
        visit.picture(f"desktop-dark-{tab.lower()}")
    assert max(visit.page.locator(".lz-numbers tbody td").first.evaluate(light)) < 60
    assert min(visit.page.locator(".lz-numbers tbody b").nth(1).evaluate(ink)) > 150


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_phone(visit: Visit, server: str, theme: str):
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.open(f"{server}/?__theme={theme}")
    visit.ready()
    assert visit.page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    tops = [
        visit.page.locator(name).bounding_box()["y"]
        for name in (".lz-sound-source", "#lz-player", "#lz-scores", "#lz-sets")
    ]
    assert tops == sorted(tops)
    for tab in ("Compare", "Faithfulness", "Explanation"):
        visit.open_tab(tab)
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
        # The line of the methods and the cards scroll, and are themselves within the page.
        for locator in visit.player.locator(
            ":is(button, a, select):not(:is(.lz-methods, .lz-cards) *):visible, :is(.lz-methods, .lz-cards):visible"
        ).all():
            box = locator.bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        visit.picture(f"phone-{theme}-{tab.lower()}")


def test_choices_have_names_and_states_for_screen_readers(visit: Visit):
    visit.ready()
    page = visit.page
    for group in ("Explain which prompt?", "Explanation method", "What to hear"):
        radios = page.get_by_role("radiogroup", name=group).get_by_role("radio")
        checked = [radio.get_attribute("aria-checked") for radio in radios.all()]
        assert checked.count("true") == 1
        assert [radio.get_attribute("tabindex") for radio in radios.all()].count("0") == 1
    slider = page.get_by_role("slider", name="Position in the recording")
    assert slider.get_attribute("aria-valuetext") == "0.0 seconds, Original"
    unnamed = visit.player.evaluate(
        """player => [...player.querySelectorAll('button, select, input, a')]
            .filter(node => !(node.textContent.trim() || node.ariaLabel || node.labels?.length)).length"""
    )
    assert unnamed == 0
