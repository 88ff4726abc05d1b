"""What speaks for each prompt, on one picture."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from visit import Visit

from lmaczs.ui.examples import examples_folder

# Share of the picture's cells whose colour lies nearest to each of some colours, of those that are colourful at all.
SHARES = """(colours) => {
    const canvas = document.querySelector(".lz-picture");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const turn = (r, g, b) => [r - (g + b) / 2, (Math.sqrt(3) / 2) * (g - b)];
    const angles = colours.map((rgb) => Math.atan2(...turn(...rgb)));
    const found = colours.map(() => 0);
    let all = 0;
    for (let i = 0; i < data.length; i += 4) {
        const way = turn(data[i], data[i + 1], data[i + 2]);
        if (Math.hypot(...way) < 60) continue;
        all++;
        const own = Math.atan2(...way);
        const apart = angles.map((angle) => Math.abs(Math.atan2(Math.sin(own - angle), Math.cos(own - angle))));
        const nearest = apart.indexOf(Math.min(...apart));
        if (apart[nearest] < 0.2) found[nearest]++;
    }
    return found.map((count) => count / Math.max(all, 1));
}"""
ORANGE, BLUE = [230, 159, 0], [86, 180, 233]
BUTTON = "All prompts"
PROMPTS = ("a siren wailing", "crickets chirping", "a dog barking")


@pytest.fixture
def example(visit: Visit) -> Visit:
    """A siren over an engine, explained."""
    visit.ready()
    visit.try_example(1)
    visit.ready()
    return visit


def press(visit: Visit) -> None:
    visit.page.get_by_role("button", name=BUTTON, exact=True).click()


def layers(visit: Visit, count: int) -> list[str]:
    visit.until(f"state.layers?.length === {count}")
    visit.ready()
    return visit.state()["layers"]


def test_each_prompt_has_a_colour_of_its_own_where_it_speaks(visit: Visit, tmp_path: Path):
    """A siren, and then crickets."""
    halves = [
        soundfile.read(examples_folder() / f"{name}.wav")[0] for name in ("siren-and-engine", "crickets")
    ]
    soundfile.write(
        tmp_path / "halves.wav", np.concatenate([half / np.abs(half).max() for half in halves]), 16000
    )
    visit.ready()
    visit.ask(tmp_path / "halves.wav", *PROMPTS)
    names = visit.page.locator(".lz-name").all_inner_texts()
    assert visit.state()["layers"] is None and visit.page.locator(".lz-legend").is_visible()
    before = visit.page.evaluate(SHARES, [BLUE])
    press(visit)
    assert layers(visit, 3) == ["orange", "light blue", "green"]
    assert before == [0] and min(visit.page.evaluate(SHARES, [ORANGE, BLUE])) > 0.02
    tints = visit.page.locator(".lz-bar").evaluate_all(
        "bars => bars.map((bar) => bar.style.getPropertyValue('--tint'))"
    )
    assert tints == ["#e69f00", "#56b4e9", "#009e73"]
    # The same in words: the marks beside the prompts are no text.
    said = visit.page.locator(".lz-check").inner_text()
    assert f"orange: {names[0]}, light blue: {names[1]}, green: {names[2]} (nothing)." in said
    assert not visit.page.locator(".lz-legend").is_visible()
    visit.picture("all-prompts")
    press(visit)
    visit.until("state.layers === null")
    assert visit.page.evaluate(SHARES, [BLUE]) == [0]
    assert visit.page.locator(".lz-bar[data-tinted]").count() == 0
    assert visit.page.locator(".lz-legend").is_visible()
    assert "orange" not in visit.page.locator(".lz-check").inner_text()


def test_colours_stay_when_another_prompt_is_pressed_and_come_with_another_sound(example: Visit):
    count = example.page.locator(".lz-row").count()
    press(example)
    found = layers(example, count)
    prompt = example.state()["prompt"]
    example.page.locator(".lz-bar").nth(1).click()
    example.until(f"state.prompt !== {json.dumps(prompt)}")
    assert layers(example, count) == found
    example.try_example(2)
    example.ready()
    other = example.page.locator(".lz-row").count()
    assert len(layers(example, other)) == other


def test_a_stop_keeps_the_colours_that_are_there(example: Visit):
    example.page.get_by_role("button", name="ESC-50", exact=True).click()
    example.page.wait_for_function("document.querySelectorAll('.lz-row').length > 50")
    example.ready()
    example.page.locator(".lz-bar").first.focus()
    example.page.locator(".lz-canvas").focus()
    # The six most probable of more than fifty; stopped in the page itself, before more than two are there.
    example.page.evaluate(
        """() => {
            const player = document.querySelector(".lz-player");
            const look = () => {
                if ((player.state().layers?.length || 0) < 2) return requestAnimationFrame(look);
                document.querySelector(".lz-stop").click();
                window.stopped = true;
            };
            look();
        }"""
    )
    example.page.keyboard.press("p")
    example.page.wait_for_function("window.stopped")
    example.page.wait_for_selector('.lz-player[data-busy="no"]')
    turn = example.state()["turn"]
    # Nothing more is asked for, and nothing goes.
    example.page.wait_for_timeout(500)
    assert example.player.get_attribute("data-busy") == "no" and example.state()["turn"] == turn
    assert len(example.state()["layers"]) >= 2
    example.page.keyboard.press("p")
    example.until("state.layers === null")
    example.page.locator(".lz-canvas").focus()
    example.page.keyboard.press("p")
    assert len(layers(example, 6)) == 6
