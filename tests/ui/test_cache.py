"""Visitors' files go when their time is over, and with the page."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import gettempdir

import pytest

from lmaczs.errors import LMACError
from lmaczs.ui.cache import keep_sweeping, sweep, visitors_folder
from lmaczs.ui.layout import build_demo
from lmaczs.ui.own_folders import IN_USE, own_folder, sweep_abandoned
from lmaczs.ui.settings import Settings

ROOT = Path(__file__).parents[2]


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


HOLD = """
import sys, time
from lmaczs.ui.own_folders import own_folder
folder = own_folder(sys.argv[1])
open(folder.name + "/sound.wav", "w").close()
print(folder.name, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(os.name == "nt", reason="nothing is locked there")
def test_what_a_killed_server_has_left_goes_with_the_next_start_and_nothing_else(tmp_path: Path):
    servers = [
        subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        folders = [Path(server.stdout.readline().strip()) for server in servers]
        (tmp_path / "lmaczs-of-somebody").mkdir()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / IN_USE).touch()
        (tmp_path / "lmaczs-link").symlink_to(elsewhere)
        assert sweep_abandoned(str(tmp_path)) == 0 and all(folder.is_dir() for folder in folders)
        servers[0].kill()
        servers[0].wait(20)
        assert sweep_abandoned(str(tmp_path)) == 1
        assert not folders[0].exists() and (folders[1] / "sound.wav").exists()
        assert (tmp_path / "lmaczs-of-somebody").is_dir() and (elsewhere / IN_USE).exists()
    finally:
        for server in servers:
            server.kill()
            server.wait(20)
            server.stdout.close()


def test_the_mark_of_a_folder_in_use_is_not_swept(tmp_path: Path):
    folder = own_folder(str(tmp_path))
    os.utime(Path(folder.name, IN_USE), (0, 0))
    sweep(Path(folder.name), -1, set())
    assert Path(folder.name, IN_USE).exists() or os.name == "nt"
    folder.cleanup()


def test_a_port_that_is_taken_is_said_and_not_moved_from(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = os.environ | {
            "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", "LMACZS_BACKEND": "debug",
            "GRADIO_TEMP_DIR": str(tmp_path),
        }  # fmt: skip
        command = [sys.executable, str(ROOT / "app.py")]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path
        )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    said = done.stderr.strip().splitlines()[-1]
    wanted = f"end it, or choose another with GRADIO_SERVER_PORT={port + 1}."
    assert said == f"Port {port} is taken by another program: {wanted}"
    assert not list(tmp_path.glob("lmaczs-*"))


@pytest.mark.parametrize("value", ["", "0", "65536", "eighty", "-1", "7860.5"])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("GRADIO_SERVER_PORT", value)
    with pytest.raises(LMACError, match="GRADIO_SERVER_PORT is .*: give a number of a port"):
        Settings.from_environment()
