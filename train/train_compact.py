"""Train the second compact CLAP from the published AudioSet network to the weights that are shipped, in one run.

    python train/train_compact.py --recipe train/recipes/compact-clap.yaml --clips data/clips.csv \\
        --start-weights models/mn04 --run runs/compact-clap --seed 0
    python train/train_compact.py ... --out assets/releases/compact-clap-2      # writes the release too

The same folder resumes. Clips of ESC-50 and UrbanSound8K are never trained on; their development folds are scored.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

# Run as a file, the repository is not where Python looks for packages.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.compact2 import Compact2CLAP, Compact2Config
from lmaczs.clap.minilm import MiniLM
from lmaczs.clap.mobilenet import MobileNet, from_published
from lmaczs.errors import CheckpointError, LMACError
from train.checkpoints import write_whole
from train.compact_data import (
    CollectionClip,
    Mixture,
    Store,
    Variation,
    development_rows,
    mel_decibels,
    mel_power,
    mixtures,
    training_rows,
    white_bands,
)
from train.compact_network import ClassShift, blend, deep_parameters, deep_scores, shallow_maps
from train.compact_objective import Objective, Scales, Weights
from train.compact_recipe import Recipe, read_recipe
from train.compact_release import calibrate, release, score
from train.compact_texts import ConceptTexts, class_phrases, concept_texts, measured_wordings
from train.plain_errors import plain_errors

Optimiser: TypeAlias = torch.optim.Optimizer
Schedule: TypeAlias = torch.optim.lr_scheduler.LRScheduler
START_FILE = "mn04_as.safetensors"
TUNED = "tune.pt"  # state of stage 2
BATCH = 32  # of passes without a gradient


class Training:
    """One run: what it is made of, and its stages in order."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        seed: int,
        start: MobileNet,
        clips: list[CollectionClip],
        device: torch.device,
    ) -> None:
        """Nothing is computed yet.

        Args:
            recipe: settings.
            folder: of the run, for caches and checkpoints.
            seed: of everything that is drawn.
            start: the published network.
            clips: to train on.
            device: that computes.
        """
        self.recipe, self.folder, self.seed, self.clips, self.device = recipe, folder, seed, clips, device
        self.start, self.scales = start.to(device), Scales().to(device)
        concepts = sorted({clip.concept for clip in clips})
        self.concept_of = torch.tensor([concepts.index(clip.concept) for clip in clips], device=device)
        # Rare concepts more often than their share, common ones less: as the square root of their number.
        self.sampling = torch.bincount(self.concept_of).float().rsqrt()[self.concept_of]

    def prepare(self, phrases: list[list[str]], left_out: set[str]) -> None:
        """Sentences, mel power and what is usual for every class."""
        texts = self._kept("texts.pt", lambda: vars(concept_texts(self.clips, phrases, left_out, MiniLM())))
        self.texts = ConceptTexts(**texts)
        config = Compact2Config(
            level_db=self.recipe.level_db,
            silence_db=self.recipe.silence_db,
            learned_dim=self.recipe.learned_dim,
            phrases=len(self.texts.phrases),
            phrase_temperature=self.recipe.phrase_temperature,
        )
        torch.manual_seed(self.seed)
        self.model = Compact2CLAP(config, encoder=deepcopy(self.start)).eval().to(self.device)
        self.model.class_text.keys.copy_(self.texts.phrases)
        self.model.class_text.classes.copy_(self.texts.classes)
        self.store = mel_decibels(self.clips, self.model, self.folder / "mel.f16", self.device)
        noise_db = (self.recipe.least_noise_db, self.recipe.most_noise_db)
        self.variation = Variation(self.sampling, white_bands(self.model), noise_db, self.recipe.mixed_share)
        clean = self._kept("clean.pt", lambda: torch.cat(encode_all(self.model, self.store), dim=1))
        classes = self.model.class_mean.numel()
        self.clean_scores, features = clean[:, :classes], clean[:, classes:]
        self.model.class_mean.copy_(self.clean_scores.mean(0))
        self.model.feature_mean.copy_(features.mean(0))
        self.model.feature_deviation.copy_(features.std(0) + 1e-3)
        weights = Weights(self.recipe.phrase_weight, self.recipe.start_weight, self.recipe.text_noise)
        self.objective = Objective(self.model, self.texts, self.concept_of, self.sampling, weights)

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` computes, once for the run's folder."""
        file = self.folder / name
        if not file.exists():
            value = make()
            write_whole(file, lambda path: torch.save(value, path))
        return torch.load(file, weights_only=True, map_location=self.device)

    def _generator(self, *numbers: int) -> torch.Generator:
        """A source that depends on the seed and the place in the run only, so that a resumed run draws the same."""
        value = self.seed
        for number in numbers:
            value = value * 1_000_003 + number
        torch.manual_seed(value % 2**63)  # dropout draws from the global one
        return torch.Generator(self.device).manual_seed(value % 2**63)

    def mixtures(self, rows: Tensor, generator: torch.Generator) -> Mixture:
        """Varied clips, some of them mixed."""
        return mixtures(self.store, rows, self.variation, generator)

    def _every_clip(self) -> Sequence[Tensor]:
        rows = torch.arange(len(self.clips), device=self.device)
        return torch.split(rows, BATCH)

    @torch.no_grad()
    def view(self, number: int) -> dict[str, Tensor]:
        """Every clip once, varied and mixed, as the start network hears it."""
        generator = self._generator(1, number)
        parts: list[tuple[Tensor, ...]] = []
        for rows in tqdm(self._every_clip(), desc=f"view {number}", unit="batch"):
            mixture = self.mixtures(rows, generator)
            power = mixture.power
            scores, features, _ = self.start(self.model.log_mel(power), self.model.activity(power))
            parts.append((scores.half(), features.half(), mixture.first, mixture.second, mixture.share))
        names = ("scores", "features", "first", "second", "share")
        return dict(zip(names, (torch.cat(column) for column in zip(*parts, strict=True)), strict=True))

    def heard_clean(self, mixture: Mixture) -> Tensor:
        """What the start network heard in the clips as they were: (batch, classes) scores, of a mixture the larger ones.

        Staying with this, and not with what it hears after noise, filters and mixing, is what makes them matter less.
        """
        first, second = self.clean_scores[mixture.first], self.clean_scores[mixture.second]
        return torch.where((mixture.second >= 0)[:, None], torch.maximum(first, second), first)

    def learn_heads(self) -> None:
        """Stage 1: projections, scales and the last layer."""
        views = [self._kept(f"view-{n}.pt", partial(self.view, n)) for n in range(self.recipe.views)]
        model, recipe, scales = self.model, self.recipe, self.scales
        shift = ClassShift(model.feature_mean, model.feature_deviation, model.class_mean.numel())
        shift.to(self.device)
        heads = [
            *model.audio_projection.parameters(),
            *model.text_projection.parameters(),
            scales.log_learned,
        ]
        rates = [recipe.head_rate, recipe.shift_rate, recipe.shift_rate]
        optimiser = torch.optim.AdamW(
            [
                {"params": heads, "weight_decay": 0.05},
                {"params": [*shift.parameters()], "weight_decay": recipe.shift_decay},
                {"params": [scales.log_classes], "weight_decay": 0.0},
            ]
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, recipe.head_steps, pct_start=0.1)
        for step in tqdm(range(recipe.head_steps), desc="heads", unit="step"):
            generator = self._generator(2, step)
            view = views[int(torch.randint(len(views), (), generator=generator, device=self.device))]
            rows = torch.multinomial(self.sampling, recipe.head_batch, replacement=True, generator=generator)
            scores, features = view["scores"][rows].float(), view["features"][rows].float()
            mixture = Mixture(scores, view["first"][rows], view["second"][rows], view["share"][rows])
            self._switch(True)
            learned = model.project_sound(scores, features)
            losses = self.objective(
                scores + shift(features), learned, self.heard_clean(mixture), mixture, scales, generator
            )
            self._step(losses, optimiser, schedule)
        self._switch(False)
        shift.fold_into(model.audio_encoder.classes)

    def tune(self) -> None:
        """Stage 2: the deep blocks with everything that stage 1 learned."""
        model, recipe, scales = self.model, self.recipe, self.scales
        blocks = recipe.frozen_blocks
        deep = [*deep_parameters(model.audio_encoder, blocks)]
        heads = [*model.audio_projection.parameters(), *model.text_projection.parameters()]
        rates = [recipe.tune_rate, recipe.tune_rate, recipe.tune_rate]
        optimiser = torch.optim.AdamW(
            [
                {"params": deep, "weight_decay": 0.01},
                {"params": heads, "weight_decay": 0.05},
                {"params": [*scales.parameters()], "weight_decay": 0.0},
            ]
        )
        total = max(recipe.tune_steps, 1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total, pct_start=0.1)
        first = self._resume(optimiser, schedule)
        bar = tqdm(
            range(first, recipe.tune_steps), desc="tune", unit="step", initial=first, total=recipe.tune_steps
        )
        for step in bar:
            generator = self._generator(3, step)
            rows = torch.multinomial(self.sampling, recipe.tune_batch, replacement=True, generator=generator)
            mixture = self.mixtures(rows, generator)
            activity = model.activity(mixture.power)
            maps = shallow_maps(self.start, model.log_mel(mixture.power), activity, blocks)
            self._switch(True)
            scores, features = deep_scores(model.audio_encoder, maps, activity, blocks)
            learned = model.project_sound(scores, features)
            losses = self.objective(scores, learned, self.heard_clean(mixture), mixture, scales, generator)
            report = self._step(losses, optimiser, schedule)
            if (step + 1) % recipe.save_every == 0 or step + 1 == recipe.tune_steps:
                bar.write(json.dumps({"step": step + 1, **report}))
                self._save(step + 1, optimiser, schedule)
        self._switch(False)

    def _switch(self, learning: bool) -> None:
        """Dropout of the projections; the encoder's batch norms keep the start network's statistics."""
        self.model.audio_projection.train(learning)
        self.model.text_projection.train(learning)

    def _step(self, losses: dict[str, Tensor], optimiser: Optimiser, schedule: Schedule) -> dict[str, float]:
        """Down the sum of the losses.

        Raises:
            LMACError: a loss is not a number.
        """
        loss = torch.stack([*losses.values()]).sum()
        if not torch.isfinite(loss):
            raise LMACError("A loss is not a number any more: lower the rates of the recipe.")
        optimiser.zero_grad()
        loss.backward()
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        schedule.step()
        return {name: round(value.item(), 4) for name, value in losses.items()}

    def _save(self, step: int, optimiser: Optimiser, schedule: Schedule) -> None:
        parts: dict[str, Any] = {"model": self.model, "scales": self.scales}
        if step < self.recipe.tune_steps:  # else nobody steps any more
            parts |= {"optimiser": optimiser, "schedule": schedule}
        state = {name: part.state_dict() for name, part in parts.items()} | {"step": step}
        write_whole(self.folder / TUNED, lambda path: torch.save(state, path))

    def _resume(self, optimiser: Optimiser, schedule: Schedule) -> int:
        """Go on where an earlier run stopped; the step that is next."""
        if not (self.folder / TUNED).exists():
            return 0
        state = torch.load(self.folder / TUNED, weights_only=True, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.scales.load_state_dict(state["scales"])
        if state["step"] < self.recipe.tune_steps:
            optimiser.load_state_dict(state["optimiser"])
            schedule.load_state_dict(state["schedule"])
        return int(state["step"])

    @torch.no_grad()
    def join(self) -> None:
        """Stage 3: blend with the start, and put the scales into the config."""
        model, recipe = self.model, self.recipe
        blend(model.audio_encoder, self.start, recipe.start_share)
        radius = round(float(model.standing_out(self.clean_scores).norm(dim=1).quantile(0.99)), 3)
        classes = float(self.scales.log_classes.exp()) * radius
        learned = float(self.scales.log_learned.exp()) * recipe.learned_weight
        scale, share = round(classes + learned, 3), round(learned / (classes + learned), 4)
        values = {"radius": radius, "scale": scale, "learned_share": share}
        model.config = Compact2Config(**(vars(model.config) | values))


@torch.no_grad()
def encode_all(model: Compact2CLAP, store: Store) -> tuple[Tensor, Tensor]:
    """Class scores and features of clips as they are: (clips, classes) and (clips, features)."""
    parts = []
    device = model.class_mean.device
    for rows in tqdm(torch.arange(len(store), device=device).split(BATCH), desc="encode", unit="batch"):
        power = mel_power(store, rows)
        parts.append(model.audio_encoder(model.log_mel(power), model.activity(power))[:2])
    return torch.cat([scores for scores, _ in parts]), torch.cat([features for _, features in parts])


def start_network(folder: Path) -> MobileNet:
    """The published network.

    Raises:
        CheckpointError: its weights are not there or do not fit.
    """
    network = MobileNet().eval()
    try:
        network.load_state_dict(from_published(load_file(folder / START_FILE)))
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"--start-weights holds no usable {START_FILE}: fetch it again.") from error
    return network.requires_grad_(False)


def main(arguments: argparse.Namespace) -> None:
    """Recipe -> start weights -> three stages -> development scores -> release."""
    began = time.monotonic()
    recipe, folder = read_recipe(arguments.recipe), arguments.run
    folder.mkdir(parents=True, exist_ok=True)
    start = start_network(arguments.start_weights)
    device = torch.device(arguments.device)
    run = Training(recipe, folder, arguments.seed, start, training_rows(arguments.clips), device)
    left_out = measured_wordings(arguments.recipe.parent / recipe.wordings)
    phrases = class_phrases(arguments.recipe.parent / recipe.phrases, left_out)
    run.prepare(phrases, left_out)
    if not (folder / TUNED).exists():  # else stage 2 has begun, and holds what stage 1 learned
        run.learn_heads()
    run.model.requires_grad_(True)
    run.tune()
    run.join()
    cpu = torch.device("cpu")
    run.model.to(cpu)
    development = {
        name: (clips, mel_decibels(clips, run.model, folder / f"{name.replace(':', '-')}.f16", cpu))
        for name, clips in development_rows(arguments.clips).items()
        if clips
    }
    metrics: dict[str, dict[str, float]] = {
        name: score(run.model, clips, store) for name, (clips, store) in development.items()
    }
    metrics["match"] = calibrate(run.model, development)
    minutes = _minutes(folder, (time.monotonic() - began) / 60, device)
    print(
        json.dumps({"seed": arguments.seed, "minutes": minutes, "config": vars(run.model.config), **metrics})
    )
    settings = {"seed": arguments.seed, "minutes": minutes, "settings": vars(recipe), "metrics": metrics}
    release(
        arguments.out or folder / "compact-clap-2", run.model, run.clips, settings, arguments.start_weights
    )


def _minutes(folder: Path, these: float, device: torch.device) -> dict[str, float]:
    """Minutes of the whole run on each machine, those before it was resumed too; a stage counts from its checkpoint."""
    file = folder / "minutes.json"
    spent = json.loads(file.read_text()) if file.exists() else {}
    on_gpu = device.type == "cuda"
    machine = torch.cuda.get_device_name(device) if on_gpu else f"{os.cpu_count()} CPU cores"
    spent[machine] = round(spent.get(machine, 0.0) + these, 1)
    write_whole(file, lambda path: path.write_text(json.dumps(spent)))
    return dict(spent)


def parser() -> argparse.ArgumentParser:
    """The flags."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--recipe", type=Path, required=True, help="YAML of settings")
    found.add_argument("--clips", type=Path, required=True, help="table of the collection")
    found.add_argument("--start-weights", type=Path, required=True, help="folder of the published network")
    found.add_argument("--run", type=Path, required=True, help="folder of the run; an existing one resumes")
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--device", default="cpu", help="cpu or cuda")
    found.add_argument("--out", type=Path, help="folder of the release; without it one in the run's folder")
    return found


if __name__ == "__main__":
    with plain_errors():
        main(parser().parse_args())
