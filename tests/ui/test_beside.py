"""Three methods beside each other without a press, and the slider that puts all of them at equal area."""

import pytest
import torch
from visit import Visit

from lmaczs.errors import LMACError
from lmaczs.metrics.shape import top_masks
from lmaczs.ui.area_key import split_area
from lmaczs.ui.handlers import Handlers

THREE = ["lmac-zs", "grad-cam++", "l2i"]
# What a card says in its bars.
BARS = """cards => Object.fromEntries(cards.map(card => [card.dataset.method,
    [...card.querySelectorAll('.lz-part-bar b')].map(node => node.textContent)]))"""


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("grad-cam++@10", ("grad-cam++", 0.1)),
        ("lmac-any", ("lmac-any", None)),
        (None, (None, None)),
        ("boxes:0-1@0-10", ("boxes:0-1@0-10", None)),
        ("<img>@10", ("<img>@10", None)),
    ],
)
def test_keys_name_a_method_and_an_area(key, expected):
    assert split_area(key) == expected


def test_an_area_of_nothing_is_refused():
    with pytest.raises(LMACError, match="does not fit the page"):
        split_area("rise@0")


@pytest.mark.parametrize("method", ["saliency", "energy"])
def test_at_equal_area_the_strongest_cells_are_asked_about(handlers: Handlers, clip: str, method: str):
    """The same cells as in the tables, of methods and controls, and the two parts are the recording."""
    studio = handlers.studio
    heard = studio.hear(clip)
    prompts = ["one", "two", "three"]
    whole = studio.explain(heard, prompts, "two", method).result
    at = studio.explain(heard, prompts, "two", f"{method}@20").result
    assert at.explanation.method == f"{method}@20" and not at.explanation.components
    assert torch.equal(at.explanation.mask, top_masks(whole.explanation.mask[None], [0.2])[0, 0])
    assert float(at.explanation.mask.mean()) == pytest.approx(0.2, abs=1e-3)
    parts = at.listening
    assert torch.allclose(parts.kept.waveform + parts.removed.waveform, at.clip.waveform, atol=1e-6)
    studio.measure(heard, studio.explain(heard, prompts, "two", f"{method}@20"))
    assert at.probability and not whole.probability


def test_answers_carry_the_key_that_was_asked_for(handlers: Handlers, clip: str):
    updates = [*handlers.explain(clip, ["one", "two"], 0, ["saliency@10", "random@10", "saliency@100"])]
    found = [update.player for update in updates if update.player][-1]
    assert [row["method"] for row in found["results"]] == ["saliency@10"]
    assert [row["method"] for row in found["controls"]] == ["random@10"]
    assert found["results"][0]["metrics"]["mm"] == pytest.approx(0.1, abs=2e-3)
    assert "There is no method 'saliency@100'" in updates[-1].notice["message"]


@pytest.mark.slow
def test_three_methods_are_explained_without_a_press(visit: Visit):
    visit.ready()
    visit.until(f"{THREE}.every(name => state.metrics[name])")
    cards = visit.page.locator(".lz-card")
    assert [card.get_attribute("data-method") for card in cards.all()] == THREE
    said = cards.evaluate_all(BARS)
    metrics = visit.state()["metrics"]
    assert set(said) == set(THREE) and all(len(bars) == 2 for bars in said.values())
    assert cards.first.locator(".lz-panel-verdict").inner_text() == "Believe it"
    assert visit.state()["method"] == "lmac-zs"  # what is on the stage stays there
    assert len({round(metrics[name]["mm"], 4) for name in THREE}) == 3
    # A press on one brings it to the stage, and plays what counted.
    cards.nth(1).click()
    visit.until("state.method === 'grad-cam++' && state.active === 'kept' && state.playing")
    visit.page.keyboard.press(" ")
    # Another prompt is explained by all three, too.
    visit.page.locator(".lz-bar").filter(has_text="someone knocking").click()
    visit.until(
        f"state.prompt === 'someone knocking on a door' && {THREE}.every(name => state.metrics[name])"
    )
    visit.ready()


@pytest.mark.slow
def test_the_slider_puts_all_methods_at_equal_area(visit: Visit):
    visit.ready()
    visit.until(f"{THREE}.every(name => state.metrics[name])")
    before = visit.page.locator(".lz-card").evaluate_all(BARS)
    visit.page.locator(".lz-area").focus()
    for _ in range(2):
        visit.page.keyboard.press("ArrowRight")
    at = [f"{name}@10" for name in THREE]
    visit.until(f"state.area === 10 && {at}.every(name => state.metrics[name])")
    visit.ready()
    state = visit.state()
    assert state["method"] == "lmac-zs@10"
    assert all(state["metrics"][name]["mm"] == pytest.approx(0.1, abs=2e-3) for name in at)
    after = visit.page.locator(".lz-card").evaluate_all(BARS)
    assert list(after) == at and after["grad-cam++@10"] != before["grad-cam++"]
    assert visit.page.locator(".lz-area").get_attribute("aria-valuetext") == "10 % of each"
    visit.picture("equal-area")
    for _ in range(2):
        visit.page.keyboard.press("ArrowLeft")
    visit.until("state.area === null && state.method === 'lmac-zs'")
    assert visit.page.locator(".lz-card").evaluate_all(BARS) == before


@pytest.mark.slow
def test_what_was_stopped_waits_for_a_press(visit: Visit):
    visit.ready()
    visit.until(f"{THREE}.every(name => state.metrics[name])")
    visit.page.get_by_role("button", name="Run all methods").click()
    visit.page.get_by_role("button", name="Stop", exact=True).click()
    visit.ready()
    visit.page.wait_for_timeout(500)
    assert visit.page.get_by_role("button", name="Stop", exact=True).is_hidden()
