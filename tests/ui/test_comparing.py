"""All methods side by side in a real Chromium: one by one, stopped half-way, with the numbers of the command line."""

import base64
import csv
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from visit import CONTROLS, QUICK, Visit

from lmaczs import explainers
from lmaczs.metrics.registry import METRICS, explanation_keys
from lmaczs.ui.facts import page_facts

ENTRIES = [METRICS[key] for key in explanation_keys()]
# Every panel shows more than one colour.
DRAWN = """methods => methods.every(method => {
    const canvas = document.querySelector(`.lz-panel[data-method="${method}"] canvas`);
    const { width, height } = canvas;
    if (!width || !height) return false;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    return new Set(data).size > 20;
})"""
# Seconds by the page's clock and by the player's.
CLOCKS = "player => [performance.now() / 1000, player.state().pos]"
READY = '.lz-panel[data-state="ready"]'
PROMPTS = ["an alarm clock beeping", "a dog barking", "rain falling"]
# L2I for ESC-50 knows none of these prompts.
METHODS = [name for name in explainers.METHODS if name != "l2i-esc50"]


# Explained beside the default method without a press, in the order of METHODS.
BESIDE = ["l2i", "grad-cam++"]
METHODS_LEFT = [name for name in METHODS if name not in ("lmac-zs", *BESIDE)]


def ready_methods(state: dict) -> list[str]:
    return [name for name, found in state["methods"].items() if found == "ready"]


def classify(visit: Visit, path: Path) -> None:
    visit.ask(path, *PROMPTS)


def test_all_methods_come_one_by_one_with_the_numbers_of_the_command_line(
    visit: Visit, sounds: Path, tmp_path: Path
):
    classify(visit, sounds / "bursts.wav")
    before = visit.state()
    assert ready_methods(before) == ["lmac-zs", *BESIDE]
    # Watch the order in which the methods come.
    visit.player.evaluate(
        """player => {
            window.order = [];
            new MutationObserver(() => {
                for (const [name, state] of Object.entries(player.state().methods))
                    if (state === "ready" && !window.order.includes(name)) window.order.push(name);
            }).observe(player, { subtree: true, attributes: true, attributeFilter: ["data-state"] });
        }"""
    )
    visit.open_tab("Compare")
    visit.page.get_by_role("button", name="Run all methods").click()
    visit.page.wait_for_selector('.lz-panel[data-state="running"]')
    assert visit.page.get_by_role("button", name="Stop", exact=True).is_visible()
    assert visit.play.is_enabled()  # what is there can be heard meanwhile
    visit.page.wait_for_function("window.order.length > 3")
    visit.picture("running")
    visit.page.wait_for_selector('.lz-player[data-busy="no"]', timeout=300_000)
    visit.until("Object.values(state.methods).every(state => state === 'ready')")
    state = visit.state()
    assert list(state["methods"]) == list(METHODS)
    assert visit.page.evaluate("window.order.slice(3)") == METHODS_LEFT  # fast ones first
    assert (state["prompt"], state["method"]) == (
        before["prompt"],
        before["method"],
    )  # nothing was pulled away
    assert visit.page.get_by_role("button", name="Run all methods").is_hidden()
    assert list(state["metrics"]) == [*METHODS, *CONTROLS]
    expected = explain_on_the_command_line(
        sounds / "bursts.wav", state["prompt"], "integrated-gradients", tmp_path / "explained"
    )
    assert state["metrics"]["integrated-gradients"] == pytest.approx(expected, abs=1e-3)
    visit.open_tab("Faithfulness")
    written = visit.page.locator('.lz-numbers tr[data-method="lmac-zs"] td[data-key="ff"] b').inner_text()
    assert float(written.replace("−", "-")) == pytest.approx(state["metrics"]["lmac-zs"]["ff"], abs=0.0051)
    visit.picture("all-methods")


def explain_on_the_command_line(path: Path, target: str, method: str, folder: Path) -> dict[str, float]:
    prompts = folder.with_suffix(".txt")
    prompts.write_text("\n".join(PROMPTS), "utf-8")
    choices = ["--prompts-file", str(prompts), "--target", target, "--method", method, "--out", str(folder)]
    command = [sys.executable, "-m", "lmaczs", "explain", str(path), *choices]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "result.json").read_text("utf-8"))["metrics"]


