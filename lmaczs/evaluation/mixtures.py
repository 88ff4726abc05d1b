"""Mixtures whose parts are known: does the mask for a prompt bring out the sound that the prompt names?"""

import csv
import io
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.recording import Recording, listen
from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError
from lmaczs.evaluation.clips import EXPLAIN_S, FAILED, ClipEvaluation, rank_of
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.masks import FORMS
from lmaczs.evaluation.provenance import sound_sha256
from lmaczs.evaluation.scores import Key, Row, ScoreTable
from lmaczs.hearing.explaining import audible
from lmaczs.metrics.localisation import dominant_cells, energy_on_target, pointing_accuracy, si_sdr
from lmaczs.signal.audio import load_clip, resample, tile_to_length
from lmaczs.signal.mixing import mix_at_snr
from lmaczs.signal.spectral import stft
from lmaczs.types import AudioClip, Explanation

# Name of the condition in result files; each mixture stands there twice, as "NAME/a" and "NAME/b".
MIXTURE = "mixture"
Side = Literal["a", "b"]
SIDES: tuple[Side, Side] = ("a", "b")
# A prompt that the model ranks lower is not what it hears: no mask of it can be expected to fit.
KNOWN = 5


@dataclass(frozen=True)
class MixturePlan:
    """Two clips of different labels that are heard at once.

    Attributes:
        name: number of the mixture, as text.
        a: first clip; its level is kept.
        b: second clip, brought to the level of the first.
    """

    name: str
    a: Clip
    b: Clip

    def key(self, side: Side) -> Key:
        """Of the rows about one of its sounds."""
        return MIXTURE, f"{self.name}/{side}"

    def clip(self, side: Side) -> Clip:
        """The clip on one side."""
        return self.a if side == "a" else self.b


def plan_mixtures(clips: Sequence[Clip], count: int, seed: int = 0) -> list[MixturePlan]:
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
    by_label: dict[str, list[Clip]] = {}
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
    pairs: dict[frozenset[str], tuple[Clip, Clip]] = {}
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


@dataclass(frozen=True)
class _Mixture:
    """A mixture that the classifier has heard.

    Attributes:
        recording: of waveform = sources["a"] + sources["b"].
        sources: (samples,) each, as they are in the mixture.
        power: (bins, frames) of the mixture.
        cells: (bins, frames) bool, where each source is louder than the other.
        before: SI-SDR of the mixture against each source, dB.
        rank: place of each source's label among all, the most probable one being 1.
        gain_db: of b, dB.
    """

    recording: Recording
    sources: dict[Side, Tensor]
    power: Tensor
    cells: dict[Side, Tensor]
    before: dict[Side, float]
    rank: dict[Side, float]
    gain_db: float


def evaluate_mixtures(
    evaluation: ClipEvaluation, plans: Sequence[MixturePlan], table: ScoreTable, quiet: bool = False
) -> list[Row]:
    """Score all mixtures that are not scored yet.

    The sources are used to measure, never to explain: methods get the mixture and a prompt. Only the ideal ratio mask is
    made from them.

    Args:
        evaluation: what they are scored with; its limits name mixtures.
        plans: the mixtures, all at 0 dB.
        table: gets the scores.
        quiet: no progress bar.

    Returns:
        Two rows a mixture, one for each of its sounds, in order.
    """
    takers = {plan.name: evaluation.takers(MIXTURE, plan.name) for plan in plans}
    total = sum(map(len, takers.values()))
    with table, tqdm(total=total, unit="mask pair", desc="mixtures", disable=quiet) as bar:
        for plan in plans:
            _evaluate_mixture(evaluation.evaluator, plan, takers[plan.name], table)
            bar.update(len(takers[plan.name]))
    return table.finish([plan.key(side) for plan in plans for side in SIDES])


def _evaluate_mixture(
    evaluator: MaskEvaluator, plan: MixturePlan, takers: Sequence[Contender], table: ScoreTable
) -> None:
    sound = sound_sha256(plan.a.file, plan.b.file)
    rows = [table.open_row(*plan.key(side), sound) for side in SIDES]
    missing = [c for c in takers if any(f"{c.key}/soft/si_sdr_i" not in row for row in rows)]
    if not missing and all("rank" in row and "error" not in row for row in rows):
        return
    try:
        mixture = _mix(evaluator, plan)
    except LMACError as error:
        for side in SIDES:
            table.add(*plan.key(side), sound, {"label": plan.clip(side).label, "error": str(error)})
        return
    for side in SIDES:
        table.add(*plan.key(side), sound, _facts(plan, mixture, side))
    for contender in missing:
        for side, found in _score(evaluator, contender, plan, mixture).items():
            table.add(
                *plan.key(side), sound, {f"{contender.key}/{name}": value for name, value in found.items()}
            )


