"""How the picture can be looked at: brightness and range, the waveform, components in words and in their own colours."""

import base64
import re

import numpy as np
from visit import OUT, Visit

# As text: a million numbers take seconds on their way.
PIXELS = """node => {
    const { data } = node.getContext("2d").getImageData(0, 0, node.width, node.height);
    let found = "";
    for (let i = 0; i < data.length; i += 0x8000) found += String.fromCharCode(...data.subarray(i, i + 0x8000));
    return btoa(found);
}"""


def pixels(visit: Visit, selector: str) -> np.ndarray:
    """(pixels, 4) of a canvas."""
    found = base64.b64decode(visit.page.locator(selector).evaluate(PIXELS))
    return np.frombuffer(found, np.uint8).reshape(-1, 4).astype(int)


def towards(found: np.ndarray, more: int, less: int) -> int:
    """How many pixels have more of one channel than of another, so that it is seen."""
    return int((found[:, more] - found[:, less] > 30).sum())


def test_range_and_brightness_change_the_picture_and_are_remembered(visit: Visit):
    visit.ready()
    slider = "(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }"

    def light(name: str, value: int) -> float:
        visit.page.locator(name).evaluate(slider, value)
        return float(pixels(visit, ".lz-picture")[:, :3].mean())

    plain = light(".lz-brightness", 0)
    assert light(".lz-brightness", 40) > 1.1 * plain
    assert light(".lz-brightness", -40) < 0.9 * plain
    light(".lz-brightness", 0)
    assert light(".lz-range", 25) < 0.8 * plain
    assert light(".lz-range", 70) == plain
    light(".lz-range", 40)
    visit.open(visit.page.url)
    visit.ready()
    assert visit.state()["look"]["range"] == 40
    assert visit.page.locator(".lz-range").get_attribute("aria-valuetext") == "40 decibels"


def test_the_waveform_shows_what_is_heard(visit: Visit):
    visit.ready()
    quiet = pixels(visit, ".lz-wave")
    assert (quiet[:, 3] > 0).mean() > 0.02
    visit.track("kept").click()
    visit.settle()
    heard = pixels(visit, ".lz-wave")

    # What counted is a part of it, in the colour of the mask.
    def lit(found: np.ndarray) -> int:
        return int(((found[:, 0] > found[:, 2] + 80) & (found[:, 3] > 128)).sum())

    assert lit(quiet) == 0 and 0 < lit(heard) < (quiet[:, 3] > 0).sum()
    visit.track("original").click()
    visit.settle()
    assert lit(pixels(visit, ".lz-wave")) == 0


def test_components_are_named_and_have_colours_of_their_own(visit: Visit):
    visit.ready()
    red, blue = 0, 2
    card = '.lz-card[data-method="l2i"] canvas'
    visit.page.wait_for_function(
        """selector => {
            const node = document.querySelector(selector);
            const { data } = node.getContext("2d").getImageData(0, 0, node.width, node.height);
            for (let i = 0; i < data.length; i += 4) if (data[i + 2] > data[i] + 40 && data[i + 2] > 100) return true;
        }""",
        arg=card,
    )
    found = pixels(visit, card)
    assert towards(found, red, blue) > 3 and towards(found, blue, red) > 3
    assert towards(pixels(visit, '.lz-card[data-method="grad-cam++"] canvas'), blue, red) == 0
    visit.chip("l2i").click()
    visit.until("state.method === 'l2i'")
    visit.ready()
    what = visit.page.locator(".lz-lane-what").all_inner_texts()
    assert len(what) >= 3
    shape = r"(tone near [\d.]+ k?Hz|(band|noise) from [\d.]+ k?Hz to [\d.]+ k?Hz), (all through|\d+ times|near [\d.]+ s)"
    assert all(re.fullmatch(shape, words) for words in what), what
    lanes = visit.page.locator(".lz-lane")
    assert what[0] in lanes.first.get_attribute("aria-label")
    tint = "node => getComputedStyle(node).getPropertyValue('--tint')"
    tints = [lane.evaluate(tint) for lane in lanes.all()]
    counted = [lane.get_attribute("data-counts") == "yes" for lane in lanes.all()]
    assert tints[0] == "#e69f00" and tints[-1] == "transparent"
    assert all((one != "transparent") == yes for one, yes in list(zip(tints, counted, strict=True))[:6])
    visit.page.locator(".lz-lanes").scroll_into_view_if_needed()
    visit.page.screenshot(path=OUT / "components.png")
