"""How much of the time is seen, and the part of it that is looped."""

import pytest
from visit import Visit


def drag(visit: Visit, first: float, last: float, node: str = ".lz-canvas") -> None:
    """From one share of the time to another."""
    visit.page.locator(node).scroll_into_view_if_needed()
    box = visit.page.locator(node).bounding_box()
    y = box["y"] + min(40, box["height"] / 2)
    visit.page.mouse.move(box["x"] + first * box["width"], y)
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + last * box["width"], y, steps=4)
    visit.page.mouse.up()


@pytest.mark.parametrize("node", [".lz-canvas", ".lz-seconds"])
def test_a_part_that_is_dragged_over_is_looped(visit: Visit, node: str):
    visit.ready()
    drag(visit, 0.4, 0.2, node)
    first, last = visit.state()["region"]
    assert (first, last) == pytest.approx((1.0, 2.0), abs=0.02)
    assert visit.state()["pos"] == pytest.approx(1.0, abs=0.02)
    loop = visit.page.locator(".lz-loop")
    assert loop.inner_text() == "Loop 1.0–2.0 s" and loop.get_attribute("aria-pressed") == "true"
    visit.play.click()
    visit.until("state.pos > 1.8")
    visit.until("state.pos < 1.3")  # again
    assert visit.state()["playing"]
    visit.page.evaluate("window.places = []")
    visit.page.evaluate(
        """async () => {
            const end = performance.now() + 1500;
            while (performance.now() < end) {
                window.places.push(document.querySelector(".lz-player").state().pos);
                await new Promise(requestAnimationFrame);
            }
        }"""
    )
    places = visit.page.evaluate("window.places")
    assert min(places) > 0.98 and max(places) < 2.02
    # A press elsewhere ends it, and is a place to go to; paused, so that it stays there until it is read.
    visit.play.click()
    visit.page.locator(".lz-canvas").scroll_into_view_if_needed()
    box = visit.page.locator(".lz-canvas").bounding_box()
    visit.page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 40)
    assert visit.state()["region"] is None and loop.inner_text() == "Loop"
    assert visit.state()["pos"] == pytest.approx(4.0, abs=0.02)


def test_keys_mark_the_ends_of_the_part(visit: Visit):
    visit.ready()
    press = visit.page.keyboard.press
    press("ArrowRight")
    press("[")
    assert visit.state()["region"] == [1, 5]
    press("ArrowRight")
    press("ArrowRight")
    press("]")
    assert visit.state()["region"] == [1, 3]
    press("l")  # the loop can be left without forgetting the part
    assert visit.page.locator(".lz-loop").get_attribute("aria-pressed") == "false"
    assert visit.state()["region"] == [1, 3]
    visit.try_example(1)
    visit.ready()
    assert visit.state()["region"] is None


def test_zoom_keeps_the_place_and_the_picture_scrolls(visit: Visit):
    visit.ready()
    page = visit.page
    view = page.locator(".lz-scroller")
    shown = "view => [view.scrollLeft / view.scrollWidth, (view.scrollLeft + view.clientWidth) / view.scrollWidth]"
    assert page.get_by_role("button", name="Show more of the time").is_disabled()
    box = view.bounding_box()
    page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 40)
    for _ in range(2):
        page.keyboard.press("+")
    assert visit.state()["zoom"] == pytest.approx(2.25)
    first, last = view.evaluate(shown)
    assert last - first == pytest.approx(1 / 2.25, abs=0.01)
    assert first + 0.6 * (last - first) == pytest.approx(0.6, abs=0.01)  # the playhead stands where it stood
    # What is pressed is what is seen.
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 40)
    assert visit.state()["pos"] == pytest.approx(5 * (first + 0.1 * (last - first)), abs=0.03)
    page.keyboard.down("Control")
    page.mouse.wheel(0, 10_000)
    page.keyboard.up("Control")
    page.wait_for_function("document.querySelector('.lz-player').state().zoom === 1")
    # The closest view ends somewhere.
    for _ in range(12):
        page.keyboard.press("+")
    assert page.get_by_role("button", name="Show less of the time").is_disabled()
    visit.picture("zoomed")


def test_the_playhead_stays_in_view_while_it_plays(visit: Visit):
    visit.ready()
    page = visit.page
    for _ in range(4):
        page.keyboard.press("+")
    page.keyboard.press("Home")
    view = page.locator(".lz-scroller")
    view.evaluate("view => view.scrollLeft = 0")
    visit.play.click()
    visit.until("state.pos > 2")
    first, last = view.evaluate(
        "view => [view.scrollLeft / view.scrollWidth, (view.scrollLeft + view.clientWidth) / view.scrollWidth]"
    )
    assert first > 0.1
    assert first - 0.02 <= visit.state()["pos"] / 5 <= last + 0.05
