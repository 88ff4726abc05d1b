"""`evaluate`: score explainers and controls on a set of recordings.

    python -m lmaczs evaluate --clips clips.csv --where dataset=esc50 --where fold=4 --limit 200 \\
        --methods lmac-zs,grad-cam++ --domains stft,mel --contaminate none,white --mixtures 200 --out results
    python -m lmaczs evaluate --events events.csv --methods lmac-zs,grad-cam++ --out results

A run that was cut short goes on when it is started again; with new weights of a method, only that method is
scored again. Exit code 1: some clips could not be scored.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs.cli import located
from lmaczs.cli.arguments import add_model_arguments
from lmaczs.cli.clip_arguments import (
    add_table_arguments,
    chosen_names,
    key_value_pairs,
    method_names,
    named_releases,
    split_names,
    title_of,
)
from lmaczs.cli.files import write_json_whole, write_text_whole
from lmaczs.errors import LMACError

if TYPE_CHECKING:
    from lmaczs.data.clip_table import ClipSelection
    from lmaczs.data.clips import Clip
    from lmaczs.evaluation.clips import ClipEvaluation
    from lmaczs.evaluation.conditions import Contamination
    from lmaczs.evaluation.scores import Row, ScoreTable
    from lmaczs.types import MaskDomain

CONDITION_NAMES = ("none", "white", "same", "speech")


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "evaluate", help="score explainers on a set of recordings", description=__doc__.split("\n")[0]
    )
    add_table_arguments(parser, needed=False)
    located.add_arguments(parser)
    parser.add_argument(
        "--methods", default="lmac-zs,grad-cam++", metavar="NAMES", help="with commas (lmac-zs,grad-cam++)"
    )
    parser.add_argument(
        "--domains", default="stft", metavar="NAMES", help="where masks apply: stft, mel or stft,mel (stft)"
    )
    parser.add_argument(
        "--contaminate", default="none", metavar="NAMES", help="with commas: none, white, same, speech (none)"
    )
    parser.add_argument(
        "--snr", type=float, default=3.0, metavar="DB", help="of clip over contamination, dB (3)"
    )
    parser.add_argument(
        "--speech", metavar="CSV", help="table or folder of recordings for --contaminate speech"
    )
    parser.add_argument(
        "--speech-where", action="append", default=[], metavar="COLUMN=VALUE",
        help="only lines of the --speech table with this value; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--releases", action="append", default=[], metavar="NAME=FOLDER",
        help="take the weights of method NAME from another release; repeatable",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, metavar="N", help="score about N clips, evenly from all labels")
    parser.add_argument(
        "--slow-limit", type=int, metavar="N",
        help="score methods that need more than 60 encoder passes a window on N of them only, and on N / 2 mixtures",
    )  # fmt: skip
    parser.add_argument(
        "--mixtures", type=int, default=0, metavar="N", help="also score N mixtures of two of the clips"
    )
    parser.add_argument(
        "--curve", metavar="PERCENT", help="points of the deletion and insertion curves (5,10,20,40)"
    )
    parser.add_argument(
        "--again", default="", metavar="NAMES", help="methods to score again although nothing differs"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the limit, the random masks, the mixtures, the noise (0)"
    )
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Score, and write the scores, summary.json, summary.md and pictures.

    With contamination also contamination.csv, with mixtures also mixtures.csv.

    Returns:
        1 if a clip or mixture could not be scored, else 0.

    Raises:
        LMACError: the table, a method or an option cannot be used.
    """
    if (arguments.clips is None) == (arguments.events is None):
        raise LMACError(
            "evaluate needs one table: name labelled recordings with --clips, or events with --events."
        )
    if arguments.events is not None:
        return located.run(arguments)
    from lmaczs.data.clip_table import limit_by_label, select_clips
    from lmaczs.evaluation import mixtures
    from lmaczs.evaluation.clips import evaluate_clips

    where = key_value_pairs(arguments.where, "--where")
    selection = select_clips(arguments.clips, where)
    clips: Sequence[Clip] = selection.clips
    if arguments.limit is not None:
        clips = limit_by_label(clips, arguments.limit, arguments.seed)
    # A number that is too large is better said before the work than after it.
    if arguments.mixtures:
        mixtures.plan_mixtures(clips, arguments.mixtures, arguments.seed)
    conditions = chosen_names(arguments.contaminate, "--contaminate", CONDITION_NAMES)
    domains: Any = chosen_names(arguments.domains, "--domains", ("stft", "mel"))
    contamination = _contamination(arguments, conditions, selection)
    # Drawn before the models are loaded: it also finds clips that nothing fits.
    contaminants = contamination.table(conditions, clips)
    evaluation = _evaluation(arguments, domains, selection, len(clips), contamination)
    out = Path(arguments.out)
    table = _open_table(arguments, evaluation, selection, conditions)
    if conditions != ("none",):
        write_text_whole(out / "contamination.csv", contaminants)
    rows = evaluate_clips(evaluation, clips, table, conditions)
    mixed = _evaluate_mixtures(arguments, evaluation, clips, rows, table) if arguments.mixtures else None
    title = title_of(arguments.clips, where, len(clips), len(selection.clips))
    return _write_results(arguments, evaluation, conditions, domains, rows, mixed, title)


