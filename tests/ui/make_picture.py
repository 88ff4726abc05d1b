"""Take the README's picture of the page: `python tests/ui/make_picture.py` writes docs/page.png."""

from pathlib import Path
from tempfile import TemporaryDirectory

from page_server import ROOT, chromium, running_page
from PIL import Image
from visit import Visit

WIDTH, COLOURS = 1280, 255


def main() -> None:
    """The first paint, listening to what counted."""
    target = ROOT / "docs" / "page.png"
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
    Image.open(target).convert("RGB").quantize(COLOURS).save(target, optimize=True)
    print(f"Wrote docs/{target.name}, {target.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
