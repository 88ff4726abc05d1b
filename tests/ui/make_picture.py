"""Take the pictures of the page: `python tests/ui/make_picture.py`.

It writes docs/page.png for the README, docs/page-dark.png, page-phone.png and what-if.png for the documentation, and what
links and tabs show: lmaczs/ui/preview.png and icon.png.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from page_server import ROOT, chromium, running_page
from PIL import Image, ImageDraw
from playwright.sync_api import ViewportSize
from visit import Visit

WIDTH, COLOURS = 1280, 255
# What sites show of a link, px, and the view that it is made from.
PREVIEW, VIEW = (1200, 630), {"width": WIDTH, "height": 672}
LAPTOP: ViewportSize = {"width": 1366, "height": 768}
PHONE: ViewportSize = {"width": 390, "height": 844}


def main() -> None:
    """Take all pictures with one server and one browser."""
    docs, own = ROOT / "docs", ROOT / "lmaczs" / "ui"
    with (
        TemporaryDirectory() as name,
        running_page(Path(name)) as url,
        chromium(Path(name, "profile")) as browser,
    ):
        visit = Visit(browser.new_page())
        listen_to_what_counted(visit, f"{url}/?__theme=light", {"width": WIDTH, "height": 900})
        visit.page.screenshot(path=docs / "page.png", full_page=True)
        visit.page.set_viewport_size(VIEW)
        visit.settle()
        visit.page.screenshot(path=own / "preview.png")
        mute_the_siren(visit)
        visit.page.screenshot(path=docs / "what-if.png")
        listen_to_what_counted(visit, f"{url}/?__theme=dark", LAPTOP)
        visit.page.screenshot(path=docs / "page-dark.png")
        listen_to_what_counted(visit, f"{url}/?__theme=light", PHONE)
        visit.page.screenshot(path=docs / "page-phone.png")
    Image.open(own / "preview.png").resize(PREVIEW, Image.Resampling.LANCZOS).save(own / "preview.png")
    names = ("page", "what-if", "page-dark", "page-phone")
    for path in (*(docs / f"{name}.png" for name in names), own / "preview.png"):
        Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
        print(f"Wrote {path.relative_to(ROOT)}, {path.stat().st_size // 1000} kB")
    icon().save(own / "icon.png", optimize=True)


def listen_to_what_counted(visit: Visit, url: str, view: ViewportSize) -> None:
    """The first paint, with the playhead in the middle of what counted."""
    visit.page.set_viewport_size(view)
    visit.open(url)
    visit.ready()
    visit.track("kept").click()
    box = visit.page.locator(".lz-canvas").bounding_box()
    visit.page.locator(".lz-canvas").click(position={"x": 0.4 * box["width"], "y": 0.5 * box["height"]})
    visit.page.mouse.move(5, 5)
    visit.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    visit.settle()


def mute_the_siren(visit: Visit) -> None:
    """A box over the siren of the example, and the scores without it."""
    visit.page.set_viewport_size(LAPTOP)
    visit.try_example(1)
    visit.until("state.prompt === 'a siren wailing'")
    visit.ready()
    visit.page.keyboard.press("b")
    visit.drag((0.002, 0.004), (0.998, 0.86))
    visit.until("state.boxes === 1 && state.method.startsWith('boxes:')")
    visit.track("removed").click()
    visit.page.mouse.move(5, 5)
    visit.ready()
    visit.page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    visit.settle()


def icon(size: int = 64) -> Image.Image:
    """A sound of which one part is lit."""
    drawn = Image.new("RGBA", (4 * size, 4 * size))
    pen, unit = ImageDraw.Draw(drawn), 4 * size / 16
    pen.rounded_rectangle((0, 0, 4 * size - 1, 4 * size - 1), 3.2 * unit, fill="#1c1917")
    for place, (height, lit) in enumerate(((3, 0), (7, 0), (11, 1), (9, 1), (5, 0))):
        left = (2.4 + 2.4 * place) * unit
        box = (left, (8 - height / 2) * unit, left + 1.5 * unit, (8 + height / 2) * unit)
        pen.rounded_rectangle(box, 0.7 * unit, fill="#f59e3b" if lit else "#8b909c")
    return drawn.resize((size, size), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
