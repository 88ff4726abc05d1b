"""A listener's way through a study in a real Chromium, at a desk and on a phone."""

import sys
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext
from test_accessibility import violations
from visit import OUT

from lmaczs.study.answers import Answers

sys.path.insert(0, str(Path(__file__).parents[1] / "study"))
from test_study import served, toy_study

# Content wider than the window.
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_listener_rates_everything_and_goes_on_after_a_reload(
    context: BrowserContext, tmp_path: Path, width: int
):
    folder = tmp_path / "study"
    toy_study(folder, items=2)
    mistakes: list[str] = []
    with served(folder) as (_, url):
        page = context.new_page()
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("console", lambda said: said.type == "error" and mistakes.append(said.text))
        page.set_viewport_size({"width": width, "height": 844})
        page.goto(url)
        page.get_by_role("heading", name="A <i>study</i>").wait_for()
        begin = page.get_by_role("button", name="Begin with a practice page")
        assert begin.is_disabled()
        page.screenshot(path=OUT / f"study-welcome-{width}.png", full_page=True)
        page.get_by_role("checkbox").check()
        begin.click()
        page.get_by_text("Practice: this page does not count").wait_for()
        for number in range(3):
            assert page.get_by_role("slider").count() == 4 and not page.evaluate(WIDER)
            assert violations(page) == []
            # Nobody rates what was not heard.
            assert all(slider.is_disabled() for slider in page.get_by_role("slider").all())
            for place in range(4):
                letter = "ABCD"[place]
                page.get_by_role("button", name=f"Play {letter}", exact=True).click()
                slider = page.get_by_role("slider", name=f"Rating of sound {letter}")
                slider.focus()
                page.keyboard.press("End" if place == 0 else "ArrowRight")
                page.wait_for_function(
                    "place => document.querySelectorAll('#sounds li')[place].dataset.kept === 'yes'",
                    arg=place,
                )
                if (number, place) == (1, 2):
                    # Whoever closes the page goes on where they were.
                    page.screenshot(path=OUT / f"study-item-{width}.png", full_page=True)
                    page.reload()
                    page.get_by_text("Rating 1 of 2").wait_for()
                    kept = page.locator("#sounds output").all_inner_texts()
                    assert kept == ["100", "51", "51", "–"]
            assert page.locator("#label").inner_text() in ("practice", "<b>class</b> 0", "<b>class</b> 1")
            page.get_by_role("button", name="Next", exact=True).click()
            if number < 2:
                page.get_by_text(f"Rating {number + 1} of 2").wait_for()
        page.get_by_text("That was all. Thank you!").wait_for()
        page.evaluate("localStorage.clear()")
        page.close()
    assert not mistakes
    ratings = Answers(folder).ratings()
    assert len(ratings) == 12 and sorted({one.value for one in ratings}) == [51, 100]