@pytest.mark.alone
def test_stop_ends_a_slow_method_and_keeps_what_is_finished(visit: Visit, sounds: Path):
    classify(visit, sounds / "other.wav")
    prompt = visit.state()["prompt"]
    visit.page.get_by_role("button", name="Run all methods").click()
    visit.until("state.methods.rise === 'running'")
    finished = {name for name, state in visit.state()["methods"].items() if state == "ready"}
    assert {"lmac-zs", "grad-cam", "smoothgrad", "integrated-gradients"} <= finished
    visit.page.get_by_role("button", name="Stop", exact=True).click()
    stopped = time.monotonic()
    assert visit.player.get_attribute("data-busy") == "no"  # at once
    assert visit.state()["methods"]["rise"] == "none"
    assert visit.page.get_by_role("button", name="Stop", exact=True).is_hidden()
    # The machine is free again: another prompt is answered long before RISE could have ended.
    visit.page.locator(".lz-bar").last.click()
    visit.until(f"state.prompt !== {json.dumps(prompt)}")
    waited = time.monotonic() - stopped
    visit.ready()
    visit.page.locator(".lz-bar").first.click()
    visit.until(f"state.prompt === {json.dumps(prompt)}")
    methods = visit.state()["methods"]
    assert {name for name, state in methods.items() if state == "ready"} == finished
    assert waited < 10
    visit.chip("saliency").click()  # still there: no waiting
    visit.until("state.method === 'saliency'")
    assert visit.player.get_attribute("data-busy") == "no"


def test_chip_asks_for_one_method_and_goes_before_the_others(visit: Visit):
    visit.ready()
    visit.page.locator(".lz-bar").last.click()
    visit.page.wait_for_selector('.lz-player[data-stale="no"]')
    visit.ready()
    assert set(visit.state()["methods"].values()) == {"ready", "none"}
    visit.chip("saliency").click()
    visit.until("state.method === 'saliency'")
    visit.ready()
    assert ready_methods(visit.state()) == ["lmac-zs", *BESIDE, "saliency"]


@pytest.mark.alone
def test_panels_share_one_clock_and_are_heard_when_pressed(visit: Visit):
    visit.ready()
    visit.run_quick_methods()
    visit.open_tab("Compare")
    assert visit.page.locator(".lz-panel").count() == len(METHODS)
    visit.panel("grad-cam").locator("canvas").wait_for()
    # However long the machine takes, the sound has not ended.
    visit.page.get_by_role("button", name="Loop", exact=True).click()
    visit.play.click()
    visit.until("state.pos > 0.3")
    start, before = visit.player.evaluate(CLOCKS)
    visit.panel("grad-cam").click()
    visit.until("state.method === 'grad-cam' && state.active === 'kept' && state.gains.kept === 1")
    end, after = visit.player.evaluate(CLOCKS)
    assert visit.state()["playing"]
    # Goes on, does not start again.
    half = visit.state()["dur"] / 2
    assert (after - before - (end - start) + half) % (2 * half) == pytest.approx(half, abs=0.3)
    assert visit.panel("grad-cam").get_attribute("aria-pressed") == "true"
    assert visit.panel("lmac-zs").get_attribute("aria-pressed") == "false"
    assert visit.chip("grad-cam").get_attribute("aria-checked") == "true"
    visit.play.click()
    box = visit.panel("grad-cam").locator(".lz-frame").bounding_box()
    visit.panel("grad-cam").locator(".lz-frame").click(position={"x": box["width"] / 2, "y": 40})
    assert visit.state()["pos"] == pytest.approx(visit.state()["dur"] / 2, abs=0.05)
    places = [
        (line["x"] - frame["x"]) / frame["width"]
        for line, frame in zip(
            boxes(visit, f"{READY} .lz-head-line"), boxes(visit, f"{READY} .lz-frame"), strict=True
        )
    ]
    assert len(places) == len(QUICK)
    assert places == pytest.approx([0.5] * len(places), abs=0.02)  # one playhead
    visit.page.keyboard.press("Tab")
    visit.panel("saliency").focus()
    # Hears it, and seeks nowhere.
    visit.page.keyboard.press("Enter")
    visit.until("state.method === 'saliency' && state.playing")