def _write_results(
    arguments: argparse.Namespace,
    evaluation: "ClipEvaluation",
    conditions: Sequence[str],
    domains: "Sequence[MaskDomain]",
    rows: "Sequence[Row]",
    mixed: "Sequence[Row] | None",
    title: str,
) -> int:
    """Aggregate, write, print; the exit code."""
    from lmaczs.evaluation.figures import save_figures
    from lmaczs.evaluation.report import report_markdown
    from lmaczs.evaluation.summary import evaluation_summary, mixture_summary

    out, device = Path(arguments.out), evaluation.evaluator.backend.mel_filters.device.type
    summary = evaluation_summary(rows, evaluation, conditions, domains, arguments.seed)
    failed = summary["n_failed"]
    if mixed is not None:
        summary["mixtures"] = mixture_summary(mixed, evaluation, domains, arguments.seed)
        failed += summary["mixtures"]["n_failed"]
    # More digits than anyone reads.
    write_json_whole(out / "summary.json", summary, digits=6)
    save_figures(rows, summary, evaluation, out, arguments.snr)
    text = report_markdown(summary, title, arguments.snr, device)
    write_text_whole(out / "summary.md", text)
    print(text)
    return 1 if failed else 0


def _contamination(
    arguments: argparse.Namespace, conditions: Sequence[str], selection: "ClipSelection"
) -> "Contamination":
    from lmaczs.evaluation.conditions import Contamination, speech_clips

    speech: tuple[Clip, ...] = ()
    if "speech" in conditions:
        if not arguments.speech:
            raise LMACError("--contaminate speech needs recordings of speech: name them with --speech.")
        speech = speech_clips(arguments.speech, key_value_pairs(arguments.speech_where, "--speech-where"))
    if not -60.0 <= arguments.snr <= 60.0:
        raise LMACError(f"--snr got {arguments.snr:g} dB: give a number between -60 and 60.")
    return Contamination(arguments.snr, arguments.seed, selection.clips, speech)


def _evaluation(
    arguments: argparse.Namespace,
    domains: "Sequence[MaskDomain]",
    selection: "ClipSelection",
    count: int,
    contamination: "Contamination",
) -> "ClipEvaluation":
    from lmaczs.clap import load_backend
    from lmaczs.data.clip_table import limit_by_label
    from lmaczs.evaluation.clips import ClipEvaluation
    from lmaczs.evaluation.contenders import contenders, load_methods
    from lmaczs.evaluation.evaluator import MaskEvaluator

    names = method_names(arguments.methods)
    releases = named_releases(arguments.releases, names)
    shares = _shares(arguments.curve)
    # From all clips, as those of --limit are: of two runs with the same seed, the larger one has the smaller one's.
    few = (
        limit_by_label(selection.clips, arguments.slow_limit, arguments.seed)
        if arguments.slow_limit is not None
        else selection.clips
    )
    backend = load_backend(arguments.backend, arguments.device, weights=arguments.weights)
    methods = [
        (name, method)
        for name in names
        for method in load_methods(name, releases.get(name, ()), backend, domains)
    ]
    everyone = contenders(methods, domains, backend, arguments.seed)
    limited = frozenset(clip.path for clip in few)
    limits = {c.name: limited for c in everyone if c.slow} if len(few) < count else {}
    return ClipEvaluation(MaskEvaluator(backend, selection.labels, shares), everyone, contamination, limits)


def _shares(percent: str | None) -> tuple[float, ...]:
    """Points of the curves, as shares of the cells."""
    from lmaczs.metrics.curves import SHARES

    if percent is None:
        return SHARES
    try:
        shares = tuple(float(text) / 100 for text in percent.split(","))
    except ValueError:
        shares = ()
    edges = (0.0, *shares, 1.0)
    if not shares or any(not low < high for low, high in zip(edges, edges[1:], strict=False)):
        raise LMACError(
            f"--curve got '{percent}': give rising numbers between 0 and 100, such as 5,10,20,40."
        )
    return shares


def _open_table(
    arguments: argparse.Namespace,
    evaluation: "ClipEvaluation",
    selection: "ClipSelection",
    conditions: Sequence[str],
) -> "ScoreTable":
    """The scores of earlier runs with the same settings."""
    from lmaczs.evaluation.provenance import common_settings, method_sha256
    from lmaczs.evaluation.scores import ScoreTable

    evaluator = evaluation.evaluator
    settings = common_settings(evaluator.backend, selection.labels, selection.clips)
    settings |= {"seed": arguments.seed, "shares": list(evaluator.shares)}
    settings |= evaluation.contamination.settings(conditions)
    again = set(split_names(arguments.again))
    if unknown := sorted(again - {contender.name for contender in evaluation.contenders}):
        raise LMACError(f"--again names '{unknown[0]}', which is not among the methods and controls.")
    parts = {contender.key: method_sha256(contender.method) for contender in evaluation.contenders}
    redone = [contender.key for contender in evaluation.contenders if contender.name in again]
    table = ScoreTable(Path(arguments.out), settings, parts, redone)
    if table.damaged:
        print(f"{table.damaged} damaged files of scores were left out; what they held is scored again.")
    if table.dropped:
        print(f"Scored again: {', '.join(table.dropped)}.")
    return table


def _evaluate_mixtures(
    arguments: argparse.Namespace,
    evaluation: "ClipEvaluation",
    clips: "Sequence[Clip]",
    rows: "Sequence[Row]",
    table: "ScoreTable",
) -> "list[Row]":
    """Draw the mixtures from the clips that could be read, and score them."""
    from lmaczs.evaluation import mixtures

    heard = {row["clip"] for row in rows if "predicted" in row}
    readable = [clip for clip in clips if clip.path in heard]
    plans = mixtures.plan_mixtures(readable, arguments.mixtures, arguments.seed)
    write_text_whole(Path(arguments.out) / "mixtures.csv", mixtures.mixture_list(plans))
    # Each is explained twice.
    share = max(arguments.slow_limit // 2, 1) if evaluation.limits else len(plans)
    few = frozenset(plan.name for plan in plans[:share])
    limits = {name: few for name in evaluation.limits} if len(few) < len(plans) else {}
    return mixtures.evaluate_mixtures(replace(evaluation, limits=limits), plans, table)
