"""Ctrl-C at any moment: one line, the exit code 130, and nothing half-written."""

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from lmaczs.errors import INTERRUPTION
from lmaczs.signal.audio import save_wav

ROOT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-m", "lmaczs"]
TIMED = [sys.executable, "-X", "importtime", "-m", "lmaczs"]  # each import that is done is a line on stderr
MODEL = ["--prompts-file", "prompts.txt", "--backend", "debug", "--device", "cpu"]


@pytest.fixture
def desk(tmp_path, beep_in_noise):
    """A folder with recordings and prompts."""
    for name in ("beep", "sounds/1", "sounds/2", "sounds/3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save_wav(beep_in_noise, tmp_path / f"{name}.wav")
    (tmp_path / "prompts.txt").write_text("a beep\nrain\n", "utf-8")
    return tmp_path


def start(command, folder=None, stderr=subprocess.PIPE, ignored=False):
    """Start a program as a terminal does: whatever the tests were started by, SIGINT reaches it."""

    def signals():
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        preexec_fn=signals,
    )


def wait_for_import(process, module):
    """Read stderr up to the line that says that a module was imported."""
    for line in process.stderr:
        if line.startswith("import time:") and line.rsplit("|", 1)[-1].strip() == module:
            return
    raise AssertionError(f"{module} was never imported")


def said(process):
    """What the program says from here to its end, without the lines about imports."""
    guard = threading.Timer(300, process.kill)
    guard.start()
    out, error = process.communicate()
    guard.cancel()
    return out + "".join(line for line in error.splitlines(True) if not line.startswith("import time:"))


@pytest.mark.parametrize("module", ["lmaczs.cli.console", "numpy", "torch.types", "torch.nn.modules.module"])
def test_while_libraries_are_imported(desk, module):
    process = start([*TIMED, "classify", "beep.wav", *MODEL], desk)
    wait_for_import(process, module)
    process.send_signal(signal.SIGINT)
    assert said(process) == INTERRUPTION + "\n"
    assert process.returncode == 130


def test_a_signal_that_is_sent_several_times_is_one_interruption(desk):
    process = start([*TIMED, "classify", "beep.wav", *MODEL], desk)
    wait_for_import(process, "numpy")
    for _ in range(5):
        process.send_signal(signal.SIGINT)
    assert said(process) == INTERRUPTION + "\n"
    assert process.returncode == 130


def test_a_program_in_the_background_goes_on(desk):
    process = start([*TIMED, "list"], desk, ignored=True)
    wait_for_import(process, "lmaczs.cli.console")
    process.send_signal(signal.SIGINT)
    assert said(process).startswith("backends:")
    assert process.returncode == 0


def in_a_terminal(command, folder, words):
    """Press Ctrl-C as soon as the terminal shows some words; returns the exit code, stdout and what was shown after."""
    own, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 100))
    process = start(command, folder, stderr=its)
    os.close(its)
    guard = threading.Timer(300, process.kill)
    guard.start()
    shown, pressed = "", 0
    while True:
        try:
            part = os.read(own, 4096).decode("utf-8", "replace")
        except OSError:  # Linux's way to say that the program has left the terminal
            break
        if not part:
            break
        shown += part
        if not pressed and words in shown:
            pressed = len(shown)
            process.send_signal(signal.SIGINT)
    os.close(own)
    out, _ = process.communicate()
    guard.cancel()
    assert pressed, shown
    return process.returncode, out, shown[pressed:]


def test_while_a_prompt_is_explained(desk):
    method = ["--method", "rise", "--option", "n=100000"]
    code, out, shown = in_a_terminal(
        [*PROGRAM, "explain", "beep.wav", *MODEL, *method, "--out", "out"], desk, "%"
    )
    assert code == 130 and out == ""
    assert shown.count(INTERRUPTION) == 1 and "Traceback" not in shown
    assert sorted(path.name for path in desk.iterdir()) == ["beep.wav", "prompts.txt", "sounds"]


def test_while_a_thread_reads_ahead_for_explain_many(desk):
    """The thread waits to hand over the next clip; the first one is at work, and takes very long."""
    method = ["--method", "rise", "--option", "n=1000000"]
    command = [*PROGRAM, "explain-many", "sounds", *MODEL, *method, "--out", "rows"]
    code, out, shown = in_a_terminal(command, desk, "explain-many")
    assert code == 130
    assert out.count("Interrupted") == 1 and out.count("\n") == 1
    assert "Traceback" not in shown and "Interrupted" not in shown


LOSES = {
    "finalizer": """
        class Loses:
            def __del__(self):
                signal.raise_signal(signal.SIGINT)
                time.sleep(0)
        Loses()
        time.sleep(600)
    """,
    "turned-into-an-error": """
        try:
            signal.raise_signal(signal.SIGINT)
            time.sleep(600)
        except KeyboardInterrupt:
            raise ImportError("a library failed to import")
    """,
    "swallowed": """
        try:
            signal.raise_signal(signal.SIGINT)
            time.sleep(600)
        except KeyboardInterrupt:
            pass
    """,
    "swallowed-and-at-work-again": """
        for _ in range(2):
            try:
                signal.raise_signal(signal.SIGINT)
                time.sleep(600)
            except KeyboardInterrupt:
                pass
        time.sleep(600)
    """,
    "a-thread-never-ends": """
        threading.Thread(target=time.sleep, args=(600,)).start()
        signal.raise_signal(signal.SIGINT)
        time.sleep(600)
    """,
}


@pytest.mark.parametrize("body", LOSES.values(), ids=LOSES.keys())
def test_an_interruption_is_not_lost_in_a_library(body):
    code = f"""
import signal, sys, threading, time
from lmaczs.__main__ import program
from lmaczs.cli import list_models

def run(arguments):
    if True:{body}
list_models.run = run
sys.argv = ["lmaczs", "list"]
program()
"""
    process = start([sys.executable, "-c", code])
    assert said(process) == INTERRUPTION + "\n"
    assert process.returncode == 130