def boxes(visit: Visit, selector: str) -> list[dict]:
    return [locator.bounding_box() for locator in visit.page.locator(selector).all()]


def test_panels_draw_the_same_sound_on_the_same_scale(visit: Visit):
    visit.ready()
    visit.run_quick_methods()
    visit.open_tab("Compare")
    visit.page.wait_for_function(DRAWN, arg=QUICK)

    def pixels(method: str) -> np.ndarray:
        address = visit.panel(method).locator("canvas").evaluate("canvas => canvas.toDataURL()")
        data = base64.b64decode(address.partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)

    pictures = {method: pixels(method) for method in QUICK}
    assert len({picture.shape for picture in pictures.values()}) == 1
    visit.page.locator(".lz-opacity").fill("0")  # without the masks all are the same picture
    plain = [pixels(method) for method in QUICK]
    assert all(np.array_equal(picture, plain[0]) for picture in plain)
    assert plain[0].std() > 10
    visit.page.locator(".lz-opacity").fill("90")
    # The share of colour follows the share that a mask keeps.
    shares = visit.state()["metrics"]
    warmth = {m: np.abs(p - plain[0]).mean() for m, p in pictures.items()}
    assert warmth["lmac-zs"] > warmth["saliency"] and shares["lmac-zs"]["mm"] > shares["saliency"]["mm"]
    visit.picture("compare")


def test_table_holds_this_clip_the_test_set_and_the_controls(visit: Visit, tmp_path: Path):
    visit.ready()
    visit.run_quick_methods()
    visit.open_tab("Faithfulness")
    facts, state = page_facts(), visit.state()
    rows = visit.page.locator(".lz-numbers tbody tr")
    assert [row.get_attribute("data-method") for row in rows.all()] == [*METHODS, *CONTROLS]
    means = facts["test_set"]["domains"]["stft"]
    for method in (*METHODS, *CONTROLS):
        row = visit.page.locator(f'.lz-numbers tr[data-method="{method}"]')
        for column in facts["columns"]:
            cell = row.locator(f'[data-key="{column["key"]}"]')
            value = state["metrics"].get(method, {}).get(column["key"])
            here = cell.locator("b").inner_text()
            if value is None:
                assert here == "–" and method not in (*QUICK, *CONTROLS)
            elif column["yes_or_no"]:
                assert here == ("yes" if value > 0 else "no")
            else:
                assert number(here) == pytest.approx(value, abs=0.51 * 10 ** -column["decimals"])
            if column["key"] in means.get(method, {}):
                mean = means[method][column["key"]]
                there = number(cell.locator("small").inner_text())
                assert there == pytest.approx(mean, abs=0.51 * 10 ** -column["decimals"])
    heads = visit.page.locator(".lz-numbers thead th").all_inner_texts()
    assert heads[1:-1] == [f"{entry.label} {entry.direction}".strip() for entry in ENTRIES]
    assert visit.page.get_by_role("columnheader", name="AD, lower is better").is_visible()
    assert re.search(r"mean over .*\d+ clips of ESC-50", visit.page.locator(".lz-source").inner_text())
    visit.picture("faithfulness")
    assert_chart_and_csv_say_the_same(visit, state["metrics"], tmp_path)


# Place of each dot, as shares of the frame: [lost without it, said alone].
DOTS = """dots => Object.fromEntries(dots.map(dot => [dot.dataset.method,
    [(dot.cx.baseVal.value - 46) / (640 - 46 - 24), 1 - (dot.cy.baseVal.value - 30) / (310 - 30 - 40)]]))"""


