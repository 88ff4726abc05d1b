"""One server and one browser for the session; every test gets a fresh page that watches for mistakes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from page_server import WAIT_S, chromium, running_page
from playwright.sync_api import BrowserContext
from visit import OUT, Visit

from lmaczs.ui.handlers import Handlers
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio

RATE = 44100


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what drives a browser: `-m "not ui"` leaves it out."""
    for item in items:
        if {"context", "visit"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.ui)


def tone_bursts(seconds: float = 3.0, hertz: float = 880.0) -> np.ndarray:
    """Four bursts a second over faint noise: (samples,) at RATE."""
    time_s = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).normal(0, 0.003, len(time_s))
    return 0.3 * np.sin(2 * np.pi * hertz * time_s) * (np.sin(8 * np.pi * time_s) > 0) + noise


@pytest.fixture(scope="module")
def studio() -> Studio:
    """The smallest model, with room for two recordings."""
    return Studio(Settings(backend="debug", recordings_kept=2))


@pytest.fixture
def handlers(studio: Studio) -> Handlers:
    """The page's events without a page."""
    return Handlers(studio)


@pytest.fixture
def clip(tmp_path: Path) -> str:
    """1.23 s of a burst, peak 0.9, at a rate that is not the model's."""
    time_s = np.arange(round(1.23 * 22050)) / 22050
    path = tmp_path / "burst <b>.wav"
    soundfile.write(path, 0.9 * np.sin(2 * np.pi * 1200 * time_s) * (time_s < 0.5), 22050)
    return str(path)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings, good ones and bad ones, and a steady source for the fake microphone."""
    folder = tmp_path_factory.mktemp("sounds")
    for ending in ("wav", "mp3", "flac"):
        soundfile.write(folder / f"bursts.{ending}", tone_bursts(), RATE)
    soundfile.write(folder / "other.wav", tone_bursts(2.0, 1500.0), RATE)
    soundfile.write(folder / "long.wav", np.tile(tone_bursts(5.0), 48), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    (folder / "empty.wav").touch()
    (folder / "corrupt.wav").write_bytes(b"this is no sound " * 40)
    time_s = np.arange(8 * RATE) / RATE
    soundfile.write(
        folder / "microphone.wav", 0.3 * np.sin(2 * np.pi * 1000 * time_s), RATE, subtype="PCM_16"
    )
    return folder


@pytest.fixture
def write_bursts() -> Callable[[Path, float, int], None]:
    """`write_bursts(path, hertz, times)`: so many times 5 s of `tone_bursts`."""
    return lambda path, hertz, times: soundfile.write(path, np.tile(tone_bursts(5.0, hertz), times), RATE)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the page."""
    with running_page(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="session")
def context(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A browser whose microphone plays a steady tone."""
    OUT.mkdir(parents=True, exist_ok=True)
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={sounds / 'microphone.wav'}",
    )
    profile = tmp_path_factory.mktemp("profile")
    with chromium(profile, *flags, permissions=["microphone"], accept_downloads=True) as context:
        yield context


@pytest.fixture
def visit(context: BrowserContext, server: str) -> Iterator[Visit]:
    """A fresh page on the stored example; fails if anything left the machine or broke."""
    visit = Visit(context.new_page())
    visit.watch()
    visit.open(server)
    yield visit
    page = visit.page
    page.evaluate("localStorage.clear()")
    toasts = page.locator(".toast-body").all_inner_texts()
    visit.leaving = True
    page.close()
    assert not visit.mistakes
    assert not toasts, "Gradio's own message instead of ours"


@pytest.fixture
def eventually(visit: Visit) -> Callable[[Callable[[], bool]], None]:
    """Wait until something read through the page becomes true."""

    def wait(check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not check():
            assert time.monotonic() < deadline
            visit.page.wait_for_timeout(50)

    return wait
