"""What a run says of itself: rows of `metrics.jsonl`, a logger beside it, and the progress bar."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from train.checkpoints import write_whole
from train.config import RunConfig

METRICS = "metrics.jsonl"


class RunLog:
    """Means of what is reported between two checkpoints, written as rows.

    Attributes:
        bar: of the steps.
    """

    def __init__(self, config: RunConfig, accelerator: Accelerator, step: int) -> None:
        """Open the loggers.

        Args:
            config: of the run.
            accelerator: of the run.
            step: that the run goes on from.
        """
        self._config, self._accelerator = config, accelerator
        self._file = Path(config.run) / METRICS
        self._running: dict[str, Tensor] = {}
        self._started = time.monotonic()
        if config.log_with:
            names = {"trackio": {"name": self._file.parent.name}}
            accelerator.init_trackers("lmaczs", config=_plain(asdict(config)), init_kwargs=names)
        self.bar = tqdm(
            total=config.steps,
            initial=step,
            desc="train",
            unit="step",
            disable=not accelerator.is_main_process,
        )

    def add(self, report: Mapping[str, Tensor]) -> None:
        """Count the scalars of a batch into the means of the next row."""
        for key, value in report.items():
            share = value.detach().float() / (self._config.save_every * self._config.accumulation)
            self._running[key] = self._running[key] + share if key in self._running else share

    def write(self, step: int, scores: Mapping[str, Any]) -> None:
        """Append a row; every process calls it, as the means are over all of them."""
        minutes = round((time.monotonic() - self._started) / 60, 2)
        running = {
            key: float(self._accelerator.reduce(value, "mean")) for key, value in self._running.items()
        }
        values = {"minutes": minutes, **running, **scores}
        self._running = {}
        if self._config.log_with:
            self._accelerator.log(_plain(values), step=step)
        if self._accelerator.is_main_process:
            text = json.dumps({"step": step, **values})
            with self._file.open("a") as file:
                file.write(text + "\n")
            self.bar.write(text)


def read_rows(run: Path) -> list[dict[str, Any]]:
    """Rows of `metrics.jsonl`, without a line that a kill cut short; none where there is no such file."""
    file, rows = run / METRICS, []
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def drop_rows_after(run: Path, step: int) -> None:
    """Forget metrics of steps that are taken again."""
    kept = [json.dumps(row) + "\n" for row in read_rows(run) if row["step"] <= step]
    write_whole(run / METRICS, lambda path: path.write_text("".join(kept)))


def _plain(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as flat ones, "esc50:4/top1", of the types that loggers take."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _plain(value, f"{prefix}{key}/")
        else:
            flat[prefix + key] = value if isinstance(value, int | float | str) else str(value)
    return flat
