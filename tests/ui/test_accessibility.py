"""axe-core finds nothing to complain about: in every tab, in both themes and on a phone."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page
from visit import Visit


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
