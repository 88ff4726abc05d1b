"""Sounds and prompts that visitors bring, in a real Chromium: good, useless and hostile ones."""

import io
import json
import re
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


@pytest.mark.parametrize("ending", ["wav", "mp3", "flac"])
def test_uploaded_file_is_classified_and_explained_by_one_click(visit: Visit, sounds: Path, ending: str):
    visit.type_prompts("")
    visit.upload(sounds / f"bursts.{ending}")
    visit.page.wait_for_selector('.lz-player[data-ready="empty"]')  # no stale explanation under a new sound
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
    visit.type_prompts("a beep", "rain falling")
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name="Stop · 0:03", exact=True).wait_for()
    visit.picture("recording")
    with page.expect_response(lambda answer: "/upload" in answer.url) as uploaded:
        page.locator(".lz-record").click()
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
    visit.until(f"Math.abs(state.dur - {len(samples) / rate}) < 0.01")
    assert page.locator(".lz-record").inner_text() == "Record"


@pytest.mark.parametrize(
    ("name", "words"),
    [("corrupt.wav", "cannot be read as sound"), ("empty.wav", "empty"), ("silent.wav", "silent")],
)
def test_useless_file_gets_one_plain_sentence_and_the_page_goes_on(
    visit: Visit, sounds: Path, name: str, words: str
):
    visit.type_prompts("a beep", "rain falling")
    visit.take(sounds / name)
    visit.notice.wait_for()
    message = visit.notice.inner_text()
    assert words in message and name in message
    assert not re.search(r"Traceback|/tmp|gradio|Error\b", message)
    assert visit.page.locator("#lz-prompts textarea").input_value() == "a beep\nrain falling"
    if name == "corrupt.wav":
        visit.picture("error")
    visit.upload(sounds / "bursts.wav")
    visit.until("state.dur === 3")
    assert visit.notice.is_hidden()


def test_no_prompts_are_said_and_nothing_is_lost(visit: Visit):
    visit.ready()
    shown = visit.state()["prompt"]
    visit.type_prompts("", "   ")
    visit.classify()
    assert visit.page.locator("#lz-pick").inner_text() == "Type what the sound might be."
    visit.ready()
    assert visit.state()["prompt"] == shown


def test_a_prompt_is_scored_when_it_is_added_and_the_others_when_one_is_removed(visit: Visit):
    visit.ready()
    page, names = visit.page, visit.page.locator(".lz-name")
    before = sorted(names.all_inner_texts())
    visit.add("a person speaking")
    page.wait_for_function("document.querySelectorAll('.lz-bar:not(:disabled)').length === 6")
    assert sorted(names.all_inner_texts()) == sorted([*before, "a person speaking"])
    total = sum(percent(text) for text in page.locator(".lz-percent").all_inner_texts())
    assert total == pytest.approx(100, abs=1.5)
    visit.ready()
    page.get_by_role("button", name="Remove an alarm clock beeping", exact=True).click()
    page.wait_for_function("document.querySelectorAll('.lz-bar:not(:disabled)').length === 5")
    visit.until("state.prompt === 'someone knocking on a door'")
    visit.ready()
    visit.add("wind")
    page.wait_for_function("document.querySelectorAll('.lz-bar:not(:disabled)').length === 6")
    visit.ready()
    page.locator('.lz-bar[data-prompt="wind"]').focus()
    page.keyboard.press("Delete")
    page.wait_for_function("document.querySelectorAll('.lz-bar:not(:disabled)').length === 5")
    visit.ready()
    visit.add("a person  speaking ")  # there already, in other words
    assert names.count() == 5
    paste = """text => {
        const carried = new DataTransfer();
        carried.setData("text/plain", text);
        const field = document.querySelector(".lz-add-words");
        field.dispatchEvent(new ClipboardEvent("paste", { clipboardData: carried, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(paste, "wind\nrain falling\n")
    page.wait_for_function("document.querySelectorAll('.lz-bar:not(:disabled)').length === 7")
    # The text says the same as the rows.
    page.wait_for_function(
        "document.querySelector('#lz-prompts textarea').value.includes('wind\\nrain falling')"
    )


def test_what_may_be_typed_is_suggested(visit: Visit):
    visit.ready()
    offered = visit.page.locator("#lz-suggested option").evaluate_all("all => all.map(one => one.value)")
    assert len(offered) > 50 and "a door knock" in offered and len(set(offered)) == len(offered)
    assert visit.page.get_by_label("Add a prompt").get_attribute("list") == "lz-suggested"


def test_a_list_of_prompts_can_be_dropped(visit: Visit):
    visit.ready()
    drop = """text => {
        const carried = new DataTransfer();
        carried.items.add(new File([text], "prompts.txt", { type: "text/plain" }));
        for (const kind of ["dragover", "drop"])
            document.querySelector(".lz-canvas").dispatchEvent(
                new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: carried }));
    }"""
    visit.page.evaluate(drop, "wind\nrain falling")
    visit.page.wait_for_function("document.querySelectorAll('.lz-bar:not(:disabled)').length === 7")


def test_a_file_that_is_too_large_is_said_before_it_is_sent(visit: Visit):
    visit.ready()
    shown = visit.state()["prompt"]
    visit.page.evaluate("window.lmaczs.take(new File([new ArrayBuffer(121e6)], 'night.wav'))")
    visit.notice.get_by_text(
        "night.wav has 121 MB, the page takes 120 MB: choose a shorter piece."
    ).wait_for()
    assert visit.state()["prompt"] == shown


def test_a_microphone_that_is_refused_is_said(visit: Visit):
    visit.ready()
    visit.page.evaluate(
        "void (navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError')))"
    )
    visit.page.get_by_role("button", name="Record", exact=True).click()
    visit.notice.get_by_text("does not let this page use the microphone").wait_for()


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


def test_a_slow_press_that_leaves_the_field_is_not_lost(visit: Visit, eventually):
    """What is pressed does not move away under the finger while the prompts that were typed are taken up."""
    visit.ready()
    visit.type_prompts("my own prompt")
    button = visit.page.get_by_role("button", name="Home", exact=True)
    button.hover()
    visit.page.mouse.down()
    visit.page.wait_for_timeout(300)
    visit.page.mouse.up()
    rows = visit.page.locator(".lz-row")
    eventually(lambda: rows.count() > 5)
    visit.ready()
    assert "my own prompt" in visit.page.locator(".lz-name").all_inner_texts()


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


def test_new_sound_stops_the_player_and_drops_what_is_under_way(visit: Visit, sounds: Path):
    visit.ready()
    visit.play.click()
    visit.until("state.playing")
    visit.type_prompts("a beep", "rain falling")
    visit.take(sounds / "long.wav")
    visit.until("!state.playing")
    assert visit.player.get_attribute("data-stale") == "yes"  # it stays, dimmed, until the new one is there
    visit.take(sounds / "other.wav")
    visit.until("state.dur === 2")
    visit.ready()
    assert sorted(visit.page.locator(".lz-name").all_inner_texts()) == ["a beep", "rain falling"]
