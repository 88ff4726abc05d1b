"""A running page and a real Chromium, for the tests and for the scripts that look at the page."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, sync_playwright

ROOT = Path(__file__).parents[2]
START_S, WAIT_S = 180, 60  # a busy machine is slow; nothing waits longer than it must
BROWSERS = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
MACS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def running_page(
    folder: Path,
    app: Path = ROOT / "app.py",
    python: str | Path = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Start the page as a visitor's server would, and give its address.

    Args:
        folder: working folder of the server, not the repository; its log goes there.
        app: the program.
        python: what runs it.
        environment: more variables.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
        **(environment or {}),
    }
    log = folder / "server.log"
    with open(log, "w") as out:
        command = [str(python), str(app)]
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=out)
    try:
        _wait_until_up(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_up(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"{url}/config", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(log.read_text())


@contextmanager
def chromium(profile: Path, *flags: str, **options: Any) -> Iterator[BrowserContext]:
    """Start the Chromium of this machine.

    Args:
        profile: an empty folder.
        flags: more of its command line.
        options: of Playwright's `launch_persistent_context`.
    """
    found = [path for path in map(shutil.which, BROWSERS) if path]
    found += [path for path in MACS if Path(path).is_file()]
    if not found:
        raise RuntimeError("There is no Chromium here: run .ci/install-browser.")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=found[0],
            headless=True,
            args=[*FLAGS, *flags],
            **({"viewport": {"width": 1280, "height": 900}} | options),
        )
        context.set_default_timeout(WAIT_S * 1000)
        yield context
        context.close()
