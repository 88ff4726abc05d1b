"""A report in a real Chromium, opened as a file: its sounds play, and nothing is asked of anybody."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from page_server import WAIT_S
from playwright.sync_api import BrowserContext
from test_accessibility import violations

from lmaczs.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    desk = tmp_path_factory.mktemp("report")
    (desk / "prompts.txt").write_text("a siren wailing\nan engine idling\n<b>rain</b>\n")
    sounds = ROOT / "assets/examples"
    (desk / "sounds.csv").write_text(
        "path,label\n" + "".join(f"{sounds / name}.wav,{name}\n" for name in ("siren-and-engine", "crickets"))
    )
    command = ["report", str(desk / "sounds.csv"), "--prompts-file", str(desk / "prompts.txt")]
    assert (
        main([*command, "--backend", "debug", "--methods", "grad-cam,saliency", "--out", str(desk / "out")])
        == 0
    )
    return desk / "out"


def until(holds: Callable[[], bool]) -> None:
    """Wait without a script of the page's own, which its policy forbids."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_by_double_click_and_plays(context: BrowserContext, folder: Path, width: int):
    page = context.new_page()
    asked, mistakes = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: mistakes.append(message.text))
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.set_viewport_size({"width": width, "height": 850})
    page.goto((folder / "index.html").as_uri())
    assert page.locator(".card").count() == 2
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/0001.html")
    assert page.locator("section").count() == 2
    assert page.get_by_text("<b>rain</b>").count() == 1
    sound = page.locator("section audio").first
    sound.evaluate("audio => audio.play()")
    until(lambda: sound.evaluate("audio => audio.currentTime") > 0.1)
    assert sound.evaluate("audio => audio.duration") == pytest.approx(5, abs=0.01)
    page.locator("section img").first.scroll_into_view_if_needed()
    until(lambda: page.locator("section img").first.evaluate("image => image.naturalWidth") == 640)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.get_by_role("link", name="All recordings").click()
    page.wait_for_url("**/index.html")
    assert all(url.startswith("file:") for url in asked) and not mistakes
    page.close()


def test_no_page_of_a_report_breaks_a_rule(context: BrowserContext, folder: Path):
    page = context.new_page()
    for name in ("index.html", "0001.html"):
        page.goto((folder / name).as_uri())
        assert violations(page) == [], name
    page.close()
