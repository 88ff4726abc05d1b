"""Measure whether explanations of long recordings point to the right place: three sounds one after the other.

    python benchmarks/long_recordings.py --clips clips.csv --where dataset=esc50 --where fold=4
    python benchmarks/long_recordings.py --clips clips.csv --sequences 6 --methods grad-cam++ --out out/long   # a look

Each sequence holds three clips of different labels at the same level, with pauses between them. Every method explains the
prompt of each of the three; measured is the share of the mask, and of the energy that it keeps, in the third where that
sound is heard. Writes summary.md and summary.json; scores are kept in --work, and a run that was cut short goes on.
Methods that need more than 60 encoder passes for a window take part in fewer sequences (--slow).
"""

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap import load_backend
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import Recording, listen
from lmaczs.cli.clip_arguments import key_value_pairs, split_names, title_of
from lmaczs.cli.files import write_json_whole, write_text_whole
from lmaczs.data.clip_table import select_clips
from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError
from lmaczs.evaluation.contenders import Contender, contenders, load_methods
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.masks import CONTROLS, IDEAL
from lmaczs.evaluation.provenance import common_settings, method_sha256, sound_sha256
from lmaczs.evaluation.scores import Row, ScoreTable
from lmaczs.evaluation.summary import ranking_of
from lmaczs.explainers import METHODS
from lmaczs.hearing.explaining import audible
from lmaczs.metrics.registry import METRICS
from lmaczs.metrics.statistics import as_columns, rank
from lmaczs.metrics.table import markdown_table, metric_notes, summarise
from lmaczs.signal.audio import load_clip, resample
from lmaczs.signal.mixing import active_power, white_noise
from lmaczs.signal.spectral import power_of, stft
from lmaczs.types import AudioClip, Explanation

ROOT = Path(__file__).resolve().parents[1]
CONDITION = "sequence"
SOUNDS = 3
# Power of each sound where it sounds, dB re full scale; and of the pauses below that.
LEVEL_DB, PAUSE_DB = -26.0, -60.0
# Shortest and longest pause, s.
PAUSES_S = (1.0, 3.0)
KEYS = ("mass_in_place", "energy_in_place", "absent")


@dataclass(frozen=True)
class SequencePlan:
    """Three sounds one after the other.

    Attributes:
        name: number of the sequence, as text.
        clips: of different labels, in order.
        pauses_s: silence between them, s.
    """

    name: str
    clips: tuple[Clip, ...]
    pauses_s: tuple[float, ...]


def plan_sequences(clips: Sequence[Clip], count: int, seed: int) -> list[SequencePlan]:
    """Draw sequences of clips with different labels; every label is as likely as any other. More begin with the fewer.

    Raises:
        LMACError: there are fewer than three labels, or no sequence is asked for.
    """
    by_label: dict[str, list[Clip]] = {}
    for clip in clips:
        by_label.setdefault(clip.label, []).append(clip)
    if len(by_label) < SOUNDS or count < 1:
        raise LMACError(
            f"{count} sequences of clips with {len(by_label)} labels were asked for: ask for at least 1, of at least "
            f"{SOUNDS} labels."
        )
    plans = []
    for index in range(count):
        generator = random.Random(f"{seed} {index}")
        drawn = tuple(
            generator.choice(by_label[label]) for label in generator.sample(sorted(by_label), SOUNDS)
        )
        pauses = tuple(round(generator.uniform(*PAUSES_S), 2) for _ in drawn[1:])
        plans.append(SequencePlan(f"{index:03d}", drawn, pauses))
    return plans


