"""Train the universal decoder over a family of classifiers.

    python -m train.train_lmac_any --recipe train/recipes/lmac-any.yaml --clips data/clips.csv --run runs/lmac-any
    python -m train.train_lmac_any ... --leave-out mobilenet      # to see what it is worth on an architecture never met

The same folder resumes. Trained on open clips of the collection only, never on ESC-50 or UrbanSound8K; the only judge is
the frozen classifier, which hears what a mask keeps and what it removes. Separate sources are used nowhere.
"""

import argparse
import json
import math
import sys
import time
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

if not __package__:  # started as a file: put the repository in the place of this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from lmaczs import load_backend
from lmaczs.clap import EMBEDDED
from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import CheckpointError, LMACError
from lmaczs.explainers.areas import AREAS, cut_at_area
from lmaczs.explainers.gradients import grid_power
from lmaczs.explainers.lmac_any.explainer import load_decoder
from lmaczs.explainers.lmac_any.network import AnyDecoder, CellDetails, cell_details
from lmaczs.explainers.lmac_any.relevance import Relevance, grid_attribution, relevance
from lmaczs.explainers.lmac_zs.guided import GuidedDecoder, guided_config
from lmaczs.explainers.lmac_zs.loss import HOPELESS
from lmaczs.explainers.masked_sound import encode_parts
from lmaczs.signal.spectral import mel_to_bins
from lmaczs.types import AudioState
from train import augment
from train.any_family import LEARNED_CUES, STUDENTS, Member, fresh_student, planted, shuffled, teach
from train.any_sounds import Sounds, at_rate, cache_waveforms
from train.averaging import update_average
from train.checkpoints import write_whole
from train.compact_data import CollectionClip, training_rows
from train.compact_release import sources
from train.compact_texts import ConceptTexts, concept_texts
from train.pairs import draw_areas
from train.plain_errors import plain_errors
from train.recipe import load_recipe

Network: TypeAlias = AnyDecoder | GuidedDecoder
STATE, TRAINING = "state.pt", "training.json"
SOFTNESS = (0.05, 0.35)
DOMAINS = ("stft", "mel")


@dataclass(frozen=True)
class Recipe:
    """Settings of a run.

    Attributes:
        steps: of the decoder.
        batch: windows of a step.
        rate: largest learning rate.
        teach_steps: of each student.
        mixed_share: of the windows that hold two sounds.
        predicted_share: of the prompts that are what the classifier believes in the place of what is there.
        removed_weight: of what a mask must not leave.
        gain_weight: of the head that foretells what an area is worth.
        compared_share: of the areas that are those of an evaluation.
        least_rivals: sentences that a prompt competes with, and `most_rivals`.
        classifiers: embedded classifiers of the family.
        students: keys of `train.any_family.STUDENTS`.
        shuffled: deepest layers of the copies that decide by shuffled ones; each number is one copy.
        planted: keys of `train.any_family.LEARNED_CUES`; for each, a copy of the last classifier decides by this cue.
        plant_steps: of each of these copies.
        save_every: steps.
        guided: name of the classifier whose deep maps meet the prompt (LMAC-ZS of its own); "" trains one for all.
        start: release of the universal decoder that a guided one starts from; "" starts from fresh weights.
    """

    steps: int = 3000
    batch: int = 16
    rate: float = 3e-3
    teach_steps: int = 800
    mixed_share: float = 0.66
    predicted_share: float = 0.5
    removed_weight: float = 2.0
    gain_weight: float = 1.0
    compared_share: float = 0.5
    least_rivals: int = 4
    most_rivals: int = 64
    classifiers: tuple[str, ...] = (EMBEDDED,)
    students: tuple[str, ...] = tuple(STUDENTS)
    shuffled: tuple[int, ...] = (1, 2)
    planted: tuple[str, ...] = ()
    plant_steps: int = 300
    save_every: int = 100
    guided: str = ""
    start: str = "lmac-any"


@dataclass(frozen=True)
class Asked:
    """Prompts about windows, one for each.

    Attributes:
        text: (windows, embed_dim), unit norm.
        rivals: (rivals, embed_dim), unit norm.
        ignored: (windows, rivals) bool: means the same, or was not drawn for this window.
        scale: the classifier's logit scale.
    """

    text: Tensor
    rivals: Tensor
    ignored: Tensor
    scale: float

    def margin(self, embedding: Tensor) -> Tensor:
        """As `Target.margin`, of one prompt for each window: (windows, embed_dim) -> (windows,)."""
        own = (embedding * self.text).sum(1)
        others = (self.scale * embedding @ self.rivals.T).masked_fill(self.ignored, float("-inf"))
        return own - others.logsumexp(1) / self.scale


