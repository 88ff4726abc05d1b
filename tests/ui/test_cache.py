"""Visitors' files go when their time is over, and with the page."""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import gettempdir

import pytest

from lmaczs.ui.cache import keep_sweeping, sweep, visitors_folder
from lmaczs.ui.layout import build_demo
from lmaczs.ui.settings import Settings


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"sound")
    return path


def test_only_what_is_old_and_not_the_pages_own_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    old, own = put(tmp_path / "a" / "old.wav"), put(tmp_path / "b" / "own.wav")
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    made = max(path.stat().st_ctime for path in tmp_path.rglob("*"))
    new = put(tmp_path / "c" / "new.wav")
    while new.stat().st_ctime <= made:
        # The clock of files has coarse steps.
        new = put(tmp_path / "c" / "new.wav")
    (tmp_path / "just made").mkdir()
    # A minute after the old ones were made.
    monkeypatch.setattr("lmaczs.ui.cache.time.time", lambda: made + 60)
    sweep(tmp_path, 60 - 1e-6, {str(own)})
    assert not old.exists() and own.exists() and new.exists()
    assert {path.name for path in tmp_path.iterdir()} >= {"b", "c", "just made"}
    # Much later. Folders that lost something were changed by it, so each of them waits for one more sweep.
    monkeypatch.setattr("lmaczs.ui.cache.time.time", lambda: made + 600)
    for _ in range(3):
        sweep(tmp_path, 60, {str(own)})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b", "own.wav"]
    assert tmp_path.exists()


def test_sweeping_goes_on_after_a_mistake(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    calls = []

    def spared() -> set[str]:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("changed size during iteration")
        return set()

    path = put(tmp_path / "old.wav")
    over = keep_sweeping(tmp_path, 0.01, spared)
    deadline = time.monotonic() + 20
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    over.set()
    assert "could not delete old files" in caplog.text


def test_page_keeps_its_files_in_a_folder_of_its_own():
    demo = build_demo(Settings(backend="debug"))
    folder = visitors_folder().name
    assert os.environ["GRADIO_TEMP_DIR"] == folder
    assert {block.GRADIO_CACHE for block in demo.blocks.values()} == {folder}
    own = demo._own_files()
    assert own and all(Path(path).is_relative_to(folder) and Path(path).is_file() for path in own)


@pytest.mark.skipif(os.name == "nt", reason="there are no signals")
def test_files_go_with_the_page_that_is_terminated(tmp_path: Path):
    code = (
        "import signal\n"
        "from tempfile import TemporaryDirectory\n"
        "from lmaczs.ui.cache import remove_when_terminated, visitors_folder\n"
        "other = TemporaryDirectory()\n"
        "remove_when_terminated(visitors_folder(), other)\n"
        "print(visitors_folder().name, other.name, flush=True)\n"
        "signal.pause()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout
    folders = [Path(name) for name in process.stdout.readline().split()]
    assert len(folders) == 2 and all(folder.is_dir() for folder in folders)
    assert folders[0].parent == Path(gettempdir())
    process.terminate()
    assert process.wait(20) < 0  # by the signal, as anybody who sent it expects
    process.stdout.close()
    assert not any(folder.exists() for folder in folders)
