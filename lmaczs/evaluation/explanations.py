"""Every method and every control on every clip in every condition, scored on what is heard."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.data.clip_table import ClipEntry
from lmaczs.errors import LMACError
from lmaczs.evaluation.conditions import Contamination, Scene, contaminant_name
from lmaczs.evaluation.contenders import Contender, find_masks
from lmaczs.evaluation.hearing import HeardClips, embed
from lmaczs.evaluation.judge import Judge, masks_or_reasons
from lmaczs.evaluation.masks import FORMS, IDEAL, audible
from lmaczs.evaluation.rows import ResultRows, Row
from lmaczs.evaluation.stopwatch import Stopwatch
from lmaczs.metrics.curves import deletion_insertion
from lmaczs.metrics.faithfulness import faithfulness
from lmaczs.metrics.shape import mask_shape, top_masks
from lmaczs.metrics.top_k import top_k_change
from lmaczs.signal.masking import masked_waveform

GROUP = 16  # clips that are explained together
KEYS = ("condition", "path")
TEXT_COLUMNS = ("label", "predicted", "contaminant", "error")
CLIP_NUMBERS = (
    "probability",
    "silence",
    "similarity",
    "rank",
)  # silence: the explained prompt's probability there
FAITHFULNESS = ("ai", "ad", "ag", "ff", "fid_in")
SHAPE = ("sps", "comp", "mm")
TOP_K = ("top1_change", "top2_change", "top3_change")
AREAS = ("deletion_auc", "insertion_auc")
CURVES = ("deletion", "insertion")


def score_columns(contender: Contender, shares: Sequence[float]) -> list[str]:
    """A contender's columns "domain/name/form/metric"."""
    columns = []
    for form in contender.forms:
        keys = (*FAITHFULNESS, *SHAPE, *TOP_K, "ad_double") if form == "soft" else FAITHFULNESS
        columns += [f"{contender.key}/{form}/{key}" for key in keys]
    if len(contender.forms) > 1:
        columns += [f"{contender.key}/curve/{key}" for key in (*AREAS, *curve_points(shares))]
    return columns


def curve_points(shares: Sequence[float]) -> list[str]:
    """Names of the measured points: "deletion_10" is what is left of the probability without the top 10 %."""
    return [f"{curve}_{100 * share:g}" for curve in CURVES for share in shares]


def judge_clips(
    judge: Judge,
    clips: Sequence[ClipEntry],
    results: ResultRows,
    conditions: Sequence[str] = ("none",),
    contamination: Contamination | None = None,
    stopwatch: Stopwatch | None = None,
    quiet: bool = False,
) -> list[Row]:
    """Score all clips that are not scored yet.

    Explained is the prompt that the classifier takes for the most probable one of what it hears, which need
    not be the clip's label.

    Args:
        judge: what to score with.
        clips: to score.
        results: gets one row a clip and condition; a clip that cannot be scored has its reason in the column
            error.
        conditions: keys of `lmaczs.evaluation.conditions.CONDITIONS`.
        contamination: makes the conditions; None where all clips are clean.
        stopwatch: takes the times.
        quiet: no progress bar.

    Returns:
        One row a clip and condition, in order.
    """
    run = _Run(judge, results, contamination or Contamination(), stopwatch or Stopwatch())
    takers = sum(judge.takes(contender, clip.path) for contender in judge.contenders for clip in clips)
    with tqdm(total=takers * len(conditions), unit="mask", desc="explaining", disable=quiet) as bar:
        for condition in conditions:
            # Groups are cut before finished clips are left out: a run that goes on computes what one run
            # would have.
            for first in range(0, len(clips), GROUP):
                group = clips[first : first + GROUP]
                before = bar.n
                for contender, count in run.group(condition, group):
                    bar.set_postfix_str(f"{condition}, {contender.key}", refresh=False)
                    bar.update(count)
                asked = sum(judge.takes(c, clip.path) for c in judge.contenders for clip in group)
                bar.update(asked - (bar.n - before))  # what was finished before, or cannot be scored
    return results.finish([(condition, clip.path) for condition in conditions for clip in clips])


