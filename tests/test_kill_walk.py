"""Killed wherever it touches a file, a command finishes when it is called again: nothing lost, doubled or stale."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from kill_walk import contents

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


def walk(folder: Path, *command: str) -> dict:
    """What `kill_walk.py` finds, called in a folder."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("kill_walk.py"), folder / "walk", MOST, *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["killed"]) == min(int(MOST), found["moments"])
    return found


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
    found = walk(tmp_path, *command, *MODEL, "--out", "OUT")
    assert found["moments"] >= least
    assert found["different"] == []


def test_a_training_goes_on_and_its_release_is_written_again(tmp_path: Path, beep_in_noise):
    """Same weights, state and rows of metrics as of a run that nobody killed, to the bit; then the same of its export."""
    rows = []
    for number in range(4):
        path = tmp_path / f"{number}.wav"
        save_wav(beep_in_noise, path)
        rows.append(f"{path.name},mine,{number % 2},beep {number},beep {number},a beep\n")
    (tmp_path / "clips.csv").write_text("path,dataset,fold,label,concept,captions\n" + "".join(rows), "utf-8")
    training = ["--clips", "clips.csv", "--batch-size", "2", "--num-rivals", "2", "--backend", "debug"]
    found = walk(tmp_path, "train_lmac_zs.py", *training, "--steps", "2", "--save-every", "1", "--run", "OUT")
    assert found["moments"] >= 14
    assert found["different"] == []
    (tmp_path / "walk" / "whole").rename(tmp_path / "run")
    shutil.rmtree(tmp_path / "walk")
    found = walk(tmp_path, "export.py", "lmac-zs", "--run", str(tmp_path / "run/out"), "--out", "OUT")
    assert found["moments"] >= 10
    assert found["different"] == []


@pytest.mark.skipif(int(MOST) < 60, reason="takes minutes: KILLS=60")
def test_explaining_many_on_ray_goes_on(tmp_path: Path, beep_in_noise):
    """Killed with all of Ray at moments that are drawn; a second call leaves what a run without Ray leaves."""
    (tmp_path / "sounds").mkdir()
    for number in range(6):
        save_wav(beep_in_noise, tmp_path / "sounds" / f"{number}.wav")
    (tmp_path / "prompts.txt").write_text("a beep\nrain\n", "utf-8")
    command = [sys.executable, "-m", "lmaczs", *COMMANDS["explain-many"][0], *MODEL, "--unit", "1"]

    def start(out: str, *more: str) -> subprocess.Popen:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
        return subprocess.Popen(
            [*command, "--out", out, *more], cwd=tmp_path, env=environment, start_new_session=True
        )

    assert start("here").wait(300) == 0
    ray = ("--engine", "ray", "--workers", "1")
    begun = time.monotonic()
    assert start("whole", *ray).wait(300) == 0
    whole_s = time.monotonic() - begun
    expected = contents(tmp_path / "here")["rows"]
    assert contents(tmp_path / "whole")["rows"] == expected
    for number, share in enumerate(np.random.default_rng(0).uniform(0.2, 0.95, int(MOST) // 15)):
        process = start(f"ray-{number}", *ray)
        time.sleep(share * whole_s)
        # A run that was quicker this time has nothing to be killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        assert start(f"ray-{number}", *ray).wait(300) == 0
        assert contents(tmp_path / f"ray-{number}")["rows"] == expected
