"""Killed wherever it touches a file, a command finishes when it is called again: nothing lost, doubled or stale."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmaczs.signal.audio import save_wav

MODEL = ["--backend", "debug", "--device", "cpu"]
# Command, and the fewest places where it touches files.
COMMANDS = {
    "explain": (["explain", "sounds/1.wav", "--prompts-file", "prompts.txt", "--method", "saliency"], 10),
    "explain-many": (["explain-many", "sounds", "--prompts-file", "prompts.txt", "--method", "saliency"], 20),
    "evaluate": (["evaluate", "--clips", "clips.csv", "--methods", "saliency", "--domains", "stft"], 10),
}
# Of the places of each command; KILLS=60 walks through nearly all of them.
MOST = os.environ.get("KILLS", "3")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_call_puts_everything_right(name: str, tmp_path: Path, beep_in_noise):
    (tmp_path / "sounds").mkdir()
    for number in range(3):
        save_wav(beep_in_noise, tmp_path / "sounds" / f"{number}.wav")
    (tmp_path / "prompts.txt").write_text("a beep\nrain\n", "utf-8")
    labels = ("beep", "rain", "beep")
    rows = "".join(f"sounds/{number}.wav,{label}\n" for number, label in enumerate(labels))
    (tmp_path / "clips.csv").write_text("path,label\n" + rows, "utf-8")
    command, least = COMMANDS[name]
    done = subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name("kill_walk.py"),
            tmp_path / "walk",
            MOST,
            *command,
            *MODEL,
            "--out",
            "OUT",
        ],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["moments"] >= least
    assert len(found["killed"]) == min(int(MOST), found["moments"])
    assert found["different"] == []
