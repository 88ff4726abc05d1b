"""What all trainings share: processes, accumulation, kills at any moment, what is not a number, logs."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from miniature_run import TrainConfig, main
from safetensors.torch import load_file

from lmaczs.errors import LMACError
from train.checkpoints import random_state, restore_random_state, run_weights, write_whole
from train.common import make_accelerator, parse_config, start
from train.export import training_settings

SCRIPT = Path(__file__).with_name("miniature_run.py")


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Every run chooses its own precision."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def train(folder: Path, **settings) -> Path:
    """Run the miniature in this process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    main(TrainConfig("none", str(folder), **settings))
    return folder


def launch(folder: Path, *flags: str, processes: int = 1) -> subprocess.CompletedProcess:
    """Run the miniature as a user would."""
    launcher = [sys.executable, "-W", "ignore"]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "--"]
    return subprocess.run(
        [*launcher, str(SCRIPT), "--clips", "none", "--run", str(folder), *flags],
        capture_output=True,
        text=True,
        env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        timeout=240,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Averaged weights, and those in training."""
    state = torch.load(folder / "state.pt", weights_only=True)
    return load_file(folder / "model.safetensors") | {
        f"raw {key}": value for key, value in state["network"].items()
    }


def distance(first: Path, second: Path) -> float:
    """Largest difference of a weight."""
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys()
    return max(float((one[key] - two[key]).abs().max()) for key in one)


def rows(folder: Path) -> list[dict]:
    """Metrics without the clock."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "minutes"} for line in lines]


def test_two_processes_make_the_weights_of_one_with_twice_the_batch(tmp_path):
    done = launch(tmp_path / "two", "--batch-size", "2", "--name-threads", processes=2)
    assert done.returncode == 0, done.stderr[-6000:]
    assert done.stdout.count("threads:") == 2
    assert "gloo" not in done.stdout  # threads of the group that outlive it abort the process, now and then
    train(tmp_path / "one", batch_size=4)
    assert distance(tmp_path / "one", tmp_path / "two") < 1e-5
    assert distance(tmp_path / "one", train(tmp_path / "half", batch_size=2)) > 1e-3  # the batch does matter
    for one, two in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert one["loss/error"] == pytest.approx(two["loss/error"], rel=1e-4)


def test_accumulated_batches_make_the_weights_of_one_large_batch(tmp_path):
    train(tmp_path / "parts", batch_size=2, accumulation=3)
    train(tmp_path / "whole", batch_size=6)
    assert distance(tmp_path / "parts", tmp_path / "whole") < 1e-5
    assert [row["step"] for row in rows(tmp_path / "parts")] == [2, 4, 6, 8, 9]


def test_a_run_killed_at_a_random_step_and_resumed_equals_the_uninterrupted_one(tmp_path):
    step = random.SystemRandom().randrange(1, 9)
    done = launch(tmp_path / "killed", "--dropout", "0.5", "--die-at", str(step))
    assert done.returncode == -signal.SIGKILL, f"step {step}: {done.stderr[-2000:]}"
    train(tmp_path / "killed", dropout=0.5)
    train(tmp_path / "whole", dropout=0.5)
    assert distance(tmp_path / "killed", tmp_path / "whole") == 0, f"killed at step {step}"
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole"), f"killed at step {step}"


@pytest.mark.parametrize("file", ["state.pt", "model.safetensors"])
def test_a_kill_in_the_middle_of_a_checkpoint_leaves_the_older_one(tmp_path, file):
    done = launch(tmp_path / "killed", "--dropout", "0.5", "--die-writing", file)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert (tmp_path / "killed" / f"{file}.new").exists()  # the half that was written
    state = torch.load(tmp_path / "killed/state.pt", weights_only=True)
    assert state["step"] == 4
    assert run_weights(tmp_path / "killed").step == (6 if file == "state.pt" else 4)
    assert load_file(tmp_path / "killed/model.safetensors").keys() == state["averaged"].keys()
    train(tmp_path / "killed", dropout=0.5)
    train(tmp_path / "whole", dropout=0.5)
    assert distance(tmp_path / "killed", tmp_path / "whole") == 0
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


def test_weights_and_state_agree_after_a_kill_between_their_writings(tmp_path):
    done = launch(tmp_path, "--die-before", "state.pt", "--steps", "6")
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert run_weights(tmp_path).step == 6  # of the last row of metrics
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 4
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.loop.TrainingRun.steps", lambda run: exit())  # resumed, and stopped at once
        train(tmp_path, steps=6)
    assert run_weights(tmp_path).step == 4
    averaged = torch.load(tmp_path / "state.pt", weights_only=True)["averaged"]
    assert all(torch.equal(value, averaged[name]) for name, value in run_weights(tmp_path).state.items())


def test_stale_weights_beside_a_finished_state_are_mended(tmp_path):
    train(tmp_path, steps=4)
    older = (tmp_path / "model.safetensors").read_bytes()
    train(tmp_path, steps=9)
    newer = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(older)
    train(tmp_path, steps=9)
    assert (tmp_path / "model.safetensors").read_bytes() == newer != older


def test_a_release_tells_the_metrics_of_its_own_weights(tmp_path, monkeypatch):
    train(tmp_path, stop_after=4)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "minutes": 0.1}\n')  # a kill came before the weights of step 6
    monkeypatch.setattr("train.export.training_clips", lambda *_: [])
    assert training_settings(tmp_path)["steps"] == training_settings(tmp_path)["last"]["step"] == 4


