"""Mixtures whose parts are known: does the mask for a prompt bring out the sound that the prompt names?"""

import csv
import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from lmaczs.data.clip_table import ClipEntry
from lmaczs.errors import LMACError
from lmaczs.evaluation.contenders import Contender, find_masks
from lmaczs.evaluation.hearing import HeardClips
from lmaczs.evaluation.judge import Judge, masks_or_reasons
from lmaczs.evaluation.masks import FORMS, audible
from lmaczs.evaluation.rows import ResultRows, Row
from lmaczs.metrics.localisation import dominant_cells, energy_on_target, pointing_accuracy, si_sdr
from lmaczs.metrics.shape import top_masks
from lmaczs.signal.audio import load_clip, resample, tile_to_length
from lmaczs.signal.masking import masked_waveform
from lmaczs.signal.mixing import mix_at_snr
from lmaczs.signal.spectral import stft

GROUP = 8
KEYS = ("mixture",)
TEXT_COLUMNS = ("path_a", "label_a", "path_b", "label_b", "error")
SIDES = ("a", "b")
LOCATED = ("on_target", "pointing", "mm")  # of soft masks, for each side


@dataclass(frozen=True)
class MixturePlan:
    """Two clips of different labels that are heard at once.

    Attributes:
        name: number of the mixture, as text.
        a: first clip; its level is kept.
        b: second clip, brought to the level of the first.
    """

    name: str
    a: ClipEntry
    b: ClipEntry


