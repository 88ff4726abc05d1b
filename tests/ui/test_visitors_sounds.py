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
