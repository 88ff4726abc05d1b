"""The stage comes first: how much of the first view the picture takes, and sounds that come from anywhere."""

from pathlib import Path

import pytest
from visit import Visit

# A file held over a node and let go, as a browser does it.
DROP = """([selector, name, bytes]) => {
    const carried = new DataTransfer();
    carried.items.add(new File([new Uint8Array(bytes)], name, { type: "audio/wav" }));
    const target = document.querySelector(selector);
    for (const kind of ["dragenter", "dragover", "drop"])
        target.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: carried }));
}"""


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (1440, 900), (1920, 1080)])
def test_the_picture_takes_45_percent_of_the_first_view(visit: Visit, width: int, height: int):
    visit.page.set_viewport_size({"width": width, "height": height})
    visit.ready()
    visit.settle()
    box = visit.page.locator(".lz-canvas").bounding_box()
    visible = min(box["y"] + box["height"], height) - box["y"]
    assert box["width"] * visible / (width * height) >= 0.45
    rail = visit.page.locator("#lz-rail").bounding_box()
    assert rail["x"] + rail["width"] <= width
    visit.picture(f"stage-{width}")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_on_a_narrow_page_the_stage_comes_before_what_is_asked(visit: Visit, width: int):
    visit.page.set_viewport_size({"width": width, "height": 844})
    visit.ready()
    visit.settle()
    boxes = [visit.page.locator(part).bounding_box() for part in ("#lz-tries", ".lz-player", ".lz-scores")]
    assert [box["y"] for box in boxes] == sorted(box["y"] for box in boxes)
    assert all(box["x"] + box["width"] <= width for box in boxes)
    # The prompts are a press away.
    visit.page.get_by_role("button", name="Other prompts", exact=True).click()
    top = visit.page.locator("#lz-rail").bounding_box()["y"]
    assert -1 <= top < 400
    visit.page.evaluate("scrollTo(0, 0)")
    visit.picture(f"stage-{width}")


@pytest.mark.parametrize(("width", "height"), [(320, 700), (390, 844)])
def test_on_a_phone_picture_and_player_are_on_the_first_view(visit: Visit, width: int, height: int):
    """The buttons of the player stay at the bottom of the screen while the page moves under them."""
    visit.page.set_viewport_size({"width": width, "height": height})
    visit.ready()
    visit.settle()
    canvas, player = (visit.page.locator(part).bounding_box() for part in (".lz-canvas", ".lz-transport"))
    seen = min(canvas["y"] + canvas["height"], player["y"]) - canvas["y"]
    assert seen >= 0.25 * height if width > 320 else seen >= 150
    assert abs(player["y"] + player["height"] - height) <= 1
    for part in (".lz-choose", ".lz-record", ".lz-play", ".lz-time", ".lz-tracks"):
        box = visit.page.locator(part).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, part
    visit.page.evaluate("scrollTo(0, 300)")
    visit.settle()
    assert abs(visit.page.locator(".lz-transport").bounding_box()["y"] - player["y"]) <= 1
    # What is pressed is not under them.
    visit.page.locator(".lz-scale").focus()
    scale, player = (visit.page.locator(part).bounding_box() for part in (".lz-scale", ".lz-transport"))
    assert scale["y"] + scale["height"] <= player["y"] or scale["y"] >= player["y"] + player["height"]
    visit.page.evaluate("scrollTo(0, 0)")
    visit.picture(f"phone-{width}")


def test_a_file_that_is_dropped_on_the_stage_takes_the_place_of_the_example(visit: Visit, sounds: Path):
    visit.ready()
    visit.type_prompts("a whistle", "rain falling")
    drop(visit, sounds / "bursts.wav")
    visit.until("state.dur > 2.9 && state.dur < 3.1")
    visit.ready()
    assert visit.page.locator(".lz-bar").count() == 2
    assert not visit.page.locator("html.lz-dropping").count()


def test_a_file_that_is_dropped_on_a_field_is_a_sound_too(visit: Visit, sounds: Path):
    visit.ready()
    visit.page.evaluate(DROP, [".lz-add-words", "bursts.wav", list((sounds / "bursts.wav").read_bytes())])
    visit.until("state.dur > 2.9 && state.dur < 3.1")


def test_a_dropped_file_that_is_no_sound_says_so(visit: Visit, sounds: Path):
    visit.ready()
    drop(visit, sounds / "corrupt.wav")
    visit.page.wait_for_selector(".lz-notice:not([hidden])")


def test_a_sound_is_heard_as_soon_as_it_is_there_but_not_before_anything_is_asked(visit: Visit, sounds: Path):
    visit.ready()
    visit.type_prompts("")
    visit.upload(sounds / "bursts.wav")
    visit.settle()
    assert visit.player.get_attribute("data-ready") == "empty" and not visit.notice.is_visible()
    visit.type_prompts("a whistle", "rain falling")
    visit.upload(sounds / "other.wav")
    visit.ready()
    assert visit.page.locator(".lz-bar").count() == 2


def drop(visit: Visit, path: Path) -> None:
    visit.page.evaluate(DROP, [".lz-canvas", path.name, list(path.read_bytes())])
