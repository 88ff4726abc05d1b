"""The page in a real Chromium, from the stored example to every way a visitor may use or misuse it."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from visit import Visit

HOSTILE = [
    "<img src=x onerror=\"window.hacked='image'\">",
    "${window.hacked='template'}",
    "`+(window.hacked='backtick')+`",
    "{{constructor.constructor(\"window.hacked='braces'\")()}}",
    "<script>window.hacked='script'</script>",
    "\u202eequals kramver\u202c שלום مرحبا",
    "👩‍🚒🚒🔥 siren 🐕",
    "a\\nb\\u0000 \" ' & </textarea>",
]


def test_first_paint_is_an_explained_example_before_any_model_ran(visit: Visit):
    visit.ready()
    state = visit.state()
    assert state["dur"] > 1
    top = visit.page.locator('.lz-bar[aria-checked="true"]')
    assert top.locator(".lz-name").inner_text() == state["prompt"]
    assert re.fullmatch(r"[<>]? ?[\d.]+ %", top.locator(".lz-percent").inner_text())
    assert visit.page.locator("#lz-sound input[type=file]").count() == 0  # the example's sound is loaded
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


@pytest.mark.parametrize("ending", ["wav", "mp3", "flac"])
def test_uploaded_file_is_classified_and_explained_by_one_click(visit: Visit, sounds: Path, ending: str):
    visit.upload(sounds / f"bursts.{ending}")
    assert visit.player.get_attribute("data-ready") == "empty"  # no stale explanation under a new sound
    assert visit.page.locator(".lz-bar").count() == 0
    visit.type_prompts("an alarm clock beeping", "a dog barking", "rain falling")
    visit.classify()
    visit.ready()
    assert visit.state()["dur"] == pytest.approx(3.0, abs=0.06)  # mp3 pads
    shares = [percent(text) for text in visit.page.locator(".lz-percent").all_inner_texts()]
    assert len(shares) == 3
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=1.5)
    assert visit.page.locator(".lz-name").first.inner_text() == visit.state()["prompt"]


def percent(text: str) -> float:
    return float(re.sub(r"[^\d.]", "", text))


def test_any_prompt_and_any_method_is_explained_and_kept(visit: Visit):
    visit.ready()
    first = visit.state()
    last = visit.page.locator(".lz-bar").last
    wanted = last.locator(".lz-name").inner_text()
    last.click()
    visit.until(f"state.prompt === {json.dumps(wanted)}")
    assert last.get_attribute("aria-checked") == "true"
    requests = []
    visit.page.on("request", lambda request: requests.append(request.url))
    visit.page.locator(".lz-bar").first.click()  # known already: no round trip
    assert visit.state()["prompt"] == first["prompt"]
    assert not [url for url in requests if "queue/join" in url]
    chips = visit.page.locator(".lz-methods button")
    for index in range(chips.count()):
        name = chips.nth(index).get_attribute("data-method")
        chips.nth(index).click()
        visit.until(f"state.method === {json.dumps(name)}")
        assert chips.nth(index).get_attribute("aria-checked") == "true"
    assert visit.state()["prompt"] == first["prompt"]


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
    assert len(original) / visit.state()["dur"] == 16000


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
    assert float(found[2]) == pytest.approx(4.0, abs=0.1)
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
    visit.page.locator("#lz-prompts textarea").focus()
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


def test_recording_is_what_the_microphone_heard(visit: Visit, tmp_path: Path):
    """No noise suppression, no echo cancellation, no automatic gain: a steady tone stays steady."""
    page = visit.page
    page.evaluate(
        """() => {
            const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wanted) => {
                const stream = await ask(wanted);
                window.microphone = stream.getAudioTracks()[0].getSettings();
                return stream;
            };
        }"""
    )
    page.get_by_role("button", name="Record audio", exact=True).click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(3000)
    with page.expect_response(lambda answer: "/upload" in answer.url) as uploaded:
        page.locator("#lz-sound button.stop-button").click()
    flags = page.evaluate("window.microphone")
    assert [flags[name] for name in ("echoCancellation", "noiseSuppression", "autoGainControl")] == [
        False
    ] * 3
    path = uploaded.value.json()[0]
    answer = page.request.get(f"{page.url.split('?')[0]}gradio_api/file={path}")
    channels, rate = soundfile.read(io.BytesIO(answer.body()), always_2d=True)
    samples = channels.mean(axis=1)
    middle = samples[int(0.5 * rate) : int(0.5 * rate) + 4 * (rate // 2)].reshape(-1)
    quarters = middle[: len(middle) // (rate // 4) * (rate // 4)].reshape(-1, rate // 4)
    levels = np.sqrt((quarters**2).mean(axis=1))
    assert len(levels) >= 6
    assert levels.min() > 0.05
    assert levels.max() / levels.min() < 1.1  # the browser's processing swings it by more than 2
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) * rate / len(middle) == pytest.approx(1000, abs=5)
    visit.type_prompts("a beep", "rain falling")
    visit.classify()
    visit.ready()
    assert visit.state()["dur"] == pytest.approx(len(samples) / rate, abs=0.01)


@pytest.mark.parametrize(
    ("name", "words"),
    [("corrupt.wav", "cannot be read as sound"), ("empty.wav", "empty"), ("silent.wav", "silent")],
)
def test_useless_file_gets_one_plain_sentence_and_the_page_goes_on(
    visit: Visit, sounds: Path, name: str, words: str
):
    visit.upload(sounds / name)
    visit.type_prompts("a beep", "rain falling")
    visit.classify()
    visit.notice.wait_for()
    message = visit.notice.inner_text()
    assert words in message and name in message
    assert not re.search(r"Traceback|/tmp|gradio|Error\b", message)
    assert visit.page.locator("#lz-prompts textarea").input_value() == "a beep\nrain falling"
    if name == "corrupt.wav":
        visit.picture("error")
    visit.upload(sounds / "bursts.wav")
    visit.classify()
    visit.ready()
    assert visit.notice.is_hidden()


def test_no_sound_and_no_prompts_are_said_and_nothing_is_lost(visit: Visit, sounds: Path):
    visit.ready()
    shown = visit.state()["prompt"]
    visit.type_prompts("", "   ")
    visit.classify()
    visit.notice.wait_for()
    assert "type what the sound might be" in visit.notice.inner_text()
    visit.ready()  # the old explanation is back
    assert visit.state()["prompt"] == shown
    visit.page.get_by_role("button", name="Upload file", exact=True).click()
    visit.type_prompts("rain")
    visit.classify()
    visit.page.wait_for_function("document.querySelector('.lz-notice').textContent.includes('no sound yet')")


def test_hostile_prompts_are_only_text(visit: Visit):
    visit.ready()
    visit.type_prompts(*HOSTILE)
    visit.classify()
    visit.page.wait_for_function(f"document.querySelectorAll('.lz-bar').length === {len(HOSTILE)}")
    visit.ready()
    shown = visit.page.locator(".lz-name").all_text_contents()
    assert sorted(shown) == sorted(" ".join(prompt.split()) for prompt in HOSTILE)
    for index in range(len(HOSTILE)):
        bar = visit.page.locator(".lz-bar").nth(index)
        bar.click()
        visit.until(f"state.prompt === {json.dumps(shown[index])}")
        assert visit.page.locator(".lz-target").text_content() == shown[index]
    visit.picture("hostile")
    assert visit.page.evaluate("window.hacked") is None
    assert visit.page.locator(".lz-player img, .lz-scores img").count() == 0


def test_endless_prompt_is_refused_and_stays_in_its_box(visit: Visit):
    visit.ready()
    visit.type_prompts("rain", "x" * 10_000)
    visit.classify()
    visit.notice.wait_for()
    assert "Prompt 2 has 10,000 characters" in visit.notice.inner_text()
    assert len(visit.page.locator("#lz-prompts textarea").input_value()) == 10_005


def test_prompt_sets_are_added_to_what_was_typed(visit: Visit, eventually):
    box = visit.page.locator("#lz-prompts textarea")
    visit.type_prompts("my own prompt")
    visit.page.get_by_role("button", name="Home", exact=True).click()
    eventually(lambda: "a door knock" in box.input_value())
    assert box.input_value().startswith("my own prompt\n")
    before = box.input_value()
    visit.page.get_by_role("button", name="ESC-50", exact=True).click()
    eventually(lambda: box.input_value() != before)
    assert len(box.input_value().splitlines()) == len(before.splitlines()) + 50


def test_example_is_loaded_classified_and_explained_by_one_click(visit: Visit):
    visit.ready()
    visit.try_example(1)
    visit.ready()
    prompts = visit.page.locator("#lz-prompts textarea").input_value().splitlines()
    assert sorted(visit.page.locator(".lz-name").all_inner_texts()) == sorted(prompts)
    assert visit.page.locator(".lz-name").first.inner_text() == visit.state()["prompt"]
    visit.page.wait_for_selector(".lz-tracks b:not(:empty)")
    visit.picture("example")
    prompt = visit.state()["prompt"]
    visit.page.locator(".lz-bar").last.click()  # the example is a sound like any other: it can be asked about
    visit.until(f"state.prompt !== {json.dumps(prompt)}")
    visit.ready()


def test_mistake_of_the_server_is_said_and_the_page_goes_on(visit: Visit):
    visit.ready()
    shown = visit.state()["prompt"]
    visit.page.evaluate(
        """() => {
            const fetched = window.fetch;
            window.fetch = (url, options) => {
                if (String(url).includes("/queue/join") && options?.body?.includes('"target"')) {
                    const sent = JSON.parse(options.body);
                    sent.data = [{ no: "sound" }];
                    options = { ...options, body: JSON.stringify(sent) };
                    window.fetch = fetched;
                }
                return fetched(url, options);
            };
        }"""
    )
    visit.page.locator(".lz-bar").last.click()
    visit.page.wait_for_selector(".lz-live.lz-seen")
    assert visit.page.locator(".lz-live").inner_text().startswith("Something went wrong")
    visit.ready()
    assert visit.state()["prompt"] == shown
    assert visit.page.locator(".lz-bar").first.get_attribute("aria-checked") == "true"
    visit.page.evaluate("document.querySelectorAll('.toast-body').forEach(toast => toast.remove())")
    visit.page.locator(".lz-bar").last.click()
    visit.until(f"state.prompt !== {json.dumps(shown)}")


def test_percentages_stay_when_a_picture_is_slow(visit: Visit, eventually):
    """An explanation comes twice, the second time with its check: the slower of the two must not overwrite it."""
    visit.ready()
    seen, held = set(), []

    def hold_the_first(route) -> None:
        if route.request.url in seen:
            return route.continue_()
        seen.add(route.request.url)
        held.append(route)

    visit.page.route("**/mask.png", hold_the_first)
    visit.try_example(1)
    eventually(lambda: held)
    visit.page.wait_for_selector('.lz-player[data-busy="no"]', state="attached")  # both answers are here
    visit.page.wait_for_timeout(200)
    for route in held:
        route.continue_()
    visit.ready()
    visit.page.wait_for_timeout(300)
    for share in visit.page.locator(".lz-tracks b").all_inner_texts():
        assert share.endswith("%")


def test_new_sound_stops_the_player_and_drops_what_is_under_way(visit: Visit, sounds: Path):
    visit.upload(sounds / "long.wav")
    visit.type_prompts("a beep", "rain falling")
    visit.classify()
    visit.page.wait_for_selector('.lz-player[data-busy="yes"]')
    visit.upload(sounds / "other.wav")
    assert visit.player.get_attribute("data-ready") == "empty"
    visit.classify()
    visit.ready()
    assert visit.state()["dur"] == pytest.approx(2.0, abs=0.01)
    visit.play.click()
    visit.until("state.playing")
    visit.page.get_by_role("button", name="Upload file", exact=True).click()
    visit.until("!state.playing && state.dur === 0")


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


def test_dark(visit: Visit, server: str):
    visit.open(f"{server}/?__theme=dark")
    visit.ready()
    light = "element => getComputedStyle(element).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    for selector in (".gradio-container", ".lz-player", "#lz-prompts textarea"):
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
        for name in ("#lz-sound", "#lz-prompts", "#lz-scores", "#lz-player")
    ]
    assert tops == sorted(tops)
    for tab in ("Compare", "Faithfulness", "Explanation"):
        visit.open_tab(tab)
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
        for locator in visit.player.locator("button:visible, a:visible, select:visible").all():
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
