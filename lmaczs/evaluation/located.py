"""Located truth: scenes with sounds at known times. Is the event's sound kept, and nothing else?

Any table of strong labels will do: path, onset, offset and label, one row for each event. Where the sound of an event is
known by itself (column `part`, a file as long as the scene), the distance to it is measured, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.recording import Recording, listen
from lmaczs.data.tables import Row as TableRow
from lmaczs.data.tables import read_table
from lmaczs.errors import DatasetError, LMACError
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.masks import CONTROLS, IDEAL
from lmaczs.evaluation.provenance import sound_sha256
from lmaczs.evaluation.scores import Row, ScoreTable
from lmaczs.evaluation.summary import ranking_of
from lmaczs.metrics.events import frame_energy, frames_of, located
from lmaczs.metrics.localisation import si_sdr_improvement
from lmaczs.metrics.registry import METRICS, entries_of
from lmaczs.metrics.statistics import as_columns, rank
from lmaczs.metrics.table import markdown_table, metric_notes, summarise
from lmaczs.signal.audio import load_clip, resample
from lmaczs.types import AudioClip

COLUMNS = ("path", "onset", "offset", "label")
CONDITION = "events"
KEYS = tuple(entry.key for entry in entries_of("events"))


@dataclass(frozen=True)
class Event:
    """All that one label names in a scene.

    Attributes:
        label: of it.
        spans: (onset, offset) each, s.
        parts: files with its sound alone; empty where that is not known.
    """

    label: str
    spans: tuple[tuple[float, float], ...]
    parts: tuple[Path, ...]


@dataclass(frozen=True)
class Scene:
    """A recording with its events.

    Attributes:
        path: as the table has it.
        file: on this machine.
        events: one for each label.
    """

    path: str
    file: Path
    events: tuple[Event, ...]


def read_scenes(table: Path) -> tuple[Scene, ...]:
    """Read a table of strong labels.

    Args:
        table: with the columns path, onset, offset (s) and label, and perhaps part; files are relative to it.

    Raises:
        LMACError: it cannot be read, lacks a column, or a row is incomplete or has no times.
    """
    try:
        content = read_table(table, table.name)
    except (OSError, DatasetError) as error:
        raise LMACError(
            f"'{table.name}' cannot be read as a table of events: give a CSV file in UTF-8 with the columns "
            f"{', '.join(COLUMNS)}."
        ) from error
    if absent := content.lacking(COLUMNS):
        raise LMACError(f"'{table.name}' has no column '{absent}': {', '.join(COLUMNS)} are needed.")
    if not content.rows:
        raise LMACError(f"'{table.name}' names no event: add a row for each.")
    scenes: dict[str, dict[str, list[TableRow]]] = {}
    for row in content.rows:
        if not row["path"] or not row["label"]:
            raise LMACError(f"{row.place} is without path or label: complete it or remove it.")
        scenes.setdefault(row["path"], {}).setdefault(row["label"], []).append(row)
    return tuple(
        Scene(
            path,
            table.parent / path,
            tuple(_event(label, rows, table.parent) for label, rows in found.items()),
        )
        for path, found in scenes.items()
    )


def _event(label: str, rows: Sequence[TableRow], folder: Path) -> Event:
    spans = tuple(_span(row) for row in rows)
    parts = tuple(folder / row["part"] for row in rows if row["part"])
    return Event(label, spans, parts if len(parts) == len(rows) else ())


def _span(row: TableRow) -> tuple[float, float]:
    try:
        onset, offset = float(row["onset"]), float(row["offset"])
    except ValueError:
        onset, offset = 0.0, 0.0
    if not 0 <= onset < offset < float("inf"):
        raise LMACError(
            f"{row.place} has the onset '{row['onset'][:20]}' and the offset '{row['offset'][:20]}': give seconds, the "
            "offset behind the onset."
        )
    return onset, offset


def measure_located(
    evaluator: MaskEvaluator,
    everyone: Sequence[Contender],
    scenes: Sequence[Scene],
    table: ScoreTable,
    quiet: bool = False,
) -> list[Row]:
    """Explain the label of every event; what the table holds already is not done again.

    Args:
        evaluator: the classifier and all labels.
        everyone: methods and controls.
        scenes: with their events.
        table: gets the scores, one row for each event.
        quiet: no progress bar.

    Returns:
        All rows, by scene and event.
    """
    total = sum(len(scene.events) for scene in scenes) * len(everyone)
    with table, tqdm(total=total, desc="located truth", unit="mask", disable=quiet) as bar:
        for scene in scenes:
            _measure_scene(evaluator, everyone, scene, table)
            bar.update(len(scene.events) * len(everyone))
    return table.finish([_key(scene, event) for scene in scenes for event in scene.events])


def _key(scene: Scene, event: Event) -> tuple[str, str]:
    return CONDITION, f"{scene.path}#{event.label}"


def _measure_scene(
    evaluator: MaskEvaluator, everyone: Sequence[Contender], scene: Scene, table: ScoreTable
) -> None:
    sound = sound_sha256(scene.file, repr(scene.events))
    rows = {event.label: table.open_row(*_key(scene, event), sound) for event in scene.events}
    missing = {
        label: [one for one in everyone if f"{one.key}/soft/event_f1" not in row]
        for label, row in rows.items()
    }
    if not any(missing.values()):
        return
    rate = evaluator.backend.spectral.sample_rate
    try:
        waveform = resample(load_clip(scene.file), rate).waveform
        recording = listen(AudioClip(waveform, rate, scene.path), evaluator.backend)
        parts = {event.label: _sound_of(event, waveform, rate) for event in scene.events}
    except LMACError as error:
        for event in scene.events:
            table.add(*_key(scene, event), sound, {"label": event.label, "error": str(error)})
        return
    for event in scene.events:
        key = _key(scene, event)
        table.add(*key, sound, {"label": event.label})
        for contender in missing[event.label]:
            values = _values(evaluator, contender, recording, event, parts[event.label], key[1])
            table.add(*key, sound, {f"{contender.key}/soft/{name}": value for name, value in values.items()})


def _sound_of(event: Event, waveform: Tensor, rate: int) -> Tensor | None:
    """(samples,) of the event alone, where it is known."""
    if not event.parts:
        return None
    total = torch.zeros_like(waveform)
    for file in event.parts:
        part = resample(load_clip(file), rate).waveform[: len(total)]
        total[: len(part)] += part
    return total


def _values(
    evaluator: MaskEvaluator,
    contender: Contender,
    recording: Recording,
    event: Event,
    part: Tensor | None,
    name: str,
) -> dict[str, float]:
    """The numbers of one explanation; without those that it has not."""
    waveform, rate = recording.clip.waveform, recording.clip.sample_rate
    if contender.name == IDEAL and part is None:
        return {}
    target = evaluator.target(evaluator.labels.index(event.label))
    two = None if part is None else (part, waveform - part)
    explanation = contender.explain(recording, target, name, two)
    (kept,) = evaluator.kept_sounds(contender.method, recording, explanation)
    energy = frame_energy(kept, rate)
    values = located(energy, frames_of(list(event.spans), len(energy)))
    if part is not None:
        values["event_si_sdr_i"] = float(si_sdr_improvement(kept[None], waveform[None], part[None]))
    return {key: value for key, value in values.items() if value == value}


def located_summary(rows: Sequence[Row], everyone: Sequence[Contender], seed: int = 0) -> dict[str, Any]:
    """Aggregate the rows of `measure_located`.

    Returns:
        events, failed, methods (as `lmaczs.metrics.table.summarise`) and ranking.
    """
    scored = [row for row in rows if "error" not in row]
    methods: dict[str, Any] = {}
    ranked: dict[str, dict[str, Tensor]] = {key: {} for key in KEYS}
    for contender in everyone:
        columns = [f"{contender.key}/soft/{key}" for key in KEYS]
        values = dict(zip(KEYS, as_columns(scored, columns).values(), strict=True))
        if all(bool(value.isnan().all()) for value in values.values()):
            continue
        methods[contender.name] = summarise(values, seed)
        if not contender.is_control:
            for key in KEYS:
                ranked[key][contender.name] = values[key]
    ranking = {key: asdict(rank(values, METRICS[key].better, seed)) for key, values in ranked.items()}
    return {"events": len(rows), "failed": len(rows) - len(scored), "methods": methods, "ranking": ranking}


def located_markdown(summary: Mapping[str, Any], title: str, scenes: int, domain: str) -> str:
    """Everything for people."""
    return "\n".join(_lines(summary, title, scenes, domain)) + "\n"


def _lines(summary: Mapping[str, Any], title: str, scenes: int, domain: str) -> Iterator[str]:
    rankings = {key: ranking_of(one) for key, one in summary["ranking"].items()}
    yield f"# Located truth: {title}"
    yield ""
    yield (
        f"{summary['events']} events in {scenes} scenes, {summary['failed']} not readable. Each event's label is "
        f"explained among all labels; {domain} masks as they come, judged by the sound that they keep. In brackets: 95 % "
        "bootstrap intervals over events. **Bold** is the best of the methods: the paired interval of its difference to "
        "every other one excludes 0; where nobody is, *italics* are tied with the leader. Controls are not ranked."
    )
    yield ""
    yield markdown_table(summary["methods"].items(), KEYS, rankings)
    yield metric_notes(KEYS)
    for name, meaning in CONTROLS.items():
        if name in summary["methods"]:
            yield f"- **{name}**: {meaning}."