def ask(
    sounds: Sounds,
    member: Member,
    audio: AudioState,
    inside: Tensor,
    recipe: Recipe,
    generator: torch.Generator,
) -> tuple[Asked, Asked]:
    """Choose a prompt that is in each window, or that the classifier believes is, and one that is not.

    Args:
        sounds: sentences.
        member: classifier.
        audio: (windows) that it heard.
        inside: (windows, 2) concepts that are there, -1 for none.
        recipe: settings.
        generator: source of what is drawn.
    """
    backend, device = member.backend, inside.device
    texts = sounds.text_of(backend, generator)
    windows, concepts = len(inside), len(texts)
    siblings = sounds.texts.siblings
    lot = augment.uniform((windows, 3), 0, 1, generator)
    second = (inside[:, 1] >= 0) & (lot[:, 0] < 0.5)
    chosen = torch.where(second, inside[:, 1], inside[:, 0])
    believed = (audio.embedding.float() @ texts.T).argmax(1)
    chosen = torch.where(lot[:, 1] < recipe.predicted_share, believed, chosen)
    known = torch.zeros(windows, concepts, dtype=torch.bool, device=device)
    for column in (inside[:, 0], inside[:, 1].clamp_min(0), chosen, believed):
        known |= siblings[column]
    wrong = torch.multinomial((~known).float() + 1e-9, 1, generator=generator)[:, 0]
    # From few rivals to many, as people ask; what is in the window is always among them.
    least, most = math.log(recipe.least_rivals), math.log(recipe.most_rivals)
    share = augment.uniform((windows, 1), least, most, generator).exp() / concepts
    drawn = augment.uniform((windows, concepts), 0, 1, generator) < share
    drawn[torch.arange(windows, device=device), inside[:, 0]] = True
    drawn[torch.arange(windows, device=device), believed] = True
    scale = float(backend.logit_scale)

    def asked(concept: Tensor) -> Asked:
        ignored = siblings[concept] | ~drawn
        alone = ignored.all(1)
        ignored[alone] = torch.arange(concepts, device=device)[None] == concept[alone, None]
        return Asked(texts[concept], texts, ignored, scale)

    return asked(chosen), asked(wrong)


