"""What every training script shares: flags from a dataclass, and a run that averages, logs, saves and resumes."""

import argparse
import importlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from lmaczs.errors import LMACError
from train.checkpoints import random_state, restore_random_state, write_whole
from train.plain_errors import plain_errors


@dataclass(frozen=True)
class RunConfig:
    """Settings that all trainings have.

    Attributes:
        clips: CSV of path and captions, or "".
        run: folder for checkpoints, cache and metrics.
        hold_out: "dataset:fold" that is never trained on.
        emphasis: "dataset=factor" or "dataset:label=factor", see `clips.emphasis_of`.
        datasets: preset ("clotho", "full") or keys of datasets with commas between, or "".
        data_dir: folder that the datasets lie in, in their official layouts.
        steps: length of the whole schedule.
        stop_after: stop early, keeping the schedule of the whole run; 0 runs to the end.
        batch_size: clips that one process takes at once.
        accumulation: batches of a process whose gradients are averaged to one step.
        save_every: steps between checkpoints.
        ema_decay: of the averaged weights, which are what is released.
        mixed_precision: "bf16", "fp16" or "no".
        init: safetensors file to start from, or "".
        log_with: "tensorboard" or "trackio" beside `metrics.jsonl`, or "".
    """

    clips: str
    run: str
    hold_out: tuple[str, ...] = ()
    emphasis: tuple[str, ...] = ()
    datasets: str = ""
    data_dir: str = "data"
    steps: int = 1000
    stop_after: int = 0
    batch_size: int = 16
    accumulation: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    save_every: int = 100
    ema_decay: float = 0.998
    seed: int = 0
    mixed_precision: str = "bf16"
    init: str = ""
    log_with: str = ""


Config = TypeVar("Config", bound=RunConfig)


