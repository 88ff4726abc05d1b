"""Output into a reader that has gone, as `lmaczs list | head -1`: no traceback, in any command."""

import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(__file__))


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
