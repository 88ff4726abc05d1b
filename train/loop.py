"""A run: the steps of one network in training, with schedule, averaged weights, checkpoints and metrics."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import Tensor

from lmaczs.errors import LMACError
from train.averaging import Network, start_average, update_average
from train.checkpoints import (
    random_state,
    read_state,
    restore_random_state,
    run_weights,
    write_checkpoint,
    write_weights,
    write_whole,
)
from train.config import RunConfig
from train.logs import RunLog, drop_rows_after, read_rows
from train.processes import share_buffers, share_gradients


class TrainingRun(Generic[Network]):
    """One network in training.

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
        network: Network,
        parameters: Sequence[Mapping[str, Any]],
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
        groups = [dict(group) for group in parameters]
        optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)

        def share(step: int) -> float:
            falling = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / config.steps))
            return min(1.0, (step + 1) / warm_up) * falling + 1e-3

        self._schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
        self.averaged = start_average(network, accelerator.device)
        # Precision and device only. DistributedDataParallel sees nothing but calls of forward, while the losses here
        # also use other methods of a network; `share_gradients` does its part.
        self.network: Network = accelerator.prepare_model(network, evaluation_mode=True)
        self._optimiser = accelerator.prepare_optimizer(optimiser)
        self.step = 0
        self.full_batch = config.batch_size * accelerator.num_processes * config.accumulation
        # Batches of this step that are done.
        self._turn = 0
        self._resume()
        self._last = config.stop_after or config.steps
        self._log = RunLog(config, accelerator, self.step)

    def steps(self) -> Iterator[int]:
        """Numbers of the steps that are still to do, each once for every batch that is accumulated."""
        while self.step < self._last:
            yield self.step
        self._log.bar.close()
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
        losses = [value for key, value in report.items() if key.startswith("loss/")]
        loss = sum(losses[1:], start=losses[0])
        self._stop_unless_finite(loss, report, batch)
        self._accelerator.backward(loss / self._config.accumulation)
        self._log.add(report)
        self._turn += 1
        if self._turn < self._config.accumulation:
            return False
        self._turn = 0
        share_gradients(self.network, self._accelerator)
        norm = self._accelerator.clip_grad_norm_(self.network.parameters(), self._max_norm)
        # A scaler skips such steps of fp16 by itself.
        if norm is not None and self._accelerator.scaler is None:
            self._stop_unless_finite(norm, {**report, "gradient": norm}, batch)
        self._optimiser.step()
        self._schedule.step()
        self._optimiser.zero_grad()
        self.step += 1
        self._log.bar.update()
        share_buffers(self.network, self._accelerator)
        update_average(self.averaged, self.network, self._config.ema_decay, self.step)
        return self.step % self._config.save_every == 0 or self.step == self._last

    def save(self, **scores: Any) -> None:
        """Write a row of metrics and a checkpoint; every process calls it.

        A kill at any moment leaves the older checkpoint whole, and rows of steps that it has not seen are dropped when
        the run resumes.
        """
        self._log.write(self.step, scores)
        generators = gather_object([random_state()])
        if self._accelerator.is_main_process:
            state = {name: part.state_dict() for name, part in self._parts().items()}
            state |= {"rng": generators, "step": self.step}
            write_checkpoint(self._folder, state, self.averaged.state_dict())

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
        saved = read_state(self._folder)
        if saved is not None:
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
                self._mend_weights()
        # Also without a state: the first checkpoint may be what a kill prevented.
        if self._accelerator.is_main_process and read_rows(self._folder):
            drop_rows_after(self._folder, self.step)
        for value in self.network.state_dict().values():
            # Equal already, unless processes were seeded apart.
            broadcast(value)
        self._accelerator.wait_for_everyone()

    def _mend_weights(self) -> None:
        """Write the averaged weights of the state where a kill left those of another step."""
        try:
            step = run_weights(self._folder).step
        except LMACError:
            step = None
        if step != self.step:
            write_weights(self._folder, self.averaged.state_dict(), self.step)

    def _stop_unless_finite(
        self, value: Tensor, report: Mapping[str, Tensor], batch: Mapping[str, Tensor] | None
    ) -> None:
        bad = (~torch.isfinite(value.detach())).float()
        # All processes stop together: one must not go on alone.
        if not float(self._accelerator.reduce(bad, "sum")):
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
        self._log.bar.close()
        names = [key for key, value in report.items() if not bool(torch.isfinite(value).all())]
        found = f"{', '.join(names)} is not a number" if names else "another process met what is not a number"
        raise LMACError(
            f"Stopped at step {self.step}: {found}. The batch is kept as '{self._offence().name}' in the run's folder, "
            "the last checkpoint is whole; lower --learning-rate or try --mixed-precision no."
        )

    def _offence(self) -> Path:
        return self._folder / f"not-finite-step{self.step}-process{self._accelerator.process_index}.pt"