class _Run:
    """One pass over the clips."""

    def __init__(
        self, judge: Judge, results: ResultRows, contamination: Contamination, stopwatch: Stopwatch
    ) -> None:
        self.judge, self.results = judge, results
        self.contamination, self.stopwatch = contamination, stopwatch

    def group(self, condition: str, clips: Sequence[ClipEntry]) -> Iterator[tuple[Contender, int]]:
        """Score a group of clips; yields who has just been scored on how many of them."""
        if all(self._finished(condition, clip) for clip in clips):
            return
        usable, scenes = [], []
        for clip in clips:
            try:
                scenes.append(
                    self.contamination.scene(condition, clip, self.judge.backend.spectral.sample_rate)
                )
                usable.append(clip)
            except LMACError as error:
                row = {"condition": condition, "path": clip.path, "label": clip.label, "error": str(error)}
                self.results.add([row])
        if usable and not all(self._finished(condition, clip) for clip in usable):
            yield from self._score_group(condition, usable, scenes)

    def _finished(self, condition: str, clip: ClipEntry) -> bool:
        row = self.results.rows.get((condition, clip.path), {})
        return "predicted" in row and "error" not in row and not self._missing(condition, clip)

    def _missing(self, condition: str, clip: ClipEntry) -> list[Contender]:
        row = self.results.rows.get((condition, clip.path), {})
        return [
            contender
            for contender in self.judge.contenders
            if f"{contender.key}/soft/ff" not in row
            and self.judge.takes(contender, clip.path)
            and not (contender.name == IDEAL and condition == "none")
        ]

    def _score_group(
        self, condition: str, clips: Sequence[ClipEntry], scenes: Sequence[Scene]
    ) -> Iterator[tuple[Contender, int]]:
        judge = self.judge
        heard = HeardClips([scene.waveform for scene in scenes], judge.backend)
        logits = judge.logits(heard.embedding)
        target = logits.argmax(1)
        self.results.add(self._about_clips(condition, clips, heard, logits))
        missing = [self._missing(condition, clip) for clip in clips]
        parts = [
            None if scene.parts is None else (scene.parts[0].to(wave.device), scene.parts[1].to(wave.device))
            for scene, wave in zip(scenes, heard.waveforms, strict=True)
        ]
        failures: dict[int, list[str]] = {}
        for contender in judge.contenders:
            chosen = [place for place, wanted in enumerate(missing) if contender in wanted]
            if not chosen:
                continue

            def find(part: HeardClips, places: Sequence[int], who: Contender = contender) -> list[Tensor]:
                prompts = judge.prompts([int(target[place]) for place in places])
                seeds = [f"{judge.seed} {clips[place].path}" for place in places]
                return find_masks(who, part, prompts, seeds, [parts[place] for place in places])

            with self.stopwatch.explaining(contender.key, len(chosen)):
                masks, reasons = masks_or_reasons(find, heard, chosen)
            with self.stopwatch.scoring(contender.key, len(masks)):
                rows = [
                    {"condition": condition, "path": clips[place].path}
                    | score_mask(judge, contender, heard.waveforms[place], mask, logits[place], target[place])
                    for place, mask in masks.items()
                ]
            self.results.add(rows)
            for place, reason in reasons.items():
                failures.setdefault(place, []).append(f"{contender.key}: {reason}")
            yield contender, len(chosen)
        self.results.add(
            {"condition": condition, "path": clips[place].path, "error": " ".join(texts)}
            for place, texts in failures.items()
        )

    def _about_clips(
        self, condition: str, clips: Sequence[ClipEntry], heard: HeardClips, logits: Tensor
    ) -> list[Row]:
        judge, target = self.judge, logits.argmax(1)
        probability, silence = logits.double().softmax(1), judge.silence.double().softmax(1)[0]
        similarity = logits / judge.backend.logit_scale.detach().cpu()
        return [
            {
                "condition": condition,
                "path": clip.path,
                "label": clip.label,
                "predicted": judge.labels[int(target[place])],
                "contaminant": contaminant_name(self.contamination.contaminant(condition, clip)) or None,
                "error": None,
                "probability": float(probability[place].max()),
                "silence": float(silence[target[place]]),
                "similarity": float(similarity[place].max()),
                "rank": 1.0 + int((logits[place] > logits[place, judge.labels.index(clip.label)]).sum()),
            }
            for place, clip in enumerate(clips)
        ]


