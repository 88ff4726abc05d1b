"""A training of a tiny network, for the tests of what all trainings share; also a script that can be killed.

python miniature_run.py --clips none --run FOLDER --steps 9 [--die-at 4] [--die-writing state.pt]
    [--die-before state.pt] [--name-threads]
"""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import nn

from train import checkpoints
from train.common import RunConfig, TrainingRun, make_accelerator, start


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Settings of the miniature.

    Attributes:
        die_at: step before which the process is killed, without a chance to clean up; -1 for never.
        die_writing: file in whose first writing after step 4 the process is killed, half-way; or "".
        die_before: file before whose first writing after step 4 the process is killed; or "".
        dropout: share; draws from the global generator.
        poison_at: step whose batch holds a value that is not a number; -1 for none.
        name_threads: print the threads that are left at the end, Python's and all others (Linux).
    """

    steps: int = 9
    batch_size: int = 2
    save_every: int = 2
    mixed_precision: str = "no"
    learning_rate: float = 1e-2
    die_at: int = -1
    die_writing: str = ""
    die_before: str = ""
    dropout: float = 0.0
    poison_at: int = -1
    name_threads: bool = False


def die() -> None:
    """Like `kill -9`, or a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_half_way(config: TrainConfig, run: TrainingRun) -> None:
    """Make the next writing of a file after step 4 end in the middle, or not begin."""
    write_whole = checkpoints.write_whole

    def cut(path: Path, write) -> None:
        if path.name == config.die_before and run.step > 4:
            die()

        def half(fresh: Path) -> None:
            write(fresh)
            content = fresh.read_bytes()
            fresh.write_bytes(content[: len(content) // 2])
            die()

        write_whole(path, half if path.name == config.die_writing and run.step > 4 else write)

    checkpoints.write_whole = cut


def main(config: TrainConfig) -> TrainingRun:
    """Fit a line through noise."""
    torch.manual_seed(config.seed)
    accelerator = make_accelerator(config)
    network = nn.Sequential(nn.Linear(3, 8), nn.Dropout(config.dropout), nn.Tanh(), nn.Linear(8, 1))
    run = TrainingRun(config, accelerator, network, [{"params": list(network.parameters())}], 3, 1.0)
    if config.die_writing or config.die_before:
        die_half_way(config, run)
    for step in run.steps():
        if step == config.die_at:
            die()
        generator = torch.Generator().manual_seed(1000 * config.seed + step)
        clips = torch.randn(run.full_batch, 3, generator=generator)[run.mine()]
        if step == config.poison_at:
            clips = clips.clone()
            clips[0, 1] = float("inf")
        error = run.network(clips) - clips.sum(1, keepdim=True)
        if run.learn({"loss/error": error.square().mean(), "error/mean": error.mean()}, {"clips": clips}):
            run.save(half={"score": float(error.detach().abs().mean())})
    if config.name_threads:
        print("threads:", *(file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")))
    return run


if __name__ == "__main__":
    start(main, TrainConfig, __doc__)
