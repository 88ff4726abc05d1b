"""A recording of minutes: what is explained first is shown first, and a stop keeps it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from visit import Visit

# Five parts: 10 s, three of 40 s, and the rest.
SECONDS = 160
GAPS = ".lz-gaps span"
# Loudness of what counts and of what is ignored within [from, to] s, relative to the original there.
SHARES = """([from, to]) => {
    const player = document.querySelector(".lz-player");
    const { original, kept, removed } = player.samples();
    const rate = original.length / player.state().dur;
    const rms = (samples) => {
        const part = samples.slice(from * rate, to * rate);
        return Math.sqrt(part.reduce((sum, value) => sum + value * value, 0) / part.length);
    };
    return [kept, removed].map((samples) => rms(samples) / rms(original));
}"""


@pytest.fixture
def begin(
    visit: Visit,
    tmp_path: Path,
    write_bursts: Callable[[Path, float, int], None],
    request: pytest.FixtureRequest,
) -> Callable[[], None]:
    """Choose minutes of bursts, another sound for each test, and wait for the first part of their explanation."""

    def begin() -> None:
        hertz = 700.0 + 100 * len(request.node.name)
        write_bursts(tmp_path / "minutes.wav", hertz, SECONDS // 5)
        visit.ready()
        visit.type_prompts("a beep", "rain falling")
        visit.take(tmp_path / "minutes.wav")
        visit.page.wait_for_function(
            """() => {
                const words = document.querySelector(".lz-check").textContent;
                return words.startsWith("Explained so far") && !words.startsWith("Explained so far: 0:00");
            }"""
        )

    return begin


def test_first_parts_can_be_heard_while_others_are_explained(visit: Visit, begin):
    begin()
    assert visit.state()["dur"] == SECONDS and visit.page.locator(GAPS).count() == 1
    assert visit.player.get_attribute("data-stale") == "no"
    visit.track("kept").click()
    visit.play.click()
    visit.until("state.playing && state.active === 'kept'")
    visit.picture("long-recording")
    # More parts come while it plays, and it plays on.
    visit.until("document.querySelectorAll('.lz-gaps span').length === 0")
    assert visit.state()["playing"]
    visit.play.click()
    visit.ready()
    assert visit.state()["metrics"] and visit.page.locator(GAPS).count() == 0
    assert "Explained so far" not in visit.page.locator(".lz-check").inner_text()
    assert visit.page.locator(".lz-verdict").is_visible()


def test_the_part_under_the_playhead_comes_first(visit: Visit, begin):
    """Also where the playhead has gone since."""
    begin()
    box = visit.page.locator(".lz-canvas").bounding_box()
    visit.page.mouse.click(box["x"] + 0.97 * box["width"], box["y"] + 40)
    visit.page.wait_for_function(
        """() => {
            const end = ({ style }) => parseFloat(style.left) + parseFloat(style.width);
            const gaps = [...document.querySelectorAll(".lz-gaps span")];
            return gaps.length && end(gaps.at(-1)) < 90;
        }"""
    )
    visit.until("document.querySelectorAll('.lz-gaps span').length === 0")
    visit.ready()


def test_a_stop_keeps_what_is_explained_and_a_press_goes_on(visit: Visit, begin):
    begin()
    visit.stop()
    said = visit.page.locator(".lz-check").inner_text()
    assert said.endswith("Press the prompt to go on.") and "of 2:40" in said
    # A part that came just before the stop is fetched, and then shown.
    visit.page.wait_for_function(
        "parseFloat([...document.querySelectorAll('.lz-gaps span')].at(-1).style.left) > 0"
    )
    gap = visit.page.locator(GAPS).last.evaluate(
        "gap => [parseFloat(gap.style.left), parseFloat(gap.style.left) + parseFloat(gap.style.width)]"
    )
    assert 5 < gap[0] < 100 == gap[1]
    end = SECONDS / 100 * gap[0]
    early = visit.page.evaluate(SHARES, [2, end - 2])
    assert max(early) > 0.5
    # What is not explained belongs to neither.
    assert visit.page.evaluate(SHARES, [end + 0.1, SECONDS - 1]) == [0, 0]
    assert visit.page.locator(".lz-get-kept").is_hidden()
    visit.page.locator(".lz-bar").first.click()
    visit.ready()
    assert visit.page.locator(GAPS).count() == 0
    assert np.allclose(visit.page.evaluate(SHARES, [2, end - 2]), early, atol=1e-3)
    assert max(visit.page.evaluate(SHARES, [end + 0.1, SECONDS - 1])) > 0.5
    assert visit.page.locator(".lz-get-kept").is_visible()


def test_the_part_under_the_playhead_is_explained_first(visit: Visit, begin):
    begin()
    visit.stop()
    canvas = visit.page.locator(".lz-canvas")
    box = canvas.bounding_box()
    canvas.click(position={"x": 0.9 * box["width"], "y": box["height"] / 2})
    visit.until("state.pos > 130")
    visit.page.locator(".lz-bar").last.click()
    visit.page.wait_for_function(
        """() => {
            const gaps = [...document.querySelectorAll(".lz-gaps span")];
            const [left, width] = ["left", "width"].map((side) => parseFloat(gaps[0]?.style[side]));
            return gaps.length === 1 && left === 0 && width < 90;
        }"""
    )
    visit.stop()
    assert max(visit.page.evaluate(SHARES, [130, SECONDS - 1])) > 0.5


def test_undo_leaves_a_partial_explanation_and_comes_back_to_it(visit: Visit, begin):
    visit.ready()
    prompt = visit.state()["prompt"]
    begin()
    visit.stop()
    visit.page.locator(".lz-undo").click()
    visit.until(f"state.prompt === {prompt!r}")
    assert visit.page.locator(GAPS).count() == 0
    visit.page.go_forward()
    visit.until(f"state.dur === {SECONDS}")
    assert visit.page.locator(GAPS).count() == 1
    assert max(visit.page.evaluate(SHARES, [2, 8])) > 0.5