@torch.no_grad()
def score_mask(
    judge: Judge, contender: Contender, waveform: Tensor, mask: Tensor, logits: Tensor, target: Tensor
) -> Row:
    """All numbers of one mask: soft, at equal area, and along the curves.

    Args:
        judge: what to score with.
        contender: whose mask it is.
        waveform: (samples,) of the clip, on the backend's device.
        mask: (freq, frames) in [0, 1].
        logits: (labels,) of the clip.
        target: () index of the label that is explained.

    Returns:
        Numbers by the columns of `score_columns`.
    """
    logits, target = logits.unsqueeze(0), target.reshape(1)
    ranked = len(contender.forms) > 1
    shares = sorted({*judge.shares, *(share for share in FORMS.values() if share)}) if ranked else []
    variants = mask.unsqueeze(0)
    if ranked:
        top = top_masks(mask.unsqueeze(0), shares)[0]
        # An empty mask names no cells that could be kept.
        variants = torch.cat([variants, top if mask.max() > 0 else torch.zeros_like(top)])
    grid = judge.backend.spectral
    kept = [
        masked_waveform(waveform, audible(variant, contender.domain, judge.backend), grid)
        for variant in variants
    ]
    heard = embed([*kept, *(waveform - part for part in kept)], judge.backend)
    kept_logits, removed_logits = judge.logits(heard).chunk(2)

    def faith(index: int, double_softmax: bool = False) -> dict[str, float]:
        at = slice(index, index + 1)
        values = faithfulness(
            logits, kept_logits[at], removed_logits[at], target, double_softmax=double_softmax
        )
        return {key: float(value) for key, value in values.items()}

    soft = faith(0) | {key: float(value) for key, value in mask_shape(mask.unsqueeze(0)).items()}
    soft |= dict(zip(TOP_K, top_k_change(logits, kept_logits[:1], len(TOP_K))[0].tolist(), strict=True))
    soft["ad_double"] = faith(0, double_softmax=True)["ad"]
    row: Row = {f"{contender.key}/soft/{key}": value for key, value in soft.items()}
    for form in contender.forms[1:]:
        values = faith(1 + shares.index(FORMS[form]))  # type: ignore[arg-type]
        row |= {f"{contender.key}/{form}/{key}": value for key, value in values.items()}
    if ranked:
        row |= {
            f"{contender.key}/curve/{key}": value
            for key, value in _curves(
                judge, shares, mask, logits, kept_logits, removed_logits, target
            ).items()
        }
    return {key: value for key, value in row.items() if not math.isnan(value)}


def _curves(
    judge: Judge,
    shares: Sequence[float],
    mask: Tensor,
    logits: Tensor,
    kept_logits: Tensor,
    removed_logits: Tensor,
    target: Tensor,
) -> dict[str, float]:
    """Areas and points of both curves; row 1 of the logits is that of the first share."""

    def probability(values: Tensor) -> Tensor:
        return values.double().softmax(-1)[:, int(target)]

    points = [1 + shares.index(share) for share in judge.shares]
    kept, removed = probability(kept_logits[points]), probability(removed_logits[points])
    empty = (mask.max() <= 0).reshape(1).cpu()
    areas = deletion_insertion(
        probability(logits), probability(judge.silence), kept[None], removed[None], judge.shares, empty
    )
    values = dict(zip(curve_points(judge.shares), [*removed.tolist(), *kept.tolist()], strict=True))
    return values | {key: float(areas[key]) for key in AREAS}
