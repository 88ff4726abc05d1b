"""Prove that the folder of a Space stands on its own: `python space/check_space.py [FOLDER]`, after build_space.py.

The folder is copied away from the repository, installed into a clean environment as the builder of Spaces does it,
started, and used: in a real browser, and by a program. On a machine without a GPU a constraint keeps CUDA packages away:
`--constraint FILE` with the line `torch==2.13.0+cpu`, where such a build can be found.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

from build_space import ROOT, TORCH, front_matter

sys.path.insert(0, str(ROOT / "tests" / "ui"))  # the words and the page server of the browser tests
from page_server import chromium, running_page  # noqa: E402
from visit import OUT, Visit  # noqa: E402

PROMPTS = ("a siren wailing", "an engine idling", "rain falling")


def builders_command(folder: Path, python: Path, constraint: Path | None) -> list[str]:
    """What the builder of Spaces runs: one pip for the Space's requirements and its own packages.

    Args:
        folder: the Space.
        python: of the environment.
        constraint: a pip constraints file.
    """
    settings = front_matter((folder / "README.md").read_text("utf-8"))
    own = [
        f"gradio[oauth,mcp]=={settings['sdk_version']}",
        f"torch<={TORCH}",
        "uvicorn>=0.14.0",
        "websockets>=10.4",
        "spaces",
    ]
    command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(folder / "requirements.txt"), *own]
    return command + (["--constraint", str(constraint.resolve())] if constraint else [])


def install(folder: Path, environment: Path, constraint: Path | None) -> Path:
    """Make a clean environment for the Space; returns its Python."""
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run(builders_command(folder, python, constraint), check=True)
    subprocess.run([str(python), "-m", "pip", "check", "--quiet"], check=True)
    return python


def visit_by_browser(url: str, browser_profile: Path) -> list[str]:
    """Open the page, explain the first example and a sentence of our own; returns what went wrong."""
    with chromium(browser_profile) as browser:
        visit = Visit(browser.new_page())
        visit.watch()
        visit.open(url)
        visit.ready()
        visit.try_example(1)
        visit.ready()
        visit.type_prompts(*PROMPTS)
        visit.classify()
        visit.until(f"{json.dumps(PROMPTS)}.includes(state.prompt)")
        visit.ready()
        visit.play.click()
        visit.until("state.playing && state.pos > 0.3")
        OUT.mkdir(parents=True, exist_ok=True)
        visit.picture("space")
        return visit.mistakes


def visit_by_program(url: str, clip: Path, python: Path) -> dict:
    """Ask for /explain with the client that the Space's own environment has; returns its numbers."""
    code = (
        "import json, sys; from gradio_client import Client, handle_file; "
        "client = Client(sys.argv[1], verbose=False, analytics_enabled=False); "
        "print(json.dumps(client.predict(handle_file(sys.argv[2]), sys.argv[3:], api_name='/explain')[0]))"
    )
    command = [str(python), "-c", code, url, str(clip), *PROMPTS]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=python.parent)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Check from the command line; the exit code says whether the Space is good."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "space")
    parser.add_argument("--constraint", type=Path, help="pip constraints, to keep CUDA packages away")
    arguments = parser.parse_args()
    os.environ.pop("PYTHONPATH", None)  # the folder alone
    with TemporaryDirectory(prefix="lmaczs-space-") as name:
        home = Path(name)
        space = Path(shutil.copytree(arguments.folder, home / "space"))
        start = time.monotonic()
        python = install(space, home / "venv", arguments.constraint)
        print(f"Installed in {time.monotonic() - start:.0f} s")
        (home / "server").mkdir()
        start = time.monotonic()
        with running_page(home / "server", space / "app.py", python) as url:
            print(f"Serves the page after {time.monotonic() - start:.0f} s")
            mistakes = visit_by_browser(url, home / "profile")
            row = visit_by_program(url, space / "assets" / "examples" / "siren-and-engine.wav", python)
        print(
            f"A program hears: {row['target']} ({row['probability']['original']:.0%}), explained by {row['method']}"
        )
    if mistakes:
        parser.exit(1, "\n".join(["The page made mistakes:", *mistakes]) + "\n")
    print("The Space installs, starts and explains from its folder alone.")


if __name__ == "__main__":
    main()
