"""The mean of two runs is one that can be exported."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from average import average, main
from lmaczs.errors import CheckpointError, LMACError

TRAIN = Path(__file__).parents[2] / "train"


def write_run(folder, value, width=3):
    folder.mkdir()
    save_file({"w": torch.full((2, width), value), "steps": torch.tensor(7)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"seed": int(value)}))
    (folder / "metrics.jsonl").write_text('{"step": 5}\n')
    return folder


def test_the_mean_lies_between_the_runs(tmp_path):
    first, second = write_run(tmp_path / "a", 1.0), write_run(tmp_path / "b", 3.0)
    main(argparse.Namespace(first=first, second=second, share=0.75, out=tmp_path / "mean"))
    state = load_file(tmp_path / "mean" / "model.safetensors")
    assert torch.equal(state["w"], torch.full((2, 3), 2.5)) and int(state["steps"]) == 7
    settings = json.loads((tmp_path / "mean" / "config.json").read_text())
    assert settings == {"seed": 3, "averaged_with_its_start": 0.75}
    assert (tmp_path / "mean" / "metrics.jsonl").read_text() == '{"step": 5}\n'


def test_what_cannot_be_averaged_is_refused_in_one_sentence(tmp_path):
    first, other = write_run(tmp_path / "a", 1.0), write_run(tmp_path / "b", 1.0, width=4)
    with pytest.raises(CheckpointError, match="different networks"):
        main(argparse.Namespace(first=first, second=other, share=0.5, out=tmp_path / "mean"))
    with pytest.raises(CheckpointError, match="'nothing' holds no model.safetensors"):
        main(argparse.Namespace(first=first, second=tmp_path / "nothing", share=0.5, out=tmp_path / "mean"))
    with pytest.raises(LMACError, match="--share is 2"):
        average({}, {}, 2)


@pytest.mark.parametrize("script", ["average.py first second", "export.py lmac-zs --run first"])
def test_a_folder_without_a_run_is_refused_without_a_traceback(tmp_path, script):
    name, *flags = script.split()
    command = [sys.executable, str(TRAIN / name), *flags, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert done.returncode == 2
    assert done.stderr == "'first' holds no model.safetensors: name the folder of a training run.\n"