def parse_config(kind: type[Config], description: str | None) -> Config:
    """Flags of the same names as the fields of a config."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", default="", help="CSV of path, captions")
    parser.add_argument("--run", required=True, help="folder of the run; an existing one resumes")
    parser.add_argument(
        "--hold-out", action="append", default=[], help="dataset:fold that is never trained on"
    )
    parser.add_argument(
        "--emphasis", action="append", default=[], help="dataset[:label]=factor, drawn more often"
    )
    for name, value in vars(kind("", "")).items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=value)
        elif name not in ("clips", "run", "hold_out", "emphasis"):
            parser.add_argument(flag, type=type(value), default=value)
    values = vars(parser.parse_args())
    values |= {name: tuple(values[name]) for name in ("hold_out", "emphasis")}
    if not values["clips"] and not values["datasets"]:
        parser.error("give --clips (a CSV of path and captions) or --datasets, e.g. --datasets clotho")
    return kind(**values)


def start(main: Callable[[Config], None], kind: type[Config], description: str | None) -> None:
    """Run a script: what the user can mend is said in one sentence, with exit code 2."""
    config = parse_config(kind, description)
    try:
        with plain_errors():
            main(config)
    finally:
        # However the script ends: threads of a process group that nobody gave up abort the process, now and then.
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def make_accelerator(config: RunConfig) -> Accelerator:
    """Devices, precision and processes as `accelerate launch` chose them, and the logger asked for.

    Raises:
        LMACError: the precision or the logger does not exist, the logger is not installed, or several processes were
            started that do not know of each other.
    """
    if config.mixed_precision not in ("no", "bf16", "fp16"):
        raise LMACError(f"--mixed-precision is '{config.mixed_precision}': choose no, bf16 or fp16.")
    if config.log_with not in ("", "tensorboard", "trackio"):
        raise LMACError(f"--log-with is '{config.log_with}': choose tensorboard or trackio, or leave it out.")
    if torch.distributed.is_available():
        # The defaults of its functions keep the process group that they find when it is imported. Imported later, as
        # torch's optimisers do, it would keep the threads of a group that was given up, and these abort the process.
        importlib.import_module("torch.distributed.nn.functional")
    accelerator = Accelerator(
        mixed_precision=config.mixed_precision, log_with=config.log_with or None, project_dir=config.run
    )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1 and accelerator.num_processes == 1:  # each would train alone, into the same folder
        raise LMACError(
            f"{started} processes were started, but each found itself alone: without GPUs set ACCELERATE_USE_CPU=true "
            "before the launcher, or start one process."
        )
    if config.log_with and not accelerator.log_with:  # accelerate leaves out what is not installed
        raise LMACError(
            f"--log-with {config.log_with} needs the package {config.log_with}: pip install {config.log_with}, or "
            "leave the flag out; metrics.jsonl is written either way."
        )
    return accelerator


class TrainingRun:
    """One network in training: optimiser, schedule, averaged weights, checkpoints, metrics and the progress bar.

    Processes share a step: each calls `learn` with its own part of the step's batch, and their gradients are averaged
    before the weights move. Where the loss is a mean over clips, P processes that take B clips N times (`accumulation`)
    make the same step as one process with P * N * B clips.

    Attributes:
        network: in training, on its device.
        averaged: its running mean, which is what is judged and released.
        step: steps taken.
        full_batch: clips of a step, over all processes and accumulated batches.
    """

    def __init__(
        self,
        config: RunConfig,
        accelerator: Accelerator,
        network: nn.Module,
        parameters: list[dict[str, Any]],
        warm_up: int,
        max_norm: float,
    ) -> None:
        """Prepare, and go on where an earlier run in the same folder stopped.

        Args:
            config: of the run.
            accelerator: chooses devices and precision.
            network: with fresh weights.
            parameters: groups for AdamW.
            warm_up: steps until the learning rate is reached; it falls as a cosine from there.
            max_norm: of the gradient.

        Raises:
            LMACError: the folder holds a run of another network.
        """
        self._config, self._accelerator, self._max_norm = config, accelerator, max_norm
        self._folder = Path(config.run)
        if accelerator.is_main_process:
            self._folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(asdict(config), indent=2)
            write_whole(self._folder / "config.json", lambda path: path.write_text(text))
        optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)

        def share(step: int) -> float:
            falling = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / config.steps))
            return min(1.0, (step + 1) / warm_up) * falling + 1e-3

        self._schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
        self.averaged = deepcopy(network).to(accelerator.device)
        # Precision and device only. DistributedDataParallel sees nothing but calls of forward, while the losses here
        # also use other methods of a network; `_share_gradients` does its part.
        self.network = accelerator.prepare_model(network, evaluation_mode=True)
        self._optimiser = accelerator.prepare_optimizer(optimiser)
        self.step = 0
        self.full_batch = config.batch_size * accelerator.num_processes * config.accumulation
        self._turn = 0  # batches of this step that are done
        self._resume()
        self._last = config.stop_after or config.steps
        self._running: dict[str, Tensor] = {}
        self._started = time.monotonic()
        if config.log_with:
            names = {"trackio": {"name": self._folder.name}}
            accelerator.init_trackers("lmaczs", config=_plain(asdict(config)), init_kwargs=names)
        self._bar = tqdm(
            total=config.steps,
            initial=self.step,
            desc="train",
            unit="step",
            disable=not accelerator.is_main_process,
        )

    def steps(self) -> Iterator[int]:
        """Numbers of the steps that are still to do, each once for every batch that is accumulated."""
        while self.step < self._last:
            yield self.step
        self._bar.close()
        # Gives up the process group too, which nobody may leave while others are still talking.
        self._accelerator.wait_for_everyone()
        self._accelerator.end_training()

    def mine(self) -> slice:
        """Which clips of the step's `full_batch` this process takes now.

        A script that draws all clips of a step from the step's own generator, and then works on its part, makes the
        same step with any number of processes.
        """
        place = self._turn * self._accelerator.num_processes + self._accelerator.process_index
        return slice(place * self._config.batch_size, (place + 1) * self._config.batch_size)

    def own_generator(self) -> torch.Generator:
        """Source of what this process draws now, where processes draw apart from each other.

        It depends on the seed, the step and the process only, so that a resumed run sees the same data.
        """
        parts = self.full_batch // self._config.batch_size
        part = self.mine().start // self._config.batch_size
        return torch.Generator().manual_seed(self._config.seed * 1_000_003 + self.step * parts + part)

    def learn(self, report: Mapping[str, Tensor], batch: Mapping[str, Tensor] | None = None) -> bool:
        """Take one step down the sum of all values whose name begins with "loss/".

        Args:
            report: losses and what else is worth logging, scalars; means over the clips of `mine`.
            batch: what they were computed from; kept in the run's folder if a loss is not a number.

        Returns:
            Whether a checkpoint is due: `save` comes next.

        Raises:
            LMACError: a loss or its gradient is not a number; the weights are still those before the step.
        """
        loss = sum(value for key, value in report.items() if key.startswith("loss/"))
        self._stop_unless_finite(loss, report, batch)
        self._accelerator.backward(loss / self._config.accumulation)
        for key, value in report.items():
            share = value.detach().float() / (self._config.save_every * self._config.accumulation)
            self._running[key] = self._running[key] + share if key in self._running else share
        self._turn += 1
        if self._turn < self._config.accumulation:
            return False
        self._turn = 0
        self._share_gradients()
        norm = self._accelerator.clip_grad_norm_(self.network.parameters(), self._max_norm)
        if (
            norm is not None and self._accelerator.scaler is None
        ):  # a scaler skips such steps of fp16 by itself
            self._stop_unless_finite(norm, report | {"gradient": norm}, batch)
        self._optimiser.step()
        self._schedule.step()
        self._optimiser.zero_grad()
        self.step += 1
        self._bar.update()
        self._share_buffers()
        self._average()
        return self.step % self._config.save_every == 0 or self.step == self._last

    def save(self, **scores: Any) -> None:
        """Write a row of metrics and a checkpoint; every process calls it.

        A kill at any moment leaves the older checkpoint whole, and rows of steps that it has not seen are dropped when
        the run resumes.
        """
        minutes = round((time.monotonic() - self._started) / 60, 2)
        running = {
            key: float(self._accelerator.reduce(value, "mean")) for key, value in self._running.items()
        }
        values = {"minutes": minutes, **running, **scores}
        row = {"step": self.step, **values}
        self._running = {}
        generators = gather_object([random_state()])
        if self._config.log_with:
            self._accelerator.log(_plain(values), step=self.step)
        if not self._accelerator.is_main_process:
            return
        with (self._folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        self._bar.write(json.dumps(row))
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"rng": generators, "step": self.step}
        write_whole(self._folder / "state.pt", lambda path: torch.save(state, path))
        weights = {name: value.contiguous() for name, value in self.averaged.state_dict().items()}
        write_whole(self._folder / "model.safetensors", lambda path: save_file(weights, path))

    def _parts(self) -> dict[str, Any]:
        parts = {
            "network": self.network,
            "averaged": self.averaged,
            "optimiser": self._optimiser,
            "schedule": self._schedule,
        }
        scaler = self._accelerator.scaler
        return parts if scaler is None else parts | {"scaler": scaler}

    def _resume(self) -> None:
        file = self._folder / "state.pt"
        if file.exists():
            saved = torch.load(file, weights_only=True, map_location="cpu")
            try:
                for name, part in self._parts().items():
                    part.load_state_dict(saved[name])
            except (KeyError, RuntimeError, ValueError) as error:
                raise LMACError(
                    f"The folder '{self._folder.name}' holds a run of another network or precision: choose another "
                    "--run, or the settings in its config.json."
                ) from error
            self.step = saved["step"]
            generators = saved["rng"]
            if self._accelerator.process_index < len(generators):
                restore_random_state(generators[self._accelerator.process_index])
            if self._accelerator.is_main_process:
                self._drop_rows_after(self.step)
        for value in self.network.state_dict().values():
            broadcast(value)  # equal already, unless processes were seeded apart
        self._accelerator.wait_for_everyone()

    def _drop_rows_after(self, step: int) -> None:
        """Forget metrics of steps that are taken again, and a line that a kill cut short."""
        file = self._folder / "metrics.jsonl"
        kept = []
        for line in file.read_text().splitlines() if file.exists() else ():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if row["step"] <= step:
                kept.append(line + "\n")
        write_whole(file, lambda path: path.write_text("".join(kept)))

    def _stop_unless_finite(
        self, value: Tensor, report: Mapping[str, Tensor], batch: Mapping[str, Tensor] | None
    ) -> None:
        bad = (~torch.isfinite(value.detach())).float()
        if not float(self._accelerator.reduce(bad, "sum")):  # one process must not go on alone
            return
        if float(bad):
            values = {key: value.detach().cpu() for key, value in report.items()}
            state = {name: tensor.detach().cpu() for name, tensor in self.network.state_dict().items()}
            kept = {
                "report": values,
                "batch": {key: value.detach().cpu() for key, value in (batch or {}).items()},
                "network": state,
                "step": self.step,
            }
            write_whole(self._offence(), lambda path: torch.save(kept, path))
        self._bar.close()
        names = [key for key, value in report.items() if not bool(torch.isfinite(value).all())]
        found = f"{', '.join(names)} is not a number" if names else "another process met what is not a number"
        raise LMACError(
            f"Stopped at step {self.step}: {found}. The batch is kept as '{self._offence().name}' in the run's folder, "
            "the last checkpoint is whole; lower --learning-rate or try --mixed-precision no."
        )

    def _offence(self) -> Path:
        return self._folder / f"not-finite-step{self.step}-process{self._accelerator.process_index}.pt"

    def _share_gradients(self) -> None:
        """Average over processes, as one message; a parameter that no process used stays without a gradient."""
        if self._accelerator.num_processes == 1:
            return
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        used = torch.tensor([float(p.grad is not None) for p in parameters], device=self._accelerator.device)
        flat = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten().float() for p in parameters]
        mean = self._accelerator.reduce(torch.cat([*flat, used]), "mean")
        gradients = mean[: -len(parameters)].split([p.numel() for p in parameters])
        for parameter, gradient, share in zip(
            parameters, gradients, mean[-len(parameters) :].tolist(), strict=True
        ):
            parameter.grad = gradient.view_as(parameter).to(parameter.dtype) if share > 0 else None

    def _share_buffers(self) -> None:
        """Keep running statistics of batch normalisation equal; each process has seen its own clips only."""
        if self._accelerator.num_processes > 1:
            for buffer in self.network.buffers():
                if buffer.dtype.is_floating_point:
                    buffer.copy_(self._accelerator.reduce(buffer, "mean"))

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self._config.ema_decay, (1 + self.step) / (10 + self.step))  # short at first
        current = self.network.state_dict().values()
        for mean, value in zip(self.averaged.state_dict().values(), current, strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def _plain(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as flat ones, "esc50:4/top1", of the types that loggers take."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _plain(value, f"{prefix}{key}/")
        else:
            flat[prefix + key] = value if isinstance(value, int | float | str) else str(value)
    return flat
