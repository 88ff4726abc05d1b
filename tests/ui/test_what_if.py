"""What if: boxes on the picture are asked about like an explanation, and the scores are those of what is heard."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from visit import Visit

from lmaczs.errors import LMACError
from lmaczs.hearing.boxes import Box, cells_of
from lmaczs.ui.drawn_mask import read_boxes
from lmaczs.ui.handlers import Handlers

PROMPTS = ["a siren wailing", "an engine idling", "a dog barking", "church bells ringing", "rain falling"]


def test_boxes_are_read_back():
    assert read_boxes("boxes:0.5-1.25@300-3000;2-3@0-16000") == (
        Box(0.5, 1.25, 300, 3000),
        Box(2, 3, 0, 16000),
    )


@pytest.mark.parametrize(
    "key",
    [
        "boxes:",
        "boxes:1-2",
        "boxes:2-1@0-100",
        "boxes:1-2@100-100",
        "boxes:-1-2@0-100",
        "boxes:1-2@0-1e9",
        "boxes:nan-2@0-100",
        "boxes:1-2@0-100;",
        "boxes:" + ";".join(["1-2@0-100"] * 41),
        "boxes:" + "9" * 5000,
    ],
)
def test_boxes_that_are_none_are_refused_in_one_sentence(key):
    with pytest.raises(LMACError, match="cannot be read: send up to 40 boxes") as caught:
        read_boxes(key)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_a_drawn_mask_holds_the_cells_whose_centre_is_inside(planted_backend, domain):
    boxes = (Box(0.5, 1.0, 1000, 2000), Box(1.5, 2.0, 7000, 8000))
    mask = cells_of(boxes, 32000, planted_backend, domain)
    hertz = torch.linspace(0, 8000, 257) if domain == "stft" else planted_backend.mel_frequencies_hz
    rows = (hertz >= 1000) & (hertz <= 2000)
    assert torch.equal(mask[:, 30], rows.float()) and not mask[:, 60].any()
    assert mask[-1, 90] == 1 and set(mask.unique().tolist()) == {0.0, 1.0}
    everything = cells_of((Box(0, 2, 0, 8000),), 32000, planted_backend, domain)
    assert everything.all()


def test_parts_of_a_drawn_mask_add_up_and_all_prompts_are_asked(handlers: Handlers, tmp_path):
    path = tmp_path / "tones.wav"
    time = np.arange(2 * 16000) / 16000
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 500 * time) + 0.3 * np.sin(2 * np.pi * 4000 * time), 16000)
    updates = [*handlers.explain(str(path), PROMPTS, 1, ["boxes:0-2@3000-5000"])]
    payload = [update.player["results"][0] for update in updates if update.player][-1]
    assert payload["method"] == "boxes:0-2@3000-5000" and payload["target"] == 1
    shares = payload["shares"]
    assert shares.keys() == payload["probability"].keys() == {"original", "kept", "removed"}
    for track, found in shares.items():
        assert len(found) == len(PROMPTS) and sum(found) == pytest.approx(1, abs=1e-5)
        assert found[1] == pytest.approx(payload["probability"][track])


def test_a_message_that_holds_no_boxes_is_answered_in_one_sentence(handlers: Handlers, clip: str):
    updates = [*handlers.explain(clip, PROMPTS, 0, ["boxes:<img src=x>"])]
    assert "cannot be read" in updates[-1].notice["message"]


def show_siren(visit: Visit) -> None:
    """The example with a siren over an engine."""
    visit.ready()
    visit.try_example(1)
    visit.until("state.prompt === 'a siren wailing'")
    visit.ready()


@pytest.mark.slow
def test_without_the_siren_it_is_no_siren_any_more(visit: Visit, eventually):
    """The siren's score falls from over 90 % to under 20 %, the engine's rises, and the box can be taken back."""
    show_siren(visit)
    before = scores(visit)
    assert before["a siren wailing"] > 0.9
    page = visit.page
    page.keyboard.press("b")
    top, bottom = (share_of(visit, hz) for hz in (15000, 450))
    visit.drag((0.003, 1 - top), (0.999, 1 - bottom))
    visit.until("state.boxes === 1 && state.method.startsWith('boxes:') && state.active === 'removed'")
    eventually(lambda: scores(visit)["a siren wailing"] < 0.2)
    after = scores(visit)
    assert after["an engine idling"] > before["an engine idling"]
    assert visit.track("removed").inner_text().startswith("Without this")
    assert page.locator(".lz-part").inner_text() == "As the classifier hears: without this"
    assert page.locator(".lz-marks div").count() == 1
    visit.ready()
    visit.picture("what-if")
    page.get_by_role("button", name="Undo box", exact=True).click()
    visit.until("state.boxes === 0 && state.method === 'lmac-zs'")
    page.keyboard.press("1")
    eventually(lambda: scores(visit) == before)
    # A box from the keyboard: all that sounds in the second second.
    page.locator(".lz-canvas").focus()
    for key in ("Home", "ArrowRight", "Enter", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    visit.until("state.boxes === 1 && state.method.startsWith('boxes:1.000-2.000@0.0-')")
    page.keyboard.press("Escape")
    visit.ready()


@pytest.mark.slow
def test_boxes_are_moved_and_downloaded(visit: Visit):
    """Pulled to the right by a second, with its length and frequencies as they were."""
    show_siren(visit)
    page = visit.page
    page.keyboard.press("b")

    visit.drag((0.2, 0.6), (0.4, 0.3))
    visit.until("state.boxes === 1 && state.method.startsWith('boxes:')")
    visit.ready()
    # Before the pointer moves: the answer may be there at once.
    before, old = boxes_of(visit), visit.state()["method"]
    visit.drag((0.3, 0.5), (0.5, 0.5))
    page.wait_for_function(
        "old => { const key = document.querySelector('.lz-player').state().method;"
        " return key.startsWith('boxes:') && key !== old; }",
        arg=old,
    )
    after = boxes_of(visit)
    assert len(after) == 1 and visit.state()["boxes"] == 1
    assert after[0].start_s == pytest.approx(before[0].start_s + 1, abs=0.02)
    assert after[0].end_s - after[0].start_s == pytest.approx(before[0].end_s - before[0].start_s, abs=2e-3)
    assert after[0].low_hz == pytest.approx(before[0].low_hz, rel=1e-3)
    visit.ready()
    with page.expect_download() as download:
        page.get_by_role("button", name="Boxes (JSON)", exact=True).click()
    told = json.loads(Path(download.value.path()).read_text("utf-8"))
    assert told["prompt"] == PROMPTS[0] and told["prompts"] == PROMPTS
    assert told["boxes"][0]["start_s"] == pytest.approx(after[0].start_s, abs=1e-3)
    heard = told["heard"]
    assert sum(heard["without_boxes"]["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert heard["whole"]["probability"] == pytest.approx(heard["whole"]["probabilities"][0])
    page.get_by_role("button", name="Undo box", exact=True).click()
    assert page.get_by_role("button", name="Boxes (JSON)", exact=True).is_hidden()
    page.keyboard.press("Escape")
    visit.ready()


def boxes_of(visit: Visit) -> tuple[Box, ...]:
    """Those of the explanation on screen."""
    return read_boxes(visit.state()["method"])


@pytest.mark.slow
def test_the_scores_follow_what_is_heard(visit: Visit, eventually):
    show_siren(visit)
    for track in ("kept", "removed"):
        visit.track(track).click()
        share = visit.track(track).locator("b").inner_text()
        eventually(lambda share=share: percent_of(visit, "a siren wailing") == share)
    visit.track("original").click()
    assert "fits" in percent_of(visit, "a siren wailing")


def share_of(visit: Visit, hz: float) -> float:
    """Height of a frequency on the mel scale of the picture, from the bottom."""

    def mel(value: float) -> float:
        return 2595 * np.log10(1 + value / 700)

    return float(mel(hz) / mel(16000))


def percent_of(visit: Visit, prompt: str) -> str:
    row = visit.page.locator(".lz-bar").filter(has=visit.page.get_by_text(prompt, exact=True))
    return row.locator(".lz-percent").inner_text()


def scores(visit: Visit) -> dict[str, float]:
    """Shares as the bars draw them, by prompt."""
    found = visit.page.locator(".lz-bar").evaluate_all(
        "bars => bars.map(bar => [bar.querySelector('.lz-name').textContent,"
        " Number(getComputedStyle(bar.querySelector('.lz-fill')).getPropertyValue('--share'))])"
    )
    return dict(found)