def plan_mixtures(clips: Sequence[ClipEntry], count: int, seed: int = 0) -> list[MixturePlan]:
    """Draw pairs of clips with different labels, no pair twice.

    Every label is as likely as any other, whatever its number of clips.

    Args:
        clips: to draw from.
        count: mixtures wanted.
        seed: of the draw.

    Raises:
        LMACError: there are not that many different pairs, or none is asked for.
    """
    if count < 1:
        raise LMACError(f"{count} mixtures were asked for: ask for at least 1.")
    by_label: dict[str, list[ClipEntry]] = {}
    for clip in clips:
        by_label.setdefault(clip.label, []).append(clip)
    sizes = [len(group) for group in by_label.values()]
    possible = (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2
    if count > possible:
        raise LMACError(
            f"{count} mixtures were asked for, but {len(clips)} clips of {len(by_label)} labels give only "
            f"{possible} pairs of different labels: ask for fewer, or evaluate more clips."
        )
    generator = random.Random(seed)
    labels = sorted(by_label)
    pairs: dict[frozenset[str], tuple[ClipEntry, ClipEntry]] = {}
    while len(pairs) < count:
        first, second = (generator.choice(by_label[label]) for label in generator.sample(labels, 2))
        pairs.setdefault(frozenset((first.path, second.path)), (first, second))
    return [MixturePlan(f"{index:04d}", *pair) for index, pair in enumerate(pairs.values())]


def mixture_list(plans: Sequence[MixturePlan]) -> str:
    """The list of mixtures as CSV, so that anyone can make them again."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("mixture", "path_a", "label_a", "path_b", "label_b", "snr_db"))
    writer.writerows((p.name, p.a.path, p.a.label, p.b.path, p.b.label, 0.0) for p in plans)
    return text.getvalue()


def mixture_numbers() -> list[str]:
    """Columns about the mixtures themselves."""
    return ["gain_db", "rank_a", "rank_b", "mixture_si_sdr_a", "mixture_si_sdr_b"]


def mixture_columns(contender: Contender) -> list[str]:
    """A contender's columns "domain/name/form/metric", with the side at the end."""
    columns = [f"{contender.key}/{form}/si_sdr_i_{side}" for form in contender.forms for side in SIDES]
    columns += [f"{contender.key}/soft/{key}_{side}" for key in LOCATED for side in SIDES]
    return [*columns, f"{contender.key}/soft/mask_cosine"]


def judge_mixtures(
    judge: Judge, plans: Sequence[MixturePlan], results: ResultRows, quiet: bool = False
) -> list[Row]:
    """Score all mixtures that are not scored yet.

    The sources are used to measure, never to explain: methods get the mixture and a prompt. Only the ideal
    ratio mask is made from them.

    Args:
        judge: what to score with; its limits name mixtures.
        plans: the mixtures, all at 0 dB.
        results: gets one row a mixture.
        quiet: no progress bar.

    Returns:
        One row a mixture, in order.
    """
    with tqdm(
        total=len(plans) * len(judge.contenders), unit="mask pair", desc="mixtures", disable=quiet
    ) as bar:
        for first in range(0, len(plans), GROUP):
            group = plans[first : first + GROUP]
            before = bar.n
            for contender in _judge_group(judge, group, results):
                bar.set_postfix_str(contender.key, refresh=False)
                bar.update(len(group))
            bar.update(len(group) * len(judge.contenders) - (bar.n - before))
    return results.finish([(plan.name,) for plan in plans])


def _missing(judge: Judge, plan: MixturePlan, results: ResultRows) -> list[Contender]:
    row = results.rows.get((plan.name,), {})
    return [
        contender
        for contender in judge.contenders
        if f"{contender.key}/soft/si_sdr_i_b" not in row and judge.takes(contender, plan.name)
    ]


@torch.no_grad()
def _judge_group(judge: Judge, plans: Sequence[MixturePlan], results: ResultRows) -> Iterator[Contender]:
    """Score a group of mixtures; yields the contenders that have just been scored."""
    rows = [results.rows.get((plan.name,), {}) for plan in plans]
    missing = [_missing(judge, plan, results) for plan in plans]
    if not any(wanted or "error" in row for wanted, row in zip(missing, rows, strict=True)):
        return
    used: list[tuple[MixturePlan, _Mixture]] = []
    for plan in plans:
        try:
            used.append((plan, _mix(judge, plan)))
        except LMACError as error:
            results.add([_describe(plan) | {"error": str(error)}])
    if not any(_missing(judge, plan, results) for plan, _ in used):
        return
    bench = _Bench(judge, *map(list, zip(*used, strict=True)))  # type: ignore[arg-type]
    results.add(bench.about_mixtures())
    missing = [_missing(judge, plan, results) for plan in bench.plans]
    failures: dict[int, list[str]] = {}
    for contender in judge.contenders:
        chosen = [place for place, wanted in enumerate(missing) if contender in wanted]
        if chosen:
            scored, reasons = bench.score(contender, chosen)
            results.add(scored)
            for place, reason in reasons.items():
                failures.setdefault(place, []).append(f"{contender.key}: {reason}")
            yield contender
    results.add(
        {"mixture": bench.plans[place].name, "error": " ".join(texts)} for place, texts in failures.items()
    )


@dataclass(frozen=True)
class _Mixture:
    """waveform = sources["a"] + sources["b"], (samples,) each; gain_db: of b."""

    waveform: Tensor
    sources: dict[str, Tensor]
    gain_db: float


def _describe(plan: MixturePlan) -> Row:
    return {
        "mixture": plan.name,
        "path_a": plan.a.path,
        "label_a": plan.a.label,
        "path_b": plan.b.path,
        "label_b": plan.b.label,
    }


def _mix(judge: Judge, plan: MixturePlan) -> _Mixture:
    """One window long, short clips repeated."""
    rate = judge.backend.spectral.sample_rate
    first, second = (
        tile_to_length(resample(load_clip(clip.file), rate).waveform, judge.backend.clip_samples)
        for clip in (plan.a, plan.b)
    )
    mixture, interferer = mix_at_snr(first, second, snr_db=0.0)
    gain = 10 * torch.log10(interferer.double().square().sum() / second.double().square().sum())
    device = judge.backend.mel_filters.device
    return _Mixture(mixture.to(device), {"a": first.to(device), "b": interferer.to(device)}, float(gain))


class _Bench:
    """Some mixtures, heard and measured before anything is explained."""

    def __init__(self, judge: Judge, plans: list[MixturePlan], mixtures: list[_Mixture]) -> None:
        self.judge, self.plans, self.mixtures = judge, plans, mixtures
        self.heard = HeardClips([mixture.waveform for mixture in mixtures], judge.backend)
        self.logits = judge.logits(self.heard.embedding)
        grid = judge.backend.spectral
        waveforms = torch.stack([mixture.waveform for mixture in mixtures])
        self.power = stft(waveforms, grid).abs().square()
        self.sources = {side: torch.stack([m.sources[side] for m in mixtures]) for side in SIDES}
        power = {side: stft(self.sources[side], grid).abs().square() for side in SIDES}
        self.cells = {
            side: dominant_cells(power[side], power[other]) for side, other in (("a", "b"), ("b", "a"))
        }
        self.before = {side: si_sdr(waveforms, self.sources[side]) for side in SIDES}

    def _labels(self, side: str) -> list[int]:
        clips = [plan.a if side == "a" else plan.b for plan in self.plans]
        return [self.judge.labels.index(clip.label) for clip in clips]

    def about_mixtures(self) -> list[Row]:
        """What is known without any explanation."""
        rows = []
        for place, (plan, mixture) in enumerate(zip(self.plans, self.mixtures, strict=True)):
            row = _describe(plan) | {"gain_db": mixture.gain_db, "error": None}
            for side in SIDES:
                own = self.logits[place, self._labels(side)[place]]
                row[f"rank_{side}"] = 1.0 + int((self.logits[place] > own).sum())
                row[f"mixture_si_sdr_{side}"] = float(self.before[side][place])
            rows.append(row)
        return rows

    def score(self, contender: Contender, chosen: Sequence[int]) -> tuple[list[Row], dict[int, str]]:
        """Explain both labels of some of the mixtures; rows, and reasons of failures by place."""
        masks: dict[str, dict[int, Tensor]] = {}
        if not chosen:
            return [], {}
        for side in SIDES:
            masks[side], reasons = masks_or_reasons(self._finder(contender, side), self.heard, chosen)
            if reasons:
                rows, more = self.score(contender, [place for place in chosen if place not in reasons])
                return rows, reasons | more
        return [
            self._row(contender, place, {side: masks[side][place] for side in SIDES}) for place in chosen
        ], {}

    def _finder(self, contender: Contender, side: str) -> Callable[[HeardClips, Sequence[int]], list[Tensor]]:
        labels = self._labels(side)
        other = "b" if side == "a" else "a"

        def find(part: HeardClips, places: Sequence[int]) -> list[Tensor]:
            parts = [
                (self.mixtures[place].sources[side], self.mixtures[place].sources[other]) for place in places
            ]
            seeds = [f"{self.judge.seed} {self.plans[place].name}" for place in places]
            return find_masks(
                contender, part, self.judge.prompts([labels[place] for place in places]), seeds, parts
            )

        return find

    def _row(self, contender: Contender, place: int, masks: dict[str, Tensor]) -> Row:
        judge, key, mixture = self.judge, contender.key, self.mixtures[place].waveform
        row: Row = {"mixture": self.plans[place].name}
        shares = [share for form in contender.forms if (share := FORMS[form]) is not None]
        for side, mask in masks.items():
            top = top_masks(mask.unsqueeze(0), shares)[0] * (mask.max() > 0)  # an empty mask names no cells
            variants = audible(torch.cat([mask.unsqueeze(0), top]), contender.domain, judge.backend)
            kept = torch.stack(
                [masked_waveform(mixture, variant, judge.backend.spectral) for variant in variants]
            )
            reference = self.sources[side][place].expand_as(kept)
            gained = si_sdr(kept, reference) - self.before[side][place]
            for form, value in zip(contender.forms, gained, strict=True):
                row[f"{key}/{form}/si_sdr_i_{side}"] = float(value)
            cells, power = self.cells[side][place, None], self.power[place, None]
            row[f"{key}/soft/on_target_{side}"] = float(energy_on_target(variants[:1], power, cells))
            row[f"{key}/soft/pointing_{side}"] = float(pointing_accuracy(variants[:1], cells))
            row[f"{key}/soft/mm_{side}"] = float(mask.double().mean())
        if all(mask.max() > 0 for mask in masks.values()):  # an empty mask has no direction
            first, second = (masks[side].double().flatten() for side in SIDES)
            row[f"{key}/soft/mask_cosine"] = float(F.cosine_similarity(first, second, dim=0))
        return row