def test_a_recipe_sets_what_the_command_line_does_not(tmp_path, monkeypatch):
    (tmp_path / "recipe.yaml").write_text("steps: 3\nlearning_rate: 1e-3\nhold_out: [esc50:4]\n")
    flags = ["--recipe", str(tmp_path / "recipe.yaml"), "--clips", "none", "--run", "here", "--steps", "5"]
    monkeypatch.setattr(sys, "argv", ["miniature_run.py", *flags, "--hold-out", "a:1", "--hold-out", "a:2"])
    config = parse_config(TrainConfig, "")
    assert config == TrainConfig("none", "here", hold_out=("a:1", "a:2"), steps=5, learning_rate=1e-3)


def test_a_wrong_recipe_ends_a_script_with_one_sentence(tmp_path, capsys, monkeypatch):
    (tmp_path / "recipe.yaml").write_text("stepps: 3\n")
    monkeypatch.setattr(sys, "argv", ["miniature_run.py", "--recipe", str(tmp_path / "recipe.yaml")])
    with pytest.raises(SystemExit) as raised:
        start(main, TrainConfig, "")
    assert raised.value.code == 2 and "sets 'stepps'" in capsys.readouterr().err


def test_a_metrics_line_that_a_kill_cut_short_is_dropped(tmp_path):
    train(tmp_path, stop_after=4)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "minutes": 0.1}\n{"step": 8, "min')
    train(tmp_path)
    assert [row["step"] for row in rows(tmp_path)] == [2, 4, 6, 8, 9]


def test_what_is_not_a_number_stops_the_run_and_keeps_the_batch(tmp_path):
    with pytest.raises(
        LMACError, match=r"Stopped at step 5: loss/error, error/mean is not a number.*not-finite-step5"
    ):
        train(tmp_path, poison_at=5)
    kept = torch.load(tmp_path / "not-finite-step5-process0.pt", weights_only=True)
    assert kept["batch"]["clips"][0, 1] == float("inf") and kept["step"] == 5
    assert all(torch.isfinite(value).all() for value in kept["network"].values())
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 4
    train(tmp_path)  # without the poison it goes on
    assert distance(tmp_path, train(tmp_path / "whole")) == 0


def test_a_script_says_it_in_one_sentence_with_exit_code_2(tmp_path, capsys, monkeypatch):
    flags = ["--clips", "none", "--run", str(tmp_path), "--poison-at", "1"]
    monkeypatch.setattr(sys, "argv", ["miniature_run.py", *flags])
    with pytest.raises(SystemExit) as raised:
        start(main, TrainConfig, "")
    error = capsys.readouterr().err.splitlines()[-1]
    assert raised.value.code == 2 and error.startswith("Stopped at step 1") and str(tmp_path) not in error


def test_a_script_needs_clips_or_datasets(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["miniature_run.py", "--run", str(tmp_path)])
    with pytest.raises(SystemExit):
        start(main, TrainConfig, "")
    assert "give --clips" in capsys.readouterr().err


def test_a_folder_of_another_network_is_refused(tmp_path):
    train(tmp_path, steps=1)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    state["network"] = {"other": torch.zeros(1)}
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(LMACError, match="holds a run of another network"):
        train(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixed_precision": "int4"}, "'int4': choose no, bf16 or fp16"),
        ({"log_with": "paper"}, "'paper': choose tensorboard or trackio"),
    ],
)
def test_settings_that_do_not_exist_are_refused(tmp_path, settings, message):
    with pytest.raises(LMACError, match=message):
        make_accelerator(TrainConfig("none", str(tmp_path), **settings))


@pytest.mark.filterwarnings("ignore:.*no supported trackers")
def test_a_logger_that_is_not_installed_is_refused_with_the_way_on(tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    with pytest.raises(LMACError, match="pip install trackio"):
        make_accelerator(TrainConfig("none", str(tmp_path), log_with="trackio"))


def test_processes_that_do_not_know_of_each_other_are_refused(tmp_path, monkeypatch):
    # As a launcher sets it; without more, accelerate on a CPU stays alone.
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LMACError, match="2 processes were started.*ACCELERATE_USE_CPU=true"):
        make_accelerator(TrainConfig("none", str(tmp_path)))


def test_tensorboard_gets_the_metrics(tmp_path):
    pytest.importorskip("tensorboard", reason="an optional logger")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path, log_with="tensorboard")
    events = EventAccumulator(str(next(tmp_path.rglob("events.out.*")).parent)).Reload()
    logged = [event.value for event in events.Scalars("loss/error")]
    assert logged == pytest.approx([row["loss/error"] for row in rows(tmp_path)], rel=1e-5)


def test_bf16_trains_and_resumes_to_the_bit(tmp_path):
    train(tmp_path / "whole", mixed_precision="bf16")
    train(tmp_path / "parts", mixed_precision="bf16", stop_after=4)
    train(tmp_path / "parts", mixed_precision="bf16")
    assert distance(tmp_path / "whole", tmp_path / "parts") == 0


def test_every_generator_goes_on_where_it_was():
    import numpy as np

    state = random_state()
    drawn = (random.random(), float(np.random.rand()), float(torch.rand(())))
    restore_random_state(state)
    assert drawn == (random.random(), float(np.random.rand()), float(torch.rand(())))


def test_a_write_that_fails_leaves_the_older_file(tmp_path):
    file = tmp_path / "a.txt"
    write_whole(file, lambda path: path.write_text("old"))

    def fail(path: Path) -> None:
        path.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(file, fail)
    assert file.read_text() == "old"