def build_sequence(plan: SequencePlan, sample_rate: int) -> tuple[Tensor, list[int]]:
    """Load the sounds and put them one after the other.

    Args:
        plan: what to put together.
        sample_rate: wanted, Hz.

    Returns:
        (samples,), and the samples where one third ends and the next one begins: the middles of the pauses.

    Raises:
        LMACError: a clip cannot be used.
    """
    noise = 10 ** ((LEVEL_DB + PAUSE_DB) / 20)
    parts: list[Tensor] = []
    borders: list[int] = []
    for place, clip in enumerate(plan.clips):
        waveform = resample(load_clip(clip.file), sample_rate).waveform
        level = 10 ** (LEVEL_DB / 20) / active_power(waveform) ** 0.5
        if place:
            length = round(plan.pauses_s[place - 1] * sample_rate)
            borders.append(sum(map(len, parts)) + length // 2)
            parts.append(noise * white_noise(length, place))
        parts.append(waveform * level)
    return torch.cat(parts), borders


def shares_in_place(
    explanation: Explanation, recording: Recording, borders: Sequence[int], place: int, backend: CLAPBackend
) -> dict[str, float]:
    """How much of a mask, and of the energy that it keeps, lies in one part of a recording.

    Args:
        explanation: of the recording.
        recording: at the backend's rate.
        borders: samples where a part ends and the next one begins, rising.
        place: of the part, from 0.
        backend: whose grid the mask lies on.

    Returns:
        "mass_in_place" and "energy_in_place", in [0, 1], without those that an empty mask has not; "absent", 100 or 0.
    """
    hop = backend.spectral.hop_length
    edges = [0, *(round(border / hop) for border in borders), explanation.mask.shape[1]]
    here = slice(edges[place], edges[place + 1])
    gain = audible(explanation.mask, explanation.domain, backend).double()
    energy = gain.square() * power_of(stft(recording.clip.waveform[None], backend.spectral))[0]
    found = {"absent": 100.0 * (explanation.evidence == "absent")}
    for key, cells in (("mass_in_place", explanation.mask.double()), ("energy_in_place", energy)):
        if float(cells.sum()) > 0:
            found[key] = float(cells[:, here].sum() / cells.sum())
    return found


def score_sequences(
    evaluator: MaskEvaluator,
    everyone: Sequence[Contender],
    plans: Sequence[SequencePlan],
    slow: int,
    table: ScoreTable,
) -> list[Row]:
    """Explain all prompts of all sequences that are not explained yet.

    Args:
        evaluator: the classifier and its labels.
        everyone: methods and controls.
        plans: the sequences.
        slow: sequences for slow methods.
        table: gets the scores.

    Returns:
        One row for each sound of each sequence.
    """
    wanted = [
        (plan, [c for c in everyone if number < slow or not c.slow]) for number, plan in enumerate(plans)
    ]
    with table, tqdm(total=sum(SOUNDS * len(takers) for _, takers in wanted), unit="mask") as bar:
        for plan, takers in wanted:
            _score_sequence(evaluator, takers, plan, table)
            bar.update(SOUNDS * len(takers))
    return table.finish([_key(plan, place) for plan in plans for place in range(SOUNDS)])


def _key(plan: SequencePlan, place: int) -> tuple[str, str]:
    return CONDITION, f"{plan.name}/{place}"


def _score_sequence(
    evaluator: MaskEvaluator, takers: Sequence[Contender], plan: SequencePlan, table: ScoreTable
) -> None:
    backend, rate = evaluator.backend, evaluator.backend.spectral.sample_rate
    sound = sound_sha256(*(clip.file for clip in plan.clips), repr(plan.pauses_s))
    rows = [table.open_row(*_key(plan, place), sound) for place in range(SOUNDS)]
    missing = [c for c in takers if any(f"{c.key}/soft/absent" not in row for row in rows)]
    if not missing:
        return
    waveform, borders = build_sequence(plan, rate)
    recording = listen(AudioClip(waveform, rate, plan.name), backend)
    for contender in missing:
        for place, clip in enumerate(plan.clips):
            target = evaluator.target(evaluator.labels.index(clip.label))
            explanation = contender.explain(recording, target, plan.name)
            shares = shares_in_place(explanation, recording, borders, place, backend)
            values: Row = {f"{contender.key}/soft/{key}": value for key, value in shares.items()}
            table.add(*_key(plan, place), sound, values | {"label": clip.label})


def summary_of(
    rows: Sequence[Row], everyone: Sequence[Contender], sequences: int, seed: int
) -> dict[str, Any]:
    """Means over sequences, each being the mean of its three prompts, with intervals; and who is best.

    Methods that took part in fewer sequences are not ranked.
    """
    methods: dict[str, Any] = {}
    ranked: dict[str, dict[str, Tensor]] = {key: {} for key in KEYS if METRICS[key].better}
    for contender in everyone:
        columns = [f"{contender.key}/soft/{key}" for key in KEYS]
        values = as_columns(rows, columns).values()
        means = {
            key: value.view(sequences, SOUNDS).nanmean(1) for key, value in zip(KEYS, values, strict=True)
        }
        methods[contender.name] = summarise(means, seed)
        if not contender.is_control and not contender.slow:
            for key in ranked:
                ranked[key][contender.name] = means[key]
    ranking = {key: asdict(rank(values, METRICS[key].better, seed)) for key, values in ranked.items()}
    return {"sequences": sequences, "methods": methods, "ranking": ranking}


def report(summary: dict[str, Any], title: str, slow: int) -> str:
    """The Markdown page."""
    rankings = {key: ranking_of(found) for key, found in summary["ranking"].items()}
    lines = [
        f"# Long recordings: {title}",
        "",
        f"{summary['sequences']} sequences of three sounds of different labels at the same level, pauses of "
        f"{PAUSES_S[0]:g} to {PAUSES_S[1]:g} s between them. Each sound's prompt is explained; a value is the mean of "
        "the three. In brackets: 95 % bootstrap intervals over sequences. **Bold** is the best: the paired interval of "
        "its difference to every other one excludes 0; where nobody is, *italics* are tied with the leader. Methods of "
        f"more than 60 encoder passes a window took part in at most {slow} sequences and are not ranked, and neither are "
        "controls. A mask that keeps nothing has no place: it counts under the last column alone.",
        "",
        markdown_table(summary["methods"].items(), KEYS, rankings),
        metric_notes(KEYS),
        *(f"- **{name}**: {meaning}." for name, meaning in CONTROLS.items() if name in summary["methods"]),
    ]
    return "\n".join(lines) + "\n"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", required=True, help="CSV with the columns path and label")
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE")
    parser.add_argument("--backend", default="compact-2")
    parser.add_argument("--device")
    parser.add_argument("--domain", default="stft", choices=("stft", "mel"))
    parser.add_argument("--methods", default=",".join(METHODS), help="with commas (all that can be loaded)")
    parser.add_argument("--sequences", type=int, default=60)
    parser.add_argument("--slow", type=int, default=10, help="sequences for slow methods (10)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "long_recordings")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "out" / "long_recordings", help="folder of the scores"
    )
    return parser.parse_args(arguments)


def main(flags: Sequence[str] | None = None) -> None:
    """Measure, write summary.json and summary.md."""
    arguments = parse(flags)
    try:
        where = key_value_pairs(arguments.where, "--where")
        selection = select_clips(arguments.clips, where)
        plans = plan_sequences(selection.clips, arguments.sequences, arguments.seed)
        backend = load_backend(arguments.backend, arguments.device)
        methods = []
        for name in split_names(arguments.methods):
            try:
                loaded = load_methods(name, (), backend, (arguments.domain,))
                loaded[0].check_prompts(MaskEvaluator(backend, selection.labels).prompts)
                methods += [(name, method) for method in loaded]
            except LMACError as error:
                print(f"left out: {error}", file=sys.stderr)
        found = contenders(methods, (arguments.domain,), backend, arguments.seed)
        everyone = [contender for contender in found if contender.name != IDEAL]
        settings = common_settings(backend, selection.labels, selection.clips) | {"seed": arguments.seed}
        table = ScoreTable(arguments.work, settings, {c.key: method_sha256(c.method) for c in everyone})
        evaluator = MaskEvaluator(backend, selection.labels)
        rows = score_sequences(evaluator, everyone, plans, arguments.slow, table)
    except LMACError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    summary = summary_of(rows, everyone, len(plans), arguments.seed)
    used = title_of(arguments.clips, where, len(selection.clips), len(selection.clips))
    write_json_whole(arguments.out / "summary.json", summary, digits=6)
    text = report(summary, used, arguments.slow)
    write_text_whole(arguments.out / "summary.md", text)
    print(text)


if __name__ == "__main__":
    main()
