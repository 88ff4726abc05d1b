"""Settings of a run: a dataclass that a recipe and the command line fill, and how a script starts and ends."""

import argparse
import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch

from train.plain_errors import plain_errors
from train.recipe import load_recipe


@dataclass(frozen=True)
class RunConfig:
    """Settings that all trainings have.

    Attributes:
        clips: CSV of path and captions, or "".
        run: folder for checkpoints, cache and metrics; an existing one resumes.
        hold_out: "dataset:fold" that is never trained on; may be given several times.
        emphasis: "dataset=factor" or "dataset:label=factor", see `clips.emphasis_of`.
        datasets: preset ("clotho", "full") or keys of datasets with commas between, or "".
        data_dir: folder that the datasets lie in, in their official layouts.
        steps: length of the whole schedule.
        stop_after: stop early, keeping the schedule of the whole run; 0 runs to the end.
        batch_size: clips that one process takes at once.
        accumulation: batches of a process whose gradients are averaged to one step.
        learning_rate: of AdamW, after the warm-up; it falls as a cosine from there.
        weight_decay: of AdamW.
        save_every: steps between checkpoints.
        ema_decay: of the averaged weights, which are what is released.
        seed: of every random draw.
        mixed_precision: "bf16", "fp16" or "no".
        init: safetensors file to start from, or "".
        log_with: "tensorboard" or "trackio" beside `metrics.jsonl`, or "".
    """

    clips: str = ""
    run: str = ""
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


Config = TypeVar("Config")
Run = TypeVar("Run", bound=RunConfig)


def flag_parser(kind: type[Any], description: str | None) -> argparse.ArgumentParser:
    """A parser with a flag for every field of a dataclass, and --recipe; it returns what was given and no defaults."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", help="YAML file of settings; flags come before it")
    hints, texts = get_type_hints(kind), _help_texts(kind)
    for field in dataclasses.fields(kind):
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": texts.get(field.name)}
        if hints[field.name] is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif hints[field.name] in (str, int, float, Path):
            options["type"] = hints[field.name]
        else:
            options["action"] = "append"
        parser.add_argument(f"--{field.name.replace('_', '-')}", **options)
    return parser


def read_flags(parser: argparse.ArgumentParser, kind: type[Config]) -> Config:
    """Settings from the command line, from the recipe that it names, and from the dataclass's defaults, in this order.

    Raises:
        LMACError: the recipe cannot be used.
    """
    given = vars(parser.parse_args())
    recipe = given.pop("recipe")
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return load_recipe(recipe, kind, **given) if recipe else kind(**given)


def parse_config(kind: type[Run], description: str | None) -> Run:
    """Settings of a training run; ends the script where no folder or no data is named."""
    parser = flag_parser(kind, description)
    config = read_flags(parser, kind)
    if not config.run:
        parser.error("give --run, the folder of the run")
    if not config.clips and not config.datasets:
        parser.error("give --clips (a CSV of path and captions) or --datasets, e.g. --datasets clotho")
    return config


def start(main: Callable[[Run], object], kind: type[Run], description: str | None) -> None:
    """Run a training script: what the user can mend is said in one sentence, with exit code 2."""
    try:
        with plain_errors():
            main(parse_config(kind, description))
    finally:
        # However the script ends: threads of a process group that nobody gave up abort the process, now and then.
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _help_texts(kind: type[Any]) -> dict[str, str]:
    """What the docstrings of a dataclass and its bases say of each attribute."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        section = (base.__doc__ or "").partition("Attributes:\n")[2]
        for name, text in re.findall(r"^ {8}(\w+): ((?:.|\n {12})+)", section, re.MULTILINE):
            texts[name] = " ".join(text.split()).replace("%", "%%")
    return texts
