"""Components as lanes in a real Chromium: what they say, and how they are handled."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from bands import EDGES_HZ, ORDER, RELEVANCE
from lane_words import (
    SECONDS,
    brightness_of,
    lane,
    outline,
    overrule,
    part_of,
    pixels,
    solo,
)
from visit import Visit

from lmaczs.hearing.verdict import VERDICTS
from lmaczs.ui.modules import joined
from lmaczs.ui.web_files import WEB


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
    visit, verdict = explained, explained.page.locator(".lz-verdict")
    absent = VERDICTS["absent"].words
    visit.page.wait_for_selector(".lz-tracks b:not(:empty)")
    assert verdict.is_visible() and verdict.get_attribute("data-level") != "none"
    visit.chip("nothing").click()
    visit.until("state.method === 'nothing'")
    # At once, before the parts are measured.
    assert verdict.inner_text() == absent and verdict.get_attribute("data-level") == "none"
    assert absent in visit.page.locator(".lz-live").text_content()
    visit.ready()
    visit.page.wait_for_selector(".lz-tracks b:not(:empty)")
    assert verdict.inner_text() == absent
    visit.picture("absent")
    visit.chip("l2i").click()
    visit.until("state.method === 'l2i'")
    assert verdict.inner_text() != absent


def test_the_verdict_is_that_of_python_and_goes_when_the_mask_is_changed(explained: Visit):
    visit = explained
    visit.page.wait_for_selector(".lz-tracks b:not(:empty)")
    line = visit.page.locator(".lz-verdict")
    words = {verdict.words: verdict.level for verdict in VERDICTS.values()}
    said = visit.page.locator(".lz-verdict-words").inner_text()
    assert words[said] == line.get_attribute("data-level")
    slider = visit.page.locator(".lz-tau")
    slider.fill("0.95")
    visit.page.wait_for_function("document.querySelector('.lz-verdict').hidden")


def test_lanes_are_for_keyboards_and_screen_readers(explained: Visit):
    visit, page = explained, explained.page
    group = page.get_by_role("group", name=re.compile("^component 1, .+, relevance 1.00, counts, heard$"))
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
    visit.ask(tones, "a beep", "rain falling")
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


def test_long_recording_says_why_it_has_no_lanes(visit: Visit, sounds: Path):
    visit.ask(sounds / "long.wav", "a beep", "rain falling")
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
        joined(WEB / "player/gains.js"),
    )
    parts = ["component-1", "component-2", "more", "rest"]
    assert [state["parts"] for state in found] == [parts] * 3
    assert [state["tally"] for state in found] == [2, 2, 2]
    assert [state["measured"] for state in found] == [True, False, True]
    assert [state["kept"] for state in found] == [[155, 150], [150, 90], [50, 90]]
    assert [state["removed"] for state in found] == [[100, 105], [105, 165], [100, 105]]
    assert found[2]["words"] == "what counted, without component 1 and the others that count"


def test_muting_what_counts_is_what_was_ignored(explained: Visit):
    """To 1e-3, sample by sample: the same call, from two sides."""
    visit = explained
    player = "document.querySelector('.lz-player')"
    visit.track("original").click()
    counted = [
        number
        for number, lane in enumerate(visit.page.locator(".lz-lane").all())
        if lane.get_attribute("data-counts") == "yes"
    ]
    for number in counted:
        visit.page.locator(".lz-lane").nth(number).get_by_role("button", name=re.compile("^Mute")).click()
    heard = visit.page.evaluate(f"Array.from({player}.heard())")
    visit.page.locator(".lz-mix-reset").click()
    visit.track("removed").click()
    ignored = visit.page.evaluate(f"Array.from({player}.heard())")
    assert counted and np.abs(np.array(heard) - np.array(ignored)).max() < 1e-3