def assert_chart_and_csv_say_the_same(visit: Visit, metrics: dict, folder: Path) -> None:
    """A dot for each method that was run and each control, where its probabilities put it."""
    chart = visit.page.locator(".lz-trust")
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Numbers of this sound (CSV)").click()
    download.value.save_as(folder / "numbers.csv")
    with (folder / "numbers.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert rows.keys() == metrics.keys()
    dots = chart.locator("circle").evaluate_all(DOTS)
    assert dots.keys() == rows.keys()
    for method, row in rows.items():
        assert float(row["ff"]) == pytest.approx(metrics[method]["ff"])
        whole, kept, removed = (float(row[f"probability_{part}"]) for part in ("original", "kept", "removed"))
        assert dots[method] == pytest.approx([min(max(1 - removed / whole, 0), 1), kept], abs=1e-3)
    said = chart.get_attribute("aria-label")
    assert "LMAC-ZS: alone " in said and chart.locator("text.lz-trust-chosen").text_content() == "LMAC-ZS"
    # The corner that is shaded is where the verdict says to believe it.
    corner = chart.locator(".lz-trust-good").evaluate(
        "box => [box.x, box.y, box.width, box.height].map(one => one.baseVal.value)"
    )
    dot = chart.locator('circle[data-method="lmac-zs"]').evaluate(
        "dot => [dot.cx.baseVal.value, dot.cy.baseVal.value]"
    )
    inside = all(low <= at <= low + size for at, low, size in zip(dot, corner[:2], corner[2:], strict=True))
    assert inside == (visit.state()["verdict"]["key"] == "believe")


def number(text: str) -> float:
    return float(text.replace("−", "-").removesuffix(" %"))


def test_mask_on_mel_bands_is_a_question_of_its_own(visit: Visit):
    visit.ready()
    visit.chip("grad-cam").click()
    visit.until("state.method === 'grad-cam'")
    visit.page.locator(".lz-domain").select_option("mel")
    visit.until("state.domain === 'mel'")
    visit.page.wait_for_selector('.lz-player[data-stale="no"]')
    visit.ready()
    state = visit.state()
    assert state["method"] == "grad-cam"
    # L2I has no masks on mel bands.
    assert ready_methods(state) == ["lmac-zs", "grad-cam", "grad-cam++"]
    visit.picture("mel")
    visit.page.locator(".lz-domain").select_option("stft")
    visit.until("state.domain === 'stft'")
    # What was explained there is still there.
    assert ready_methods(visit.state()) == ["lmac-zs", "l2i", "grad-cam", "grad-cam++"]


def test_views_are_tabs_for_keyboards_and_screen_readers(visit: Visit):
    visit.ready()
    page = visit.page
    tabs = page.get_by_role("tablist", name="View").get_by_role("tab")
    assert tabs.all_inner_texts() == ["Explanation", "Compare", "Faithfulness"]
    tabs.first.focus()
    page.keyboard.press("ArrowRight")
    assert visit.state()["tab"] == "compare"
    assert page.get_by_role("tabpanel").count() == 1
    assert page.get_by_role("tabpanel", name="Compare").is_visible()
    assert [tab.get_attribute("aria-selected") for tab in tabs.all()] == ["false", "true", "false"]
    assert [tab.get_attribute("tabindex") for tab in tabs.all()] == ["-1", "0", "-1"]
    # Arrows pass over methods that would first have to be run; only a press starts long work.
    page.locator(".lz-bar").last.click()
    visit.page.wait_for_selector('.lz-player[data-stale="no"]')
    visit.ready()
    visit.chip("grad-cam++").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.method") == "saliency"
    assert visit.state()["method"] == "lmac-zs"
    assert visit.chip("saliency").get_attribute("aria-label") == "Saliency, not run yet"
    page.keyboard.press("Enter")
    visit.until("state.method === 'saliency'")


def test_method_with_a_closed_set_is_offered_for_its_prompts_only(visit: Visit, sounds: Path):
    """The others need not try what cannot work, and a prompt of the set is explained."""
    visit.ready()
    assert visit.chip("l2i-esc50").count() == 0
    known = "this is the sound of rain"
    visit.ask(sounds / "bursts.wav", known, "my neighbour's kettle")
    for bar in visit.page.locator(".lz-bar").all():
        name = bar.locator(".lz-name").inner_text()
        bar.click()
        visit.until(f"state.prompt === {json.dumps(name)}")
        visit.ready()
        assert visit.chip("l2i-esc50").count() == (name == known)
        if name == known:
            visit.chip("l2i-esc50").click()
            visit.until("state.method === 'l2i-esc50'")
            assert visit.page.locator(".lz-lane").count() > 1
            visit.ready()