class Lesson:
    """One member of the family with what is computed for it once."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.spread = mel_to_bins(member.backend.mel_filters)

    def look(self, audio: AudioState, asked: Asked, domain: str) -> tuple[Relevance, CellDetails]:
        """What the decoder sees of windows and their prompts."""
        backend = self.member.backend
        found = relevance(backend, asked.margin, audio, asked.scale, True)
        power = grid_power(audio, domain)
        filters, spread = (backend.mel_filters, self.spread) if domain == "stft" else (None, None)
        return found, cell_details(power, grid_attribution(power, found, filters), spread)

    def decode(self, decoder: Network, audio: AudioState, asked: Asked, domain: str) -> tuple[Tensor, Tensor]:
        """What the decoder says of windows and their prompts: logits and gains."""
        found, cells = self.look(audio, asked, domain)
        if isinstance(decoder, GuidedDecoder):
            logits, gains = decoder(found, cells, audio.hidden, asked.text)
        else:
            logits, gains = decoder(found, cells)
        return logits, gains


def losses(
    lesson: Lesson,
    decoder: Network,
    sounds: Sounds,
    recipe: Recipe,
    domain: str,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """What a step says of the decoder: the losses, and without gradient the probabilities reached."""
    backend = lesson.member.backend
    waveform, first, second = sounds.draw(recipe.batch, recipe.mixed_share, generator)
    with torch.no_grad():
        audio = backend.analyze(at_rate(waveform, backend.spectral.sample_rate))
        inside = torch.stack([first, second], dim=1)
        right, wrong = ask(sounds, lesson.member, audio, inside, recipe, generator)
    cpu = torch.Generator().manual_seed(
        int(torch.randint(2**31, (), generator=generator, device=sounds.device))
    )
    area = draw_areas(recipe.batch, recipe.compared_share, cpu).to(sounds.device)
    low, high = (math.log(value) for value in SOFTNESS)
    softness = augment.uniform(area.shape, low, high, generator).exp()
    logits, gains = lesson.decode(decoder, audio, right, domain)
    mask = cut_at_area(logits, area, softness)
    rows = torch.arange(recipe.batch, device=sounds.device)
    kept, removed = encode_parts(backend, audio, rows, mask, domain)
    log_kept, log_removed, log_gone = (
        F.logsigmoid(sign * right.scale * right.margin(part))
        for part, sign in ((kept, 1), (removed, 1), (removed, -1))
    )
    with torch.no_grad():
        original = torch.sigmoid(right.scale * right.margin(audio.embedding.float()))
        weight = original.sqrt() + 0.05
        weight = weight / weight.mean()
        reached = log_kept.exp() - log_removed.exp()
    column = (area[:, None] - torch.tensor(AREAS, device=area.device)[None]).abs().argmin(1)
    _, none = lesson.decode(decoder, audio, wrong, domain)
    return {
        "loss/kept": -(weight * (log_kept.exp() + HOPELESS).log()).mean(),
        "loss/removed": -recipe.removed_weight * (weight * log_gone).mean(),
        "loss/gain": recipe.gain_weight
        * (F.mse_loss(gains.gather(1, column[:, None])[:, 0], reached) + none.square().mean()),
        "original": original.mean(),
        "kept": log_kept.exp().mean().detach(),
        "removed": log_removed.exp().mean().detach(),
    }


def make_family(
    recipe: Recipe, sounds: Sounds, run: Path, seed: int, left_out: str, device: torch.device
) -> list[Member]:
    """Load the embedded classifiers, teach the students and plant cues (kept in the run's folder), shuffle copies."""
    for key, names, known in (
        ("students", recipe.students, STUDENTS),
        ("planted", recipe.planted, LEARNED_CUES),
    ):
        if unknown := [name for name in names if name not in known]:
            raise LMACError(f"The recipe's '{key}' has '{unknown[0]}': choose among {', '.join(known)}.")
    family = []
    for name in recipe.classifiers:
        backend = load_backend(name, str(device)).requires_grad_(False)
        family.append(Member(name, "mobilenet" if name == "compact-2" else "cnn14", backend))
    teacher = family[-1].backend
    for number, name in enumerate(recipe.students):
        student = fresh_student(name, teacher, len(sounds.texts.concepts), seed + number)
        if not (state := _kept(run, name, device)):
            teach(student, teacher, sounds, recipe.teach_steps, seed + number)
            state = _keep(run, name, student)
        student.load_state_dict(state)
        family.append(Member(name, name.split("-")[0], student))
    for number, layers in enumerate(recipe.shuffled):
        own = family[number % len(recipe.classifiers)]
        copy = shuffled(own.backend, layers, seed + number)
        family.append(Member(f"{own.name} with {layers} layers shuffled", own.kind, copy))
    for number, name in enumerate(recipe.planted):
        own = family[len(recipe.classifiers) - 1]
        if state := _kept(run, name, device):
            copy = deepcopy(own.backend)
            copy.load_state_dict(state)
        else:
            copy = planted(own.backend, LEARNED_CUES[name], sounds, recipe.plant_steps, seed + number)
            _keep(run, name, copy)
        family.append(Member(f"{own.name}, {LEARNED_CUES[name].words}", own.kind, copy))
    kept = [member for member in family if member.kind != left_out]
    if not kept:
        raise LMACError(f"--leave-out {left_out} leaves no classifier: choose another one.")
    return kept


def _kept(run: Path, name: str, device: torch.device) -> dict[str, Tensor]:
    """Weights of a member that this run made already; none where it did not."""
    file = run / f"{name}.pt"
    if not file.exists():
        return {}
    state: dict[str, Tensor] = torch.load(file, weights_only=True, map_location=device)
    return state


def _keep(run: Path, name: str, backend: CLAPBackend) -> dict[str, Tensor]:
    state = backend.state_dict()
    write_whole(run / f"{name}.pt", partial(torch.save, state))
    return state


def fresh_network(recipe: Recipe) -> Network:
    """The decoder before the first step; a guided one begins as the universal decoder."""
    if not recipe.guided:
        return AnyDecoder()
    network = GuidedDecoder(guided_config(load_backend(recipe.guided)))
    if not recipe.start:
        return network
    network.order.load_state_dict(load_decoder(recipe.start, torch.device("cpu"))[0].state_dict())
    return network


def train(
    recipe: Recipe, sounds: Sounds, family: list[Member], run: Path, seed: int, minutes: float
) -> Network:
    """Learn until the steps or the minutes are over; the folder resumes."""
    device = sounds.device
    torch.manual_seed(seed)
    decoder = fresh_network(recipe).to(device)
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=recipe.rate, weight_decay=0.01)
    average = fresh_network(recipe).to(device)
    average.load_state_dict(decoder.state_dict())
    first, began = 0, time.monotonic()
    if (run / STATE).exists():
        state = torch.load(run / STATE, weights_only=True, map_location=device)
        for name, part in (("decoder", decoder), ("average", average), ("optimiser", optimiser)):
            part.load_state_dict(state[name])
        first, began = state["step"], began - state["seconds"]
    lessons = [Lesson(member) for member in family]
    log = (run / "metrics.jsonl").open("a")
    bar = tqdm(range(first, recipe.steps), initial=first, total=recipe.steps, desc="decoder", unit="step")
    for step in bar:
        spent = (time.monotonic() - began) / 60
        done = max(step / recipe.steps, spent / minutes if minutes else 0.0)
        if done >= 1:
            break
        generator = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
        torch.manual_seed(seed * 1_000_003 + step)
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * done))
        lesson, domain = lessons[step % len(lessons)], DOMAINS[step // len(lessons) % 2]
        report = losses(lesson, decoder, sounds, recipe, domain, generator)
        loss = torch.stack([value for name, value in report.items() if name.startswith("loss/")]).sum()
        if not torch.isfinite(loss):
            raise LMACError("A loss is not a number any more: lower the rate of the recipe.")
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        update_average(average, decoder, 0.99, step)
        if (step + 1) % recipe.save_every < len(lessons):
            row = {"step": step + 1, "member": lesson.member.name, "domain": domain}
            log.write(
                json.dumps(row | {name: round(value.item(), 4) for name, value in report.items()}) + "\n"
            )
            log.flush()
        if (step + 1) % recipe.save_every == 0:
            _save(run, decoder, average, optimiser, step + 1, time.monotonic() - began)
    _save(run, decoder, average, optimiser, step + 1, time.monotonic() - began)
    return average.eval()


def _save(run: Path, decoder: Any, average: Any, optimiser: Any, step: int, seconds: float) -> None:
    parts = {"decoder": decoder, "average": average, "optimiser": optimiser}
    state = {name: part.state_dict() for name, part in parts.items()} | {"step": step, "seconds": seconds}
    write_whole(run / STATE, lambda path: torch.save(state, path))


def main(arguments: argparse.Namespace) -> None:
    """Recipe -> sounds and sentences -> family -> decoder."""
    recipe, run = load_recipe(arguments.recipe, Recipe), arguments.run
    run.mkdir(parents=True, exist_ok=True)
    device = torch.device(arguments.device)
    clips = training_rows(arguments.clips)
    file = run / "texts.pt"
    if not file.exists():
        from lmaczs.clap.minilm import MiniLM

        texts = concept_texts(clips, [["a sound"]], set(), MiniLM())
        write_whole(file, lambda path: torch.save(vars(texts), path))
    texts = ConceptTexts(**torch.load(file, weights_only=True, map_location=device))
    sounds = Sounds(clips, cache_waveforms(clips, run / "waveforms.i16"), texts, device)
    family = make_family(recipe, sounds, run, arguments.seed, arguments.leave_out, device)
    write_whole(run / TRAINING, partial(_describe, recipe, arguments, clips))
    print(f"{len(clips)} clips; family: {', '.join(member.name for member in family)}", flush=True)
    train(recipe, sounds, family, run, arguments.seed, arguments.minutes)


def _describe(recipe: Recipe, arguments: argparse.Namespace, clips: list[CollectionClip], path: Path) -> None:
    """What a release tells of its training."""
    settings = asdict(recipe) | {"seed": arguments.seed, "left_out": arguments.leave_out}
    settings["hold_out"] = ["dataset=esc50", "dataset=urbansound8k"]
    told = {"settings": settings, "continues_another_run": False, "sources": sources(clips)}
    path.write_text(json.dumps(told), "utf-8")


def trained_decoder(run: Path) -> tuple[Network, dict[str, Any]]:
    """The averaged network of a run, and what a release tells of its training.

    Raises:
        CheckpointError: the folder holds no such run.
    """
    try:
        state = torch.load(run / STATE, weights_only=True, map_location="cpu")
        told: dict[str, Any] = json.loads((run / TRAINING).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"'{run.name}' holds no run of train_lmac_any: give the folder that it was started with."
        ) from error
    settings = told["settings"]
    network = fresh_network(
        Recipe(guided=settings.get("guided", ""), start=settings.get("start", "lmac-any"))
    )
    network.load_state_dict(state["average"])
    return network.eval(), told | {"steps": state["step"], "minutes": round(state["seconds"] / 60, 1)}


def parser() -> argparse.ArgumentParser:
    """The flags."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--recipe", type=Path, required=True, help="YAML of settings")
    found.add_argument("--clips", type=Path, required=True, help="table of the collection")
    found.add_argument("--run", type=Path, required=True, help="folder of the run; an existing one resumes")
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--device", default="cpu", help="cpu or cuda")
    found.add_argument(
        "--minutes", type=float, default=0.0, help="stop after so many minutes; 0: after all steps"
    )
    found.add_argument(
        "--leave-out", default="", help="architecture that is left out: cnn14, mobilenet, htsat or vit"
    )
    return found


if __name__ == "__main__":
    with plain_errors():
        main(parser().parse_args())
