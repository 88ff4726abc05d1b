"""A visitor of the page, with the words that the tests speak in."""

from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Locator, Page

OUT = Path(__file__).parents[2] / "out" / "screenshots"  # git-ignored; look at them


@dataclass
class Visit:
    """A visitor's page, and everything that must not happen on it."""

    page: Page
    mistakes: list[str] = field(default_factory=list)

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.player.wait_for()
        self.page.wait_for_function("document.querySelector('.lz-player').state")

    @property
    def player(self) -> Locator:
        return self.page.locator(".lz-player")

    @property
    def play(self) -> Locator:
        """Our button; the uploaded sound has one of its own."""
        return self.page.locator(".lz-play")

    @property
    def notice(self) -> Locator:
        return self.page.locator(".lz-notice")

    def state(self) -> dict:
        return self.player.evaluate("player => player.state()")

    def ready(self) -> None:
        """Wait until an explanation can be played and nothing more is under way."""
        self.page.wait_for_selector('.lz-player[data-ready="yes"][data-busy="no"]')

    def until(self, condition: str) -> None:
        """Wait for a condition on `state`, e.g. "state.pos > 1"."""
        self.page.wait_for_function(
            f"() => {{ const state = document.querySelector('.lz-player').state(); return {condition}; }}"
        )

    def upload(self, path: Path) -> None:
        """Choose a file, after an earlier sound was removed."""
        self.page.get_by_role("button", name="Upload file", exact=True).click()
        self.page.locator("#lz-sound input[type=file]").set_input_files(path)
        self.page.wait_for_selector("#lz-sound audio", state="attached")  # uploaded, not only on its way

    def type_prompts(self, *prompts: str) -> None:
        self.page.locator("#lz-prompts textarea").fill("\n".join(prompts))

    def classify(self) -> None:
        self.page.get_by_role("button", name="Classify", exact=True).click()

    def try_example(self, index: int) -> None:
        """Press an example, and wait until the page has let go of what it showed before."""
        self.page.locator("#lz-tries button").nth(index).click()
        self.page.wait_for_selector('.lz-player[data-ready="empty"]')

    def open_tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def chip(self, method: str) -> Locator:
        return self.page.locator(f'.lz-methods [data-method="{method}"]')

    def panel(self, method: str) -> Locator:
        return self.page.locator(f'.lz-panel[data-method="{method}"]')

    def track(self, name: str) -> Locator:
        return self.page.locator(f'.lz-tracks [data-track="{name}"]')

    def picture(self, name: str) -> None:
        self.page.wait_for_timeout(250)  # transitions
        self.page.screenshot(path=OUT / f"{name}.png", full_page=True)
