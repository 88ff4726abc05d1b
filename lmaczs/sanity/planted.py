"""Planted truth: do explanations show the cue that a classifier was taught to decide by?

Measured where the cue decides: with another cue in the same sound, or without it, the copy says something else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import Recording, embed, listen
from lmaczs.data.clips import Clip
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.masks import CONTROLS
from lmaczs.evaluation.provenance import sound_sha256
from lmaczs.evaluation.scores import Row, ScoreTable
from lmaczs.evaluation.summary import ranking_of
from lmaczs.hearing.boxes import Box, cells_of
from lmaczs.metrics.localisation import pointing_accuracy
from lmaczs.metrics.registry import METRICS, entries_of
from lmaczs.metrics.shape import top_masks
from lmaczs.metrics.statistics import as_columns, rank
from lmaczs.metrics.table import markdown_table, metric_notes, summarise
from lmaczs.sanity.cues import CUES, Beep, Cue, Cued, at_level
from lmaczs.signal.audio import load_clip, resample, tile_to_length
from lmaczs.types import AudioClip, Explanation

# Of the cells, as in the tables at equal area.
AREA = 0.1
# Facts of a row: whether the decision hangs on the cue, and whether the cue decides in another carrier, too.
FLIPS, OBEYS = "flips", "obeys"


@dataclass(frozen=True)
class Copies:
    """A classifier's copies, and who explains them.

    Attributes:
        planted: name of a cue -> the copy that decides by it.
        contenders: methods and controls, made for the original.
        labels: among which the copies decide; the first one is what a beep stands for.
    """

    planted: Mapping[str, CLAPBackend]
    contenders: tuple[Contender, ...]
    labels: tuple[str, ...]


def read_sounds(clips: Sequence[Clip], backend: CLAPBackend, quiet: bool = False) -> list[Tensor]:
    """One window of each clip at the backend's rate, all at one level: (clip_samples,) each.

    Raises:
        AudioError: a clip cannot be used.
    """
    rate = backend.spectral.sample_rate
    found = []
    for clip in tqdm(clips, desc="reading", unit="clip", disable=quiet):
        waveform = resample(load_clip(clip.file), rate).waveform
        found.append(at_level(tile_to_length(waveform, backend.clip_samples)))
    return found


def measure_planted(
    copies: Copies,
    clips: Sequence[Clip],
    sounds: Sequence[Tensor],
    table: ScoreTable,
    seed: int = 0,
    quiet: bool = False,
) -> list[Row]:
    """Explain every copy's decisions where the cue makes them; what the table holds already is not done again.

    Args:
        copies: of the classifier.
        clips: of which nothing was used to plant the cues.
        sounds: of the clips.
        table: gets the scores, one row for each cue and clip.
        seed: of the pairs and of what cues draw.
        quiet: no progress bar.

    Returns:
        All rows, by cue and clip.
    """
    together = sound_sha256(*(clip.file for clip in clips), seed)
    with (
        table,
        tqdm(total=len(copies.planted) * len(clips), desc="planted truth", unit="clip", disable=quiet) as bar,
    ):
        for name, planted in copies.planted.items():
            bench = _Bench(planted, CUES[name], copies)
            for place, clip in enumerate(clips):
                _measure_clip(bench, place, clips, sounds, table, sound_sha256(clip.file, together), seed)
                bar.update()
    return table.finish([(name, clip.path) for name in copies.planted for clip in clips])


class _Bench:
    """A copy with everything that is asked of it."""

    def __init__(self, planted: CLAPBackend, cue: Cue, copies: Copies) -> None:
        self.backend, self.cue = planted, cue
        self.evaluator = MaskEvaluator(planted, copies.labels)
        # The same methods, explaining the copy: none of them was trained for it.
        self.contenders = tuple(
            replace(one, method=replace(one.method, backend=planted)) for one in copies.contenders
        )

    def decisions(self, waveforms: Sequence[Tensor]) -> list[int]:
        """Index of the label that the copy says, of each sound."""
        found: list[int] = self.evaluator.logits(embed(waveforms, self.backend)).argmax(1).tolist()
        return found


def _measure_clip(
    bench: _Bench,
    place: int,
    clips: Sequence[Clip],
    sounds: Sequence[Tensor],
    table: ScoreTable,
    sound: str,
    seed: int,
) -> None:
    clip = clips[place]
    key = (bench.cue.name, clip.path)
    row = table.open_row(*key, sound)
    missing = [one for one in bench.contenders if f"{one.key}/top10/cue_gone" not in row]
    if row.get(FLIPS) == 0 or not missing:
        return
    source, other = _partners(place, clips, seed)
    rate = bench.backend.spectral.sample_rate

    def cued(carrier: int, from_clip: int) -> Cued:
        # Drawn alike, so that a cue lies in the same place of each carrier.
        generator = torch.Generator().manual_seed(seed * 1_000_003 + place)
        return bench.cue.put(sounds[carrier], sounds[from_clip], rate, generator)

    heard = cued(place, source)
    without = sounds[place] if isinstance(bench.cue, Beep) else cued(place, other).waveform
    decision, changed, elsewhere = bench.decisions([heard.waveform, without, cued(other, source).waveform])
    facts: Row = {"label": clip.label, FLIPS: float(decision != changed), OBEYS: float(decision == elsewhere)}
    table.add(*key, sound, facts)
    if decision == changed:
        return
    recording = listen(AudioClip(heard.waveform, rate, clip.path), bench.backend)
    for contender in missing:
        explanation = contender.explain(recording, bench.evaluator.target(decision), clip.path)
        values = _values(bench, contender, recording, explanation, heard.box, decision)
        table.add(
            *key,
            sound,
            {f"{contender.key}/{name}": value for name, value in values.items() if value == value},
        )


def _values(
    bench: _Bench,
    contender: Contender,
    recording: Recording,
    explanation: Explanation,
    box: Box,
    decision: int,
) -> dict[str, float]:
    """The numbers of one explanation; nan where an empty mask has none."""
    mask = explanation.mask.double()
    cells = cells_of([box], recording.clip.waveform.shape[-1], bench.backend, explanation.domain).double()
    empty = not bool(mask.max() > 0)
    top = top_masks(mask[None], [AREA])[0, 0] * (not empty)
    _, kept = bench.evaluator.kept_sounds(contender.method, recording, explanation, [AREA])
    rest = bench.decisions([recording.clip.waveform - kept])[0]
    reachable = min(float(cells.sum()), AREA * cells.numel())
    return {
        "soft/cue_mass": float("nan") if empty else float((mask * cells).sum() / mask.sum()),
        "soft/cue_hit": 0.0 if empty else float(pointing_accuracy(mask[None], cells[None].bool())),
        "top10/cue_found": float((top * cells).sum()) / reachable,
        "top10/cue_gone": 100.0 * (rest != decision),
    }


def _partners(place: int, clips: Sequence[Clip], seed: int) -> tuple[int, int]:
    """A clip that the cue comes from and one for comparison, of other labels where there are such."""
    generator = torch.Generator().manual_seed(seed * 7_919 + place)
    order = torch.randperm(len(clips), generator=generator).tolist()
    order = [index for index in order if index != place]
    order.sort(key=lambda index: clips[index].label == clips[place].label)
    source = order[0]
    rest = [index for index in order[1:] if clips[index].label != clips[source].label]
    return source, (rest or order[1:] or order)[0]


def planted_summary(rows: Sequence[Row], copies: Copies, seed: int = 0) -> dict[str, Any]:
    """Aggregate the rows of `measure_planted`.

    Returns:
        Name of a cue -> clips, flips and obeys (percent of the clips), methods (as `lmaczs.metrics.table.summarise`) and
        ranking.
    """
    return {
        name: _cue_summary([row for row in rows if row["condition"] == name], copies, seed)
        for name in copies.planted
    }


def _cue_summary(rows: Sequence[Row], copies: Copies, seed: int) -> dict[str, Any]:
    flips = [row for row in rows if row.get(FLIPS) == 1]
    methods: dict[str, Any] = {}
    ranked: dict[str, dict[str, Tensor]] = {key: {} for key in KEYS}
    for contender in copies.contenders:
        columns = [f"{contender.key}/{FORM[key]}/{key}" for key in KEYS]
        values = dict(zip(KEYS, as_columns(flips, columns).values(), strict=True))
        methods[contender.name] = summarise(values, seed)
        if not contender.is_control:
            for key in KEYS:
                ranked[key][contender.name] = values[key]
    return {
        "clips": len(rows),
        FLIPS: 100.0 * len(flips) / max(len(rows), 1),
        OBEYS: 100.0 * sum(row.get(OBEYS, 0) for row in rows) / max(len(rows), 1),
        "methods": methods,
        "ranking": {key: asdict(rank(values, METRICS[key].better, seed)) for key, values in ranked.items()},
    }


KEYS = tuple(entry.key for entry in entries_of("planted"))
FORM = {key: "soft" if key in ("cue_mass", "cue_hit") else "top10" for key in KEYS}


def planted_markdown(summary: Mapping[str, Any], title: str, domain: str, steps: int) -> str:
    """Everything for people.

    Args:
        summary: of `planted_summary`.
        title: what was measured on.
        domain: of the masks.
        steps: of fine-tuning.
    """
    lines = [
        f"# Planted truth: {title}",
        "",
        f"Copies of the classifier, fine-tuned for {steps} steps on other clips, decide by a cue that is known. Only "
        "clips count where the decision hangs on the cue: with another cue, or without it, the copy says something else. "
        f"{domain} masks. Methods with weights were trained for the original, not for the copies. In brackets: 95 % "
        "bootstrap intervals. **Bold** is the best of the methods: the paired interval of its difference to every other "
        "one excludes 0; where nobody is, *italics* are tied with the leader.",
        "",
        *_tables(summary),
        metric_notes(KEYS),
        *(f"- **{name}**: {meaning}." for name, meaning in CONTROLS.items() if _stands_in(summary, name)),
    ]
    return "\n".join(lines) + "\n"


def _tables(summary: Mapping[str, Any]) -> Iterator[str]:
    for name, found in summary.items():
        rankings = {key: ranking_of(one) for key, one in found["ranking"].items()}
        yield f"## {name}: {CUES[name].words}"
        yield ""
        yield (
            f"The cue decides in {found[FLIPS]:.0f} % of {found['clips']} clips. In another carrier it makes the same "
            f"decision in {found[OBEYS]:.0f} %."
        )
        yield ""
        yield markdown_table(found["methods"].items(), KEYS, rankings)


def _stands_in(summary: Mapping[str, Any], name: str) -> bool:
    return any(name in found["methods"] for found in summary.values())
