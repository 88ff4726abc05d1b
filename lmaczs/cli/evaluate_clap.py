"""`evaluate-clap`: score the zero-shot classifier on a labelled set.

    python -m lmaczs evaluate-clap --clips clips.csv --where dataset=esc50 --where fold=4 --out
    benchmarks/clap

Exit code 1: some clips could not be read.
"""

import argparse
from pathlib import Path
from typing import Any

from lmaczs.cli.arguments import add_model_arguments
from lmaczs.cli.clip_arguments import add_table_arguments, key_value_pairs, title_of
from lmaczs.cli.files import write_json_whole, write_text_whole


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "evaluate-clap",
        help="score the zero-shot classifier on a labelled set",
        description=__doc__.split("\n")[0],
    )
    add_table_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Classify, write the decisions, confusion.png, summary.json and summary.md.

    Returns:
        1 if a clip could not be read, else 0.

    Raises:
        LMACError: the table or an option cannot be used.
    """
    from lmaczs.clap import load_backend
    from lmaczs.data.clip_table import select_clips
    from lmaczs.evaluation import zero_shot
    from lmaczs.evaluation.confusion import save_confusion_picture
    from lmaczs.evaluation.evaluator import MaskEvaluator
    from lmaczs.evaluation.provenance import common_settings
    from lmaczs.evaluation.scores import ScoreTable

    where = key_value_pairs(arguments.where, "--where")
    selection = select_clips(arguments.clips, where)
    backend = load_backend(arguments.backend, arguments.device, weights=arguments.weights)
    out = Path(arguments.out)
    table = ScoreTable(out, common_settings(backend, selection.labels, selection.clips))
    evaluator = MaskEvaluator(backend, selection.labels)
    rows = zero_shot.evaluate_zero_shot(evaluator, selection.clips, table)
    summary = zero_shot.zero_shot_summary(rows, selection.labels)
    title = title_of(arguments.clips, where, len(rows), len(rows))
    counts = zero_shot.confusion_counts(rows, selection.labels)
    heading = f"Zero-shot classification: {title}, {summary['n_clips']} clips"
    if summary["n_clips"]:
        heading += f", top-1 {summary['top1_percent']:.1f} %"
    save_confusion_picture(counts, selection.labels, out / "confusion.png", heading)
    write_json_whole(out / "summary.json", summary)
    text = zero_shot.zero_shot_markdown(summary, title)
    write_text_whole(out / "summary.md", text)
    print(text)
    return 1 if summary["n_failed"] else 0
