"""An example and its prompt stand in the address; a visitor's own sound never does."""

from pathlib import Path
from urllib.parse import parse_qsl, urlparse

import pytest
from visit import Visit

# What the stored example explains: the second of its prompts.
FIRST = "an alarm clock beeping"


def said_in(visit: Visit) -> dict[str, str]:
    """What the address says, without the theme."""
    found = dict(parse_qsl(urlparse(visit.page.url).query))
    return {name: value for name, value in found.items() if name != "__theme"}


def test_a_link_leads_to_an_example_and_its_prompt(visit: Visit, server: str):
    visit.ready()
    visit.try_example(2)
    visit.ready()
    first = said_in(visit)
    assert first["example"] == "3"
    visit.page.locator(".lz-bar").last.click()
    visit.page.wait_for_function("old => !location.search.includes('prompt=' + old)", arg=first["prompt"])
    visit.ready()
    assert said_in(visit)["example"] == "3"
    link, prompt = visit.page.url, visit.state()["prompt"]
    assert visit.page.get_by_role("button", name="Copy link", exact=True).is_visible()
    visit.open(link)
    visit.until(f"state.prompt === {prompt!r}")
    visit.ready()
    assert visit.page.url == link
    # Unlike a press, a link does not sound by itself.
    assert not visit.state()["playing"]
    # The stored example, asked for by name, stays what it is.
    visit.open(f"{server}/?example=1")
    visit.ready()
    assert visit.state()["prompt"] == FIRST and said_in(visit) == {"example": "1", "prompt": "2"}


def test_a_sound_of_ones_own_leaves_no_trace_in_the_address(visit: Visit, sounds: Path):
    visit.ready()
    visit.upload(sounds / "bursts.wav")
    visit.page.wait_for_function("location.search === ''")
    visit.ready()
    assert said_in(visit) == {}
    assert visit.page.get_by_role("button", name="Copy link", exact=True).is_hidden()


@pytest.mark.parametrize("said", ["example=99&prompt=1", "example=<img src=x>", "example=1&prompt=77"])
def test_an_address_that_names_nothing_is_passed_over(visit: Visit, server: str, said: str):
    visit.open(f"{server}/?{said}")
    visit.ready()
    assert visit.state()["prompt"] == FIRST
    assert said_in(visit) == {"example": "1", "prompt": "2"}
