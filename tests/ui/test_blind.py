"""A blind comparison: who is who is said after both are rated, and ratings are kept where a visitor allows it."""

from pathlib import Path

import pytest
from page_server import running_page
from test_accessibility import violations
from visit import OUT, Visit

from lmaczs.study.answers import Answers

NAMES = ("LMAC-ZS", "GradCAM++")


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """Where this page keeps ratings."""
    return tmp_path_factory.mktemp("study") / "ratings"


@pytest.fixture(scope="module")
def server(kept, tmp_path_factory):
    """A page that was started with LMACZS_STUDY; overrides the page that the other tests share."""
    with running_page(tmp_path_factory.mktemp("server"), environment={"LMACZS_STUDY": str(kept)}) as url:
        yield url


def begin(visit: Visit, first: str = "lmac-zs", second: str = "grad-cam++"):
    """Open the comparison of two methods; its part of the page."""
    visit.open_tab("Compare")
    blind = visit.page.locator(".lz-blind")
    blind.get_by_label("First method").select_option(first)
    blind.get_by_label("Second method").select_option(second)
    blind.get_by_role("button", name="Begin", exact=True).click()
    blind.get_by_role("button", name="Play A").wait_for()
    return blind


def rate(blind, letter: str, key: str):
    blind.get_by_role("button", name=f"Play {letter}").click()
    slider = blind.get_by_role("slider", name=f"Rating of {letter}")
    slider.focus()
    slider.press(key)
    return slider


@pytest.mark.parametrize("agreed", [False, True])
def test_both_are_rated_before_their_names_are_told(visit: Visit, kept: Path, agreed: bool):
    visit.ready()
    visit.until("state.metrics['grad-cam++'] && state.metrics['lmac-zs']")
    before = Answers(kept).ratings()
    blind = begin(visit)
    assert "How well does the interpretation correspond" in blind.inner_text()
    reveal = blind.get_by_role("button", name="Reveal")
    sliders = blind.get_by_role("slider").all()
    assert all(slider.is_disabled() for slider in sliders) and reveal.is_disabled()
    rate(blind, "A", "End")
    assert sliders[1].is_disabled() and reveal.is_disabled()
    rate(blind, "B", "Home")
    assert not any(name in blind.locator(".lz-blind-trial").inner_text() for name in NAMES)
    assert violations(visit.page) == []
    visit.picture(f"blind-{agreed}")
    if agreed:
        blind.get_by_role("checkbox").check()
    pair = visit.state()["blind"]
    assert sorted(one["method"] for one in pair) == ["grad-cam++", "lmac-zs"]
    reveal.click()
    told = blind.locator(".lz-blind-told")
    told.get_by_text("You heard A: ").wait_for()
    labels = {"lmac-zs": "LMAC-ZS", "grad-cam++": "GradCAM++"}
    assert (
        ", ".join(f"{'AB'[at]}: {labels[one['method']]}" for at, one in enumerate(pair)) in told.inner_text()
    )
    # Who knows cannot change what they said.
    assert all(slider.is_disabled() for slider in sliders)
    if agreed:
        told.get_by_text("Your ratings are kept.").wait_for()
        found = {one.condition: one.value for one in Answers(kept).ratings()}
        assert found == {pair[0]["method"]: 100, pair[1]["method"]: 0}
    else:
        assert Answers(kept).ratings() == before
    visit.picture(f"blind-revealed-{agreed}")
    visit.page.set_viewport_size({"width": 390, "height": 844})
    assert visit.page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    blind.scroll_into_view_if_needed()
    visit.settle()
    visit.page.screenshot(path=OUT / f"blind-390-{agreed}.png")
    blind.get_by_role("button", name="Close").click()
    assert blind.get_by_role("button", name="Begin", exact=True).is_visible()


def test_what_sounds_is_what_each_method_kept_as_loud_as_the_other(visit: Visit):
    visit.ready()
    visit.until("state.metrics['grad-cam++'] && state.metrics['lmac-zs']")
    blind = begin(visit)
    heard = visit.player.evaluate("player => player.blindSound()")
    assert heard["A"]["rms"] == pytest.approx(heard["original"]["rms"], rel=0.3)
    assert heard["B"]["rms"] == pytest.approx(heard["A"]["rms"], rel=0.3)
    visit.chip("grad-cam++").wait_for(state="attached")
    # One sound at a time: the player falls silent, and silences the comparison.
    visit.open_tab("Explanation")
    visit.play.click()
    visit.until("state.playing")
    visit.open_tab("Compare")
    blind.get_by_role("button", name="Play A").click()
    visit.until("!state.playing")
    visit.open_tab("Explanation")
    visit.play.click()
    visit.open_tab("Compare")
    assert blind.get_by_role("button", name="Play A").is_visible()
    # Another question ends it.
    visit.page.locator(".lz-bar").nth(1).click()
    visit.page.locator(".lz-blind-trial").wait_for(state="hidden")


def test_the_same_method_twice_is_no_comparison(visit: Visit):
    visit.ready()
    visit.until("state.metrics['grad-cam++']")
    visit.open_tab("Compare")
    blind = visit.page.locator(".lz-blind")
    blind.get_by_label("Second method").select_option("lmac-zs")
    blind.get_by_role("button", name="Begin", exact=True).click()
    blind.get_by_text("Choose two different methods.").wait_for()
