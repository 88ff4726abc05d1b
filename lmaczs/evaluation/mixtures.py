"""Mixtures whose parts are known: does the mask for a prompt bring out the sound that the prompt names?"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.data.clip_table import ClipEntry
from lmaczs.errors import LMACError
from lmaczs.evaluation.explanations import Judge, all_masks, audible, forms_of, load_entry
from lmaczs.evaluation.hearing import HeardClips
from lmaczs.evaluation.masks import CONTROLS, in_form
from lmaczs.evaluation.rows import ResultRows, Row
from lmaczs.metrics.localisation import si_sdr
from lmaczs.signal.audio import tile_to_length
from lmaczs.signal.contamination import mix_at_snr
from lmaczs.signal.masking import masked_waveform
from lmaczs.signal.spectral import SpectralConfig, stft
from lmaczs.types import TextState

GROUP = 8
IDEAL = "ideal ratio mask"
TEXT_COLUMNS = ("mixture", "path_a", "label_a", "path_b", "label_b", "error")
SIDES = ("a", "b")


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


def mixture_columns(methods: Sequence[str]) -> list[str]:
    """Columns of the result table: "method/form/metric" and numbers about the mixture itself."""
    columns = ["gain_db", "rank_a", "rank_b", "mixture_si_sdr_a", "mixture_si_sdr_b"]
    for method in (*methods, *CONTROLS):
        for form in forms_of(method):
            columns += [f"{method}/{form}/si_sdr_i_{side}" for side in SIDES]
        columns += [f"{method}/soft/mask_cosine", *(f"{method}/soft/mm_{side}" for side in SIDES)]
    return columns + [f"{IDEAL}/soft/si_sdr_i_{side}" for side in SIDES]


def judge_mixtures(
    judge: Judge, plans: Sequence[MixturePlan], results: ResultRows, quiet: bool = False
) -> list[Row]:
    """Score all mixtures that are not scored yet.

    The sources are used to measure, never to explain: methods get the mixture and a prompt.

    Args:
        judge: what to score with.
        plans: the mixtures, all at 0 dB.
        results: grows by one row a mixture.
        quiet: no progress bar.

    Returns:
        One row a mixture, in order.
    """
    with tqdm(total=len(plans), unit="mixture", desc="mixtures", disable=quiet) as bar:
        for first in range(0, len(plans), GROUP):
            group = plans[first : first + GROUP]
            if not all(plan.name in results.rows for plan in group):
                results.add(_judge_group(judge, group))
            bar.update(len(group))
    return results.finish([plan.name for plan in plans])


@torch.no_grad()
def _judge_group(judge: Judge, plans: Sequence[MixturePlan]) -> list[Row]:
    rows, used = [], []
    for plan in plans:
        row, sound = _describe(plan), _mix(judge, plan)
        rows.append(row)
        if isinstance(sound, LMACError):
            row["error"] = str(sound)
        else:
            used.append((plan, sound, row))
    if used:
        _score(judge, *zip(*used, strict=True))
    return rows


def _describe(plan: MixturePlan) -> Row:
    return {
        "mixture": plan.name,
        "path_a": plan.a.path,
        "label_a": plan.a.label,
        "path_b": plan.b.path,
        "label_b": plan.b.label,
    }


def _mix(judge: Judge, plan: MixturePlan) -> tuple[Tensor, Tensor, Tensor, float] | LMACError:
    """Mixture, source a, source b, gain of b in dB: one window long, short clips repeated."""
    grid, sources = judge.backend.spectral, []
    for clip in (plan.a, plan.b):
        audio = load_entry(clip, grid.sample_rate)
        if isinstance(audio, LMACError):
            return audio
        sources.append(tile_to_length(audio.waveform, judge.backend.clip_samples))
    try:
        mixture, interferer = mix_at_snr(sources[0], sources[1], snr_db=0.0)
    except LMACError as error:
        return error
    gain = 10 * torch.log10(interferer.double().square().sum() / sources[1].double().square().sum())
    return mixture, sources[0], interferer, float(gain)


def _score(judge: Judge, plans: Sequence[MixturePlan], sounds: Sequence[tuple], rows: Sequence[Row]) -> None:
    """Fill the rows' numbers."""
    grid = judge.backend.spectral
    mixtures = torch.stack([sound[0] for sound in sounds])
    sources = {
        "a": torch.stack([sound[1] for sound in sounds]),
        "b": torch.stack([sound[2] for sound in sounds]),
    }
    before = {side: si_sdr(mixtures, sources[side]) for side in SIDES}
    heard = HeardClips(list(mixtures), judge.backend)
    logits = judge.logits(heard.embedding)
    for index, (plan, row) in enumerate(zip(plans, rows, strict=True)):
        row["gain_db"] = sounds[index][3]
        for side, clip in (("a", plan.a), ("b", plan.b)):
            own = logits[index, judge.labels.index(clip.label)]
            row[f"rank_{side}"] = 1.0 + int((logits[index] > own).sum())
            row[f"mixture_si_sdr_{side}"] = float(before[side][index])

    def improve(masks: Sequence[Tensor], side: str, column: str) -> None:
        kept = [masked_waveform(mixture, mask, grid) for mixture, mask in zip(mixtures, masks, strict=True)]
        gained = si_sdr(torch.stack(kept), sources[side]) - before[side]
        for row, value in zip(rows, gained, strict=True):
            row[column] = float(value)

    both = [
        all_masks(
            judge,
            heard,
            _prompts(judge, [clip.label for clip in clips]),
            list(mixtures),
            [p.name for p in plans],
        )
        for clips in ([plan.a for plan in plans], [plan.b for plan in plans])
    ]
    for (method, domain, masks_a), (_, _, masks_b) in zip(*both, strict=True):
        for side, masks in (("a", masks_a), ("b", masks_b)):
            for form in forms_of(method):
                formed = [audible(in_form(mask, form), domain, judge.backend) for mask in masks]
                improve(formed, side, f"{method}/{form}/si_sdr_i_{side}")
            for row, mask in zip(rows, masks, strict=True):
                row[f"{method}/soft/mm_{side}"] = float(mask.double().mean())
        for row, mask_a, mask_b in zip(rows, masks_a, masks_b, strict=True):
            if mask_a.max() > 0 and mask_b.max() > 0:  # an empty mask has no direction
                row[f"{method}/soft/mask_cosine"] = float(
                    F.cosine_similarity(mask_a.double().flatten(), mask_b.double().flatten(), dim=0)
                )
    for side, other in (("a", "b"), ("b", "a")):
        improve(ideal_ratio_mask(sources[side], sources[other], grid), side, f"{IDEAL}/soft/si_sdr_i_{side}")


def ideal_ratio_mask(source: Tensor, other: Tensor, grid: SpectralConfig) -> list[Tensor]:
    """The share of the source's power in each cell, from the separate sources: about the best that a mask can
    do.

    Args:
        source: (batch, samples).
        other: (batch, samples), the rest of the mixture.
        grid: of the masks.

    Returns:
        (bins, frames) in [0, 1] for each.
    """
    power, rest = (stft(waveform, grid).abs().square() for waveform in (source, other))
    return list(power / (power + rest).clamp_min(torch.finfo(power.dtype).tiny))


def _prompts(judge: Judge, labels: Sequence[str]) -> TextState:
    return judge.backend.encode_text(prompts_from_labels(labels))
