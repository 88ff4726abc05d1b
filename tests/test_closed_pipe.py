"""Output into a reader that has gone, as `lmaczs list | head -1`, or onto a full disk: no traceback, in any command."""

import os
import resource
import subprocess
import sys

import pytest

from lmaczs.signal.audio import save_wav

ROOT = os.path.dirname(os.path.dirname(__file__))
PROGRAM = [sys.executable, "-m", "lmaczs"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": ROOT}


@pytest.mark.parametrize("arguments", [["list"], ["--help"]], ids=" ".join)
def test_a_reader_that_has_gone_ends_the_program_quietly(arguments):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lmaczs", *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
            timeout=300,
        )
    finally:
        os.close(writing)
    assert done.stderr == b"" and done.returncode == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["explain", "--help"]], ids=" ".join)
def test_an_output_that_is_full_is_one_sentence(arguments, buffered):
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": "" if buffered else "1"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            timeout=300,
        )
    assert (
        done.stderr
        == "Output cannot be written (no space left on device): make room, or choose another place.\n"
    )
    assert done.returncode == 2


def test_a_terminal_that_is_gone_changes_no_exit_code():
    command = [*PROGRAM, "explode"]
    closed = 'exec "$0" "$@" >&- 2>&-'
    done = subprocess.run(["sh", "-c", closed, *command], env=ENVIRONMENT, timeout=300)
    assert done.returncode == 2


@pytest.mark.parametrize("most_bytes", [20_000, 200_000], ids=["sounds", "picture"])
def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(tmp_path, beep_in_noise, most_bytes):
    """A limit on the size of files stands in for the disk; sounds have 128 kB here, the picture has more."""
    save_wav(beep_in_noise, tmp_path / "beep.wav")
    (tmp_path / "prompts.txt").write_text("a beep\nrain\n", "utf-8")
    model = ["--backend", "debug", "--device", "cpu", "--method", "saliency"]
    done = subprocess.run(
        [*PROGRAM, "explain", "beep.wav", "--prompts-file", "prompts.txt", *model, "--out", "out"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1 and "file too large" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beep.wav", "prompts.txt"]
