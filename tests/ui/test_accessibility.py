"""axe-core finds nothing to complain about: in every tab, in both themes and on a phone; and what it does not look at."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page
from visit import OUT, Visit


def violations(page: Page) -> list[tuple[str, str]]:
    """Rules that are broken, with where."""
    found = Axe().run(page).response["violations"]
    return [(rule["id"], str(node["target"])) for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "light"), (1440, "dark")])
def test_no_tab_breaks_a_rule(visit: Visit, server: str, theme: str, width: int):
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.open(f"{server}/?__theme={theme}")
    visit.ready()
    for tab in ("Explanation", "Compare", "Faithfulness"):
        visit.open_tab(tab)
        visit.settle()
        assert violations(visit.page) == [], tab


def test_neither_a_drawn_box_nor_the_choice_of_classifiers_breaks_a_rule(visit: Visit):
    visit.ready()
    visit.page.keyboard.press("b")
    visit.page.locator(".lz-canvas").focus()
    for key in ("Home", "Enter", "ArrowRight", "Enter"):
        visit.page.keyboard.press(key)
    visit.until("state.boxes === 1 && state.method.startsWith('boxes:')")
    visit.ready()
    visit.settle()
    assert violations(visit.page) == []
    visit.page.keyboard.press("Escape")
    visit.page.locator(".lz-model-open").click()
    visit.settle()
    assert violations(visit.page) == []


def test_with_forced_colours_everything_is_there(visit: Visit, server: str):
    visit.page.emulate_media(forced_colors="active")
    visit.open(server)
    visit.ready()
    for tab in ("Explanation", "Compare", "Faithfulness"):
        visit.open_tab(tab)
        visit.settle()
        assert violations(visit.page) == [], tab
        visit.page.screenshot(path=OUT / f"forced-{tab.lower()}.png")
    # What is chosen is told by more than a colour that is taken away.
    visit.open_tab("Explanation")
    looks = """node => {
        const { outlineStyle, borderTopColor, backgroundColor } = getComputedStyle(node);
        return [outlineStyle, borderTopColor, backgroundColor].join();
    }"""
    chosen = visit.page.locator('.lz-tracks [aria-checked="true"]').evaluate(looks)
    other = visit.page.locator('.lz-tracks [aria-checked="false"]').first.evaluate(looks)
    assert chosen != other
    visit.page.emulate_media(forced_colors="none")


def test_text_of_twice_the_size_fits(visit: Visit, server: str):
    """As a browser's zoom of 200 % shows a page of 1366 x 768."""
    visit.page.set_viewport_size({"width": 683, "height": 384})
    visit.open(server)
    visit.ready()
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 683
    for name in (".lz-play", ".lz-tracks", ".lz-canvas", ".lz-bar", ".lz-add-words"):
        visit.page.locator(name).first.scroll_into_view_if_needed()
        box = visit.page.locator(name).first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 683, name


@pytest.mark.parametrize("width", [1440, 390])
def test_everything_that_is_pressed_is_large_enough(visit: Visit, server: str, width: int):
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.open(server)
    visit.ready()
    visit.chip("l2i").click()
    visit.until("state.method === 'l2i'")
    visit.ready()
    small = visit.page.locator("#lz-top, #lz-bring, #lz-desk").evaluate_all(
        """groups => groups.flatMap(group => [...group.querySelectorAll("button, select, input, textarea")])
            .filter(node => node.checkVisibility({ visibilityProperty: true }) && node.type !== "file")
            // What can be pressed of a slider and of a box to tick is its label, too.
            .map(node => [node, (node.closest("label") || node).getBoundingClientRect()])
            .filter(([, { width, height }]) => width && (width < 24 || height < 24))
            .map(([node, { width, height }]) => [node.className || node.id, width, height])"""
    )
    assert small == []


def test_where_the_focus_is_can_be_seen(visit: Visit):
    visit.ready()
    seen = set()
    look = """() => {
        const node = document.activeElement;
        const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(node);
        const name = node.className || node.id || node.tagName;
        return [name, outlineStyle !== "none" && outlineWidth !== "0px", boxShadow !== "none"];
    }"""
    for _ in range(45):
        visit.page.keyboard.press("Tab")
        name, outline, shadow = visit.page.evaluate(look)
        if name != "BODY":
            assert outline or shadow, name
            seen.add(name.split()[0])
    assert {"lz-play", "lz-canvas"} <= seen and len(seen) > 12


def test_who_wants_less_motion_gets_less(visit: Visit, server: str):
    visit.page.emulate_media(reduced_motion="reduce")
    visit.open(server)
    visit.ready()
    visit.track("kept").click()
    visit.page.get_by_role("button", name="Run all methods").click()
    moving = visit.page.evaluate(
        """() => document.getAnimations()
            .map(({ effect }) => [effect.target.className, effect.getComputedTiming().duration])
            .filter(([, duration]) => duration > 20)"""
    )
    assert moving == []
    visit.page.get_by_role("button", name="Stop", exact=True).click()
    visit.page.emulate_media(reduced_motion="no-preference")


def test_the_picture_has_words_for_who_does_not_see_it(visit: Visit):
    """Where and when the mask lies; another one has other words."""
    visit.ready()
    picture = visit.page.locator(".lz-picture")
    shape = (
        r"Spectrogram coloured by the mask\. The mask keeps \d+ % of the picture, most of it from .+ s.*, "
        r"between \d+ and \d+ Hz\."
    )
    first = picture.get_attribute("aria-label")
    assert re.fullmatch(shape, first)
    visit.chip("grad-cam++").click()
    visit.until("state.method === 'grad-cam++'")
    assert (
        re.fullmatch(shape, picture.get_attribute("aria-label"))
        and picture.get_attribute("aria-label") != first
    )
