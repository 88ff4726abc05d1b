"""Every method and every control on every clip in every condition, scored on what is heard."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.recording import Recording, listen
from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError
from lmaczs.evaluation.conditions import Contamination, contaminant_name
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.masks import IDEAL
from lmaczs.evaluation.scores import Row, ScoreTable
from lmaczs.types import AudioClip

# Columns of every contender: a number that every scored mask has, why there is none, and seconds of work.
SCORED, FAILED, EXPLAIN_S, SCORE_S = "soft/ff", "failed/reason", "time/explain_s", "time/score_s"


@dataclass(frozen=True)
class ClipEvaluation:
    """What clips are scored with.

    Attributes:
        evaluator: scores masks.
        contenders: in the order of the tables.
        contamination: makes the conditions.
        limits: contender's name -> names of the only clips that it is scored on.
    """

    evaluator: MaskEvaluator
    contenders: tuple[Contender, ...]
    contamination: Contamination = field(default_factory=Contamination)
    limits: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def takers(self, condition: str, clip: str) -> list[Contender]:
        """Who is scored on a clip in a condition."""
        return [
            contender
            for contender in self.contenders
            if clip in self.limits.get(contender.name, (clip,))
            and not (contender.name == IDEAL and condition == "none")
        ]


def evaluate_clips(
    evaluation: ClipEvaluation,
    clips: Sequence[Clip],
    table: ScoreTable,
    conditions: Sequence[str] = ("none",),
    quiet: bool = False,
) -> list[Row]:
    """Score all clips that are not scored yet, one recording at a time.

    Explained is the prompt that the classifier takes for the most probable one of what it hears, which need not be the
    clip's label.

    Args:
        evaluation: what they are scored with.
        clips: to score.
        table: gets the scores; a clip that cannot be scored has its reason in "error".
        conditions: keys of `lmaczs.evaluation.conditions.CONDITIONS`.
        quiet: no progress bar.

    Returns:
        One row a clip and condition, in order.
    """
    wanted = {(c, clip.path): evaluation.takers(c, clip.path) for c in conditions for clip in clips}
    total = sum(map(len, wanted.values()))
    with table, tqdm(total=total, unit="mask", desc="explaining", disable=quiet) as bar:
        for condition in conditions:
            for clip in clips:
                takers = wanted[condition, clip.path]
                before = bar.n
                for contender in _evaluate_clip(evaluation, condition, clip, takers, table):
                    bar.set_postfix_str(f"{condition}, {contender.key}", refresh=False)
                    bar.update()
                # What was finished before, or cannot be scored.
                bar.update(len(takers) - (bar.n - before))
    return table.finish(list(wanted))


def _evaluate_clip(
    evaluation: ClipEvaluation,
    condition: str,
    clip: Clip,
    takers: Sequence[Contender],
    table: ScoreTable,
) -> Iterator[Contender]:
    """Score what is missing of a clip in a condition; yields each contender that has just been scored."""
    evaluator, contamination = evaluation.evaluator, evaluation.contamination
    sound = contamination.sound_sha256(condition, clip)
    row = table.open_row(condition, clip.path, sound)
    missing = [contender for contender in takers if f"{contender.key}/{SCORED}" not in row]
    if "predicted" in row and "error" not in row and row.get("label") == clip.label and not missing:
        return
    rate = evaluator.backend.spectral.sample_rate
    try:
        scene = contamination.scene(condition, clip, rate)
    except LMACError as error:
        table.add(condition, clip.path, sound, {"label": clip.label, "error": str(error)})
        return
    recording = listen(AudioClip(scene.waveform, rate, Path(clip.path).stem), evaluator.backend)
    facts, target = _facts(evaluation, condition, clip, recording)
    table.add(condition, clip.path, sound, facts)
    parts = scene.parts or (scene.waveform, torch.zeros_like(scene.waveform))
    for contender in missing:
        scores = score_contender(evaluator, contender, recording, target, clip.path, parts)
        table.add(condition, clip.path, sound, scores)
        yield contender


def _facts(evaluation: ClipEvaluation, condition: str, clip: Clip, recording: Recording) -> tuple[Row, int]:
    """What is known of a clip without any explanation, and the index of the label that is explained."""
    evaluator = evaluation.evaluator
    logits = evaluator.logits(recording.embedding[None])[0]
    probability, silence = (evaluator.probabilities(values) for values in (logits, evaluator.silence[0]))
    target = int(logits.argmax())
    scale = float(evaluator.backend.logit_scale)
    facts = {
        "label": clip.label,
        "predicted": evaluator.labels[target],
        "contaminant": contaminant_name(evaluation.contamination.contaminant(condition, clip)) or None,
        "error": None,
        "probability": float(probability[target]),
        # The explained prompt's probability of silence: where deletion curves end.
        "silence": float(silence[target]),
        "similarity": float(logits[target]) / scale,
        "rank": rank_of(logits, evaluator.labels.index(clip.label)),
    }
    return facts, target


def rank_of(logits: Tensor, index: int) -> float:
    """Place of a label among all, the most probable one being 1.

    Args:
        logits: (labels,).
        index: of the label.
    """
    return 1.0 + int((logits > logits[index]).sum())


def score_contender(
    evaluator: MaskEvaluator,
    contender: Contender,
    recording: Recording,
    target: int,
    clip: str,
    parts: tuple[Tensor, Tensor] | None,
) -> Row:
    """Explain one recording with one contender, and score the mask; or the reason why it cannot be explained.

    Args:
        evaluator: scores the mask.
        contender: method or control.
        recording: that the backend has heard.
        target: index of the label that is explained.
        clip: names the recording.
        parts: the sound that is explained and the rest, where they are known.
    """
    started = time.perf_counter()
    try:
        explanation = contender.explain(recording, evaluator.target(target), clip, parts)
    except LMACError as error:
        return {f"{contender.key}/{FAILED}": str(error)}
    explained = time.perf_counter()
    found = evaluator.score(contender.method, recording, explanation, target, contender.forms)
    found |= {EXPLAIN_S: explained - started, SCORE_S: time.perf_counter() - explained}
    return {f"{contender.key}/{column}": value for column, value in found.items()} | {
        f"{contender.key}/{FAILED}": None
    }
