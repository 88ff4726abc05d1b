"""Take the pictures of the page: `python tests/ui/make_picture.py`.

It writes docs/page.png for the README, and what links and tabs show: lmaczs/ui/preview.png and icon.png.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from page_server import ROOT, chromium, running_page
from PIL import Image, ImageDraw
from visit import Visit

WIDTH, COLOURS = 1280, 255
# What sites show of a link, px, and the view that it is made from.
PREVIEW, VIEW = (1200, 630), {"width": WIDTH, "height": 672}


def main() -> None:
    """The first paint, listening to what counted."""
    target, own = ROOT / "docs" / "page.png", ROOT / "lmaczs" / "ui"
    target.parent.mkdir(exist_ok=True)
    with (
        TemporaryDirectory() as name,
        running_page(Path(name)) as url,
        chromium(Path(name, "profile")) as browser,
    ):
        visit = Visit(browser.new_page())
        visit.page.set_viewport_size({"width": WIDTH, "height": 900})
        visit.open(f"{url}/?__theme=light")
        visit.ready()
        visit.track("kept").click()
        box = visit.page.locator(".lz-canvas").bounding_box()
        visit.page.locator(".lz-canvas").click(position={"x": 0.4 * box["width"], "y": 0.5 * box["height"]})
        visit.page.mouse.move(5, 5)
        visit.page.evaluate("document.activeElement.blur()")
        visit.settle()
        visit.page.screenshot(path=target, full_page=True)
        visit.page.set_viewport_size(VIEW)
        visit.settle()
        visit.page.screenshot(path=own / "preview.png")
    Image.open(own / "preview.png").resize(PREVIEW, Image.Resampling.LANCZOS).save(own / "preview.png")
    for path in (target, own / "preview.png"):
        Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
        print(f"Wrote {path.relative_to(ROOT)}, {path.stat().st_size // 1000} kB")
    icon().save(own / "icon.png", optimize=True)


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