def _mix(evaluator: MaskEvaluator, plan: MixturePlan) -> _Mixture:
    """One window long, short clips repeated."""
    backend = evaluator.backend
    grid, rate = backend.spectral, backend.spectral.sample_rate
    first, second = (
        tile_to_length(resample(load_clip(clip.file), rate).waveform, backend.clip_samples)
        for clip in (plan.a, plan.b)
    )
    waveform, interferer = mix_at_snr(first, second, snr_db=0.0)
    gain = 10 * torch.log10(interferer.double().square().sum() / second.double().square().sum())
    sources: dict[Side, Tensor] = {"a": first, "b": interferer}
    power, *own = stft(torch.stack([waveform, first, interferer]), grid).abs().square()
    recording = listen(AudioClip(waveform, rate, plan.name), backend)
    logits = evaluator.logits(recording.embedding[None])[0]
    return _Mixture(
        recording=recording,
        sources=sources,
        power=power,
        cells={"a": dominant_cells(*own), "b": dominant_cells(*reversed(own))},
        before={side: float(si_sdr(waveform[None], sources[side][None])) for side in SIDES},
        rank={side: rank_of(logits, evaluator.labels.index(plan.clip(side).label)) for side in SIDES},
        gain_db=float(gain),
    )


def _facts(plan: MixturePlan, mixture: _Mixture, side: Side) -> Row:
    """What is known of one sound of a mixture without any explanation."""
    clip, other = plan.clip(side), plan.clip("b" if side == "a" else "a")
    return {
        "label": clip.label,
        "source": clip.path,
        "contaminant": other.path,
        "gain_db": mixture.gain_db,
        "rank": mixture.rank[side],
        "mixture_si_sdr": mixture.before[side],
        "error": None,
    }


def _score(
    evaluator: MaskEvaluator, contender: Contender, plan: MixturePlan, mixture: _Mixture
) -> dict[Side, Row]:
    """Explain both sounds of a mixture and score the masks, or the reason why that cannot be done, for each side."""
    found: dict[Side, Row] = {}
    masks: list[Tensor] = []
    for side in SIDES:
        other: Side = "b" if side == "a" else "a"
        label = evaluator.labels.index(plan.clip(side).label)
        started = time.perf_counter()
        try:
            parts = (mixture.sources[side], mixture.sources[other])
            explanation = contender.explain(mixture.recording, evaluator.target(label), plan.name, parts)
        except LMACError as error:
            return {place: {FAILED: str(error)} for place in SIDES}
        seconds = time.perf_counter() - started
        found[side] = _located(evaluator, contender, explanation, mixture, side)
        found[side] |= {EXPLAIN_S: seconds}
        masks.append(explanation.mask)
    # An empty mask has no direction.
    if all(mask.max() > 0 for mask in masks):
        first, second = (mask.double().flatten() for mask in masks)
        found["a"]["soft/mask_cosine"] = float(F.cosine_similarity(first, second, dim=0))
    return found


@torch.no_grad()
def _located(
    evaluator: MaskEvaluator,
    contender: Contender,
    explanation: Explanation,
    mixture: _Mixture,
    side: Side,
) -> Row:
    """How much of the sound prompted for a mask brings out."""
    recording = mixture.recording
    shares = [share for form in contender.forms if (share := FORMS[form]) is not None]
    kept = torch.stack(evaluator.kept_sounds(contender.method, recording, explanation, shares))
    gained = si_sdr(kept, mixture.sources[side].expand_as(kept)) - mixture.before[side]
    row: Row = {FAILED: None}
    for form, value in zip(contender.forms, gained.tolist(), strict=True):
        row[f"{form}/si_sdr_i"] = value
        row[f"{form}/si_sdr_i_known"] = value if mixture.rank[side] <= KNOWN else None
    gain = audible(explanation.mask, explanation.domain, evaluator.backend)[None]
    row["soft/on_target"] = float(energy_on_target(gain, mixture.power[None], mixture.cells[side][None]))
    row["soft/pointing"] = float(pointing_accuracy(gain, mixture.cells[side][None]))
    row["soft/mm"] = float(explanation.mask.double().mean())
    row["soft/absent"] = 100.0 * (explanation.evidence == "absent")
    return row
