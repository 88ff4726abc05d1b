"""`train` is a package: each script starts as a module and as a file, from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for path in (ROOT / "train").glob("*.py") if "__main__" in path.read_text("utf-8"))


@pytest.mark.parametrize("way", [["-m", "train.make_tagged_mixtures"], ["train/make_tagged_mixtures.py"]])
def test_a_script_starts_as_a_module_and_as_a_file(way):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *way, "--help"], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "--hold-out" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_started_as_a_file_finds_the_package(script):
    """The lines come before the first import of the package, which would fail without them."""
    text = script.read_text("utf-8")
    lines = "if not __package__:"
    assert lines in text and text.index(lines) < text.index("\nfrom train")
