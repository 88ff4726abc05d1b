"""What every training script shares: flags from a dataclass, and a run that averages, logs, saves and resumes."""

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm


@dataclass(frozen=True)
class RunConfig:
    """Settings that all trainings have.

    Attributes:
        clips: CSV of path and captions.
        run: folder for checkpoints, cache and metrics.
        hold_out: "dataset:fold" that is never trained on.
        emphasis: "dataset=factor", drawn that much more often.
        steps: length of the whole schedule.
        stop_after: stop early, keeping the schedule of the whole run; 0 runs to the end.
        save_every: steps between checkpoints.
        ema_decay: of the averaged weights, which are what is released.
        mixed_precision: "bf16", "fp16" or "no".
        init: safetensors file to start from, or "".
    """

    clips: str
    run: str
    hold_out: tuple[str, ...] = ()
    emphasis: tuple[str, ...] = ()
    steps: int = 1000
    stop_after: int = 0
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    save_every: int = 100
    ema_decay: float = 0.998
    seed: int = 0
    mixed_precision: str = "bf16"
    init: str = ""


Config = TypeVar("Config", bound=RunConfig)


def parse_config(kind: type[Config], description: str | None) -> Config:
    """Flags of the same names as the fields of a config."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", required=True, help="CSV of path, captions")
    parser.add_argument("--run", required=True, help="folder of the run; an existing one resumes")
    parser.add_argument(
        "--hold-out", action="append", default=[], help="dataset:fold that is never trained on"
    )
    parser.add_argument("--emphasis", action="append", default=[], help="dataset=factor, drawn more often")
    for name, value in vars(kind("", "")).items():
        if name not in ("clips", "run", "hold_out", "emphasis"):
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    values = vars(parser.parse_args())
    values |= {name: tuple(values[name]) for name in ("hold_out", "emphasis")}
    return kind(**values)


class TrainingRun:
    """One network in training: optimiser, schedule, averaged weights, checkpoints, metrics and the progress bar.

    Attributes:
        network: in training, prepared for the device.
        averaged: its running mean, which is what is judged and released.
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
        """
        self._config, self._accelerator, self._max_norm = config, accelerator, max_norm
        self._folder = Path(config.run)
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "config.json").write_text(json.dumps(asdict(config), indent=2))
        optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)

        def share(step: int) -> float:
            falling = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / config.steps))
            return min(1.0, (step + 1) / warm_up) * falling + 1e-3

        self._schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
        self.network, self._optimiser = accelerator.prepare(network, optimiser)
        self.averaged = deepcopy(accelerator.unwrap_model(self.network))
        self.step = 0
        self._resume()
        self._last = config.stop_after or config.steps
        self._running: dict[str, float] = {}
        self._started = time.monotonic()
        self._bar = tqdm(
            total=config.steps,
            initial=self.step,
            desc="train",
            unit="step",
            disable=not accelerator.is_main_process,
        )

    def steps(self) -> Iterator[int]:
        """Numbers of the steps that are still to do."""
        while self.step < self._last:
            yield self.step
        self._bar.close()

    def learn(self, report: Mapping[str, Tensor]) -> bool:
        """Take one step down the sum of all values whose name begins with "loss/".

        Returns:
            Whether a checkpoint is due: `save` comes next.
        """
        self._accelerator.backward(sum(value for key, value in report.items() if key.startswith("loss/")))
        self._accelerator.clip_grad_norm_(self.network.parameters(), self._max_norm)
        self._optimiser.step()
        self._schedule.step()
        self._optimiser.zero_grad()
        self.step += 1
        self._bar.update()
        self._average()
        for key, value in report.items():
            share = float(value.detach()) / self._config.save_every
            self._running[key] = self._running.get(key, 0.0) + share
        return self.step % self._config.save_every == 0 or self.step == self._last

    def save(self, **scores: Any) -> None:
        """Write a row of metrics and a checkpoint; a kill at any moment leaves the older one whole."""
        minutes = round((time.monotonic() - self._started) / 60, 2)
        row = {"step": self.step, "minutes": minutes, **self._running, **scores}
        self._running = {}
        if not self._accelerator.is_main_process:
            return
        with (self._folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        self._bar.write(json.dumps(row))
        state = {name: part.state_dict() for name, part in self._parts().items()}
        fresh = self._folder / "state.new"
        torch.save(state | {"rng": torch.get_rng_state(), "step": self.step}, fresh)
        fresh.replace(self._folder / "state.pt")
        weights = {name: value.contiguous() for name, value in self.averaged.state_dict().items()}
        save_file(weights, self._folder / "model.safetensors")

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self._accelerator.unwrap_model(self.network),
            "averaged": self.averaged,
            "optimiser": self._optimiser,
            "schedule": self._schedule,
        }

    def _resume(self) -> None:
        file = self._folder / "state.pt"
        if file.exists():
            saved = torch.load(file, weights_only=True, map_location="cpu")
            for name, part in self._parts().items():
                part.load_state_dict(saved[name])
            torch.set_rng_state(saved["rng"])
            self.step = saved["step"]

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self._config.ema_decay, (1 + self.step) / (10 + self.step))  # short at first
        current = self._accelerator.unwrap_model(self.network).state_dict().values()
        for mean, value in zip(self.averaged.state_dict().values(), current, strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
