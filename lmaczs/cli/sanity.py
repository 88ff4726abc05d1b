"""`sanity`: do explanations depend on the model and on the prompt at all?

    python -m lmaczs sanity --clips clips.csv --where dataset=esc50 --where fold=4 --limit 50 \\
        --methods lmac-zs,grad-cam++ --out results
    python -m lmaczs sanity --planted --plant-on recordings --clips clips.csv --where dataset=esc50 --where fold=4 \\
        --methods lmac-any,grad-cam++ --out planted

A run that was cut short goes on when it is started again; with new weights of a method, only that method is
checked again. Exit code 1: some clips could not be read.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs.cli.arguments import add_model_arguments
from lmaczs.cli.clip_arguments import (
    add_table_arguments,
    key_value_pairs,
    split_names,
    title_of,
)
from lmaczs.cli.files import write_json_whole, write_text_whole
from lmaczs.cli.planted import add_planted_arguments, contenders_of, run_planted

if TYPE_CHECKING:
    from lmaczs.sanity.plan import SanityPlan


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "sanity",
        help="check that explanations depend on the model and on the prompt",
        description=__doc__.split("\n")[0],
    )
    add_table_arguments(parser)
    parser.add_argument(
        "--methods", default="lmac-zs,grad-cam++", metavar="NAMES", help="with commas (lmac-zs,grad-cam++)"
    )
    parser.add_argument("--domain", default="stft", choices=("stft", "mel"), help="where masks apply (stft)")
    parser.add_argument(
        "--releases", action="append", default=[], metavar="NAME=FOLDER",
        help="take the weights of method NAME from another release; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--checks", default="cascade,text,decoder,prompts", metavar="NAMES",
        help="with commas: cascade, text, decoder, prompts (all)",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="random models (5)")
    parser.add_argument("--unrelated", type=int, default=3, metavar="N", help="unrelated prompts a clip (3)")
    parser.add_argument("--limit", type=int, metavar="N", help="take about N clips, evenly from all labels")
    parser.add_argument("--seed", type=int, default=0, help="of the limit and of all that is drawn (0)")
    add_planted_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, and write the answers, summary.json, summary.md and pictures.

    Returns:
        1 if a clip could not be read, else 0.

    Raises:
        LMACError: the table, a method or an option cannot be used.
    """
    if arguments.planted:
        return run_planted(arguments)
    from lmaczs.data.clip_table import limit_by_label, select_clips
    from lmaczs.evaluation.provenance import common_settings, method_sha256
    from lmaczs.evaluation.scores import ScoreTable
    from lmaczs.sanity import checks
    from lmaczs.sanity.figures import save_figures
    from lmaczs.sanity.report import report_markdown, sanity_summary

    where = key_value_pairs(arguments.where, "--where")
    selection = select_clips(arguments.clips, where)
    clips = selection.clips
    if arguments.limit is not None:
        clips = limit_by_label(clips, arguments.limit, arguments.seed)
    plan, out = _plan(arguments, selection.labels), Path(arguments.out)

    def made_by() -> tuple[dict[str, Any], dict[str, str]]:
        settings = common_settings(plan.evaluator.backend, plan.evaluator.labels, clips)
        settings |= {"domain": plan.domain, "seed": plan.seed}
        return settings, {contender.key: method_sha256(contender.method) for contender in plan.contenders}

    before = made_by()
    table = ScoreTable(out, *before)
    if table.dropped:
        print(f"Checked again: {', '.join(table.dropped)}.")
    rows = checks.run_checks(plan, clips, table)
    summary = {**sanity_summary(rows, plan), "weights_restored": before == made_by()}
    title = title_of(arguments.clips, where, len(clips), len(selection.clips))
    write_json_whole(out / "summary.json", summary)
    save_figures(rows, summary, plan, clips, out)
    text = report_markdown(summary, plan, title)
    write_text_whole(out / "summary.md", text)
    print(text)
    return 1 if summary["n_failed"] else 0


def _plan(arguments: argparse.Namespace, labels: tuple[str, ...]) -> "SanityPlan":
    from lmaczs.evaluation.evaluator import MaskEvaluator
    from lmaczs.sanity.plan import SanityPlan

    everyone, backend = contenders_of(arguments)
    return SanityPlan(
        MaskEvaluator(backend, labels),
        everyone,
        checks=tuple(split_names(arguments.checks)),
        seeds=arguments.seeds,
        unrelated=arguments.unrelated,
        seed=arguments.seed,
    )
