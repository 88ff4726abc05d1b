"""A visitor of the page, with the words that the tests speak in."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse

from playwright.sync_api import ConsoleMessage, Locator, Page, Request

OUT = Path(__file__).parents[2] / "out" / "screenshots"  # git-ignored; look at them
# What Gradio and the browser write about a file that is no sound, or a stream that is cut off on purpose.
HARMLESS = ("Waveform load error", "416 (Requested Range", "ERR_REQUEST_RANGE_NOT_SATISFIABLE", "ERR_ABORTED")
# Explained in a moment each; the page runs them first.
QUICK = ("lmac-zs", "lmac-any", "l2i", "grad-cam", "grad-cam++", "saliency")
CONTROLS = ("random", "energy")
# Two frames, so that whatever was asked for before has been drawn; endless animations have no end to wait for.
SETTLED = """async () => {
    const frame = () => new Promise(requestAnimationFrame);
    await frame();
    await frame();
    const ending = document.getAnimations().filter(found => found.effect.getComputedTiming().endTime < Infinity);
    await Promise.allSettled(ending.map(found => found.finished));
}"""


@dataclass
class Visit:
    """A visitor's page, and everything that must not happen on it."""

    page: Page
    mistakes: list[str] = field(default_factory=list)
    # A page that is left while it waits for answers says so on the console.
    leaving: bool = False

    def watch(self) -> None:
        """Note every mistake from now on: errors, dialogs, and requests that leave the machine."""
        self.page.on("request", self._on_request)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.mistakes.append(f"page error: {error}"))
        self.page.on(
            "dialog", lambda dialog: (self.mistakes.append(f"dialog: {dialog.message}"), dialog.dismiss())
        )

    def _on_request(self, request: Request) -> None:
        url = urlparse(request.url)
        if url.scheme not in ("data", "blob") and url.hostname != "127.0.0.1":
            self.mistakes.append(f"request to {request.url}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if (
            message.type == "error"
            and not self.leaving
            and not any(part in message.text for part in HARMLESS)
        ):
            self.mistakes.append(f"console: {message.text}")

    def open(self, url: str) -> None:
        self.leaving = True
        self.page.goto(url)
        self.leaving = False
        self.player.wait_for()
        self.page.wait_for_function("document.querySelector('.lz-player').state")

    @property
    def player(self) -> Locator:
        return self.page.locator(".lz-player")

    @property
    def play(self) -> Locator:
        """Play or pause."""
        return self.page.locator(".lz-play")

    @property
    def notice(self) -> Locator:
        return self.page.locator(".lz-notice")

    def state(self) -> dict:
        return self.player.evaluate("player => player.state()")

    def ready(self) -> None:
        """Wait until an explanation can be played, all methods are offered and nothing more is under way."""
        # What is explained without a press begins as soon as the methods are known.
        self.until("Object.keys(state.methods).length > 1")
        self.page.wait_for_selector('.lz-player[data-ready="yes"][data-busy="no"]')

    def run_quick_methods(self) -> None:
        """Explain with the controls and the quick methods, and stop before the slow ones."""
        self.page.get_by_role("button", name="Run all methods").click()
        names = [*QUICK, *CONTROLS]
        # Eight methods take a busy machine longer than a press.
        self.page.wait_for_function(
            "names => names.every(name => document.querySelector('.lz-player').state().metrics[name])",
            arg=names,
            timeout=240_000,
        )
        self.stop()
        self.ready()
        self.rest()

    def stop(self) -> None:
        """End what is under way, at once: a button that moves beside a growing bar is not waited for."""
        self.page.evaluate("document.querySelector('.lz-stop').click()")
        self.page.wait_for_selector('.lz-player[data-busy="no"]')

    def rest(self) -> None:
        """Wait until nothing more comes of what was stopped: a method that was just explained may still be checked."""
        self.page.wait_for_function(
            """() => {
                const { methods, metrics } = document.querySelector(".lz-player").state();
                const seen = JSON.stringify([methods, metrics]);
                if (seen !== window.seen) [window.seen, window.seenAt] = [seen, performance.now()];
                return performance.now() - window.seenAt > 2000;
            }"""
        )

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Pull over the picture from one place to another: shares of its width, and of its height from the top."""
        box, mouse = self.page.locator(".lz-canvas").bounding_box(), self.page.mouse
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
        mouse.move(*places[0])
        mouse.down()
        mouse.move(*((a + b) / 2 for a, b in zip(*places, strict=True)))
        mouse.move(*places[1])
        mouse.up()

    def until(self, condition: str) -> None:
        """Wait for a condition on `state`, e.g. "state.pos > 1"."""
        self.page.wait_for_function(
            f"() => {{ const state = document.querySelector('.lz-player').state(); return {condition}; }}"
        )

    def take(self, path: Path) -> None:
        """Choose a file: with prompts it is classified at once."""
        with self.page.expect_response(lambda answer: "/upload" in answer.url):
            self.page.locator("#lz-sound-field input[type=file]").set_input_files(path)

    def upload(self, path: Path) -> None:
        """Choose a file, and wait until it is the page's sound."""
        self.take(path)
        self.page.wait_for_function(
            "name => document.querySelector('.lz-source-name').textContent === name", arg=path.name
        )

    def type_prompts(self, *prompts: str) -> None:
        """As text; nothing is asked before the field is left."""
        if self.page.locator("#lz-prompts textarea").is_hidden():
            self.page.get_by_role("button", name="Edit as text").click()
        self.page.locator("#lz-prompts textarea").fill("\n".join(prompts))

    def classify(self) -> None:
        """Leave the field for prompts."""
        self.page.locator("#lz-prompts textarea").press("Control+Enter")

    def ask(self, path: Path, *prompts: str) -> None:
        """Have a sound explained with these prompts."""
        self.type_prompts(*prompts)
        self.upload(path)
        self.page.wait_for_function(
            """prompts => {
                const bars = [...document.querySelectorAll(".lz-bar:not(:disabled) .lz-name")];
                return JSON.stringify(bars.map(bar => bar.textContent).sort()) === JSON.stringify(prompts.sort());
            }""",
            arg=list(prompts),
        )
        self.ready()

    def add(self, prompt: str) -> None:
        self.page.get_by_label("Add a prompt").fill(prompt)
        self.page.keyboard.press("Enter")

    def try_example(self, index: int) -> None:
        """Press an example, and wait until the page has taken it up; it plays at once, and is paused here."""
        turn = self.state()["turn"]
        self.page.locator("#lz-tries button").nth(index).click()
        self.until(f"state.turn > {turn} && state.playing")
        self.play.click()
        self.page.keyboard.press("Home")

    def open_tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def chip(self, method: str) -> Locator:
        return self.page.locator(f'.lz-methods [data-method="{method}"]')

    def panel(self, method: str) -> Locator:
        return self.page.locator(f'.lz-panel[data-method="{method}"]')

    def track(self, name: str) -> Locator:
        return self.page.locator(f'.lz-tracks [data-track="{name}"]')

    def settle(self) -> None:
        """Wait until what is on screen is drawn, and every transition has ended."""
        self.page.evaluate(SETTLED)

    def picture(self, name: str) -> None:
        self.settle()
        self.page.screenshot(path=OUT / f"{name}.png", full_page=True)
