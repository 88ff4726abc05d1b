"""`evaluate`: score explainers and controls on a set of recordings.

    python -m lmaczs evaluate --clips clips.csv --where dataset=esc50 --where fold=4 \\
        --methods lmac-zs,grad-cam++ --mixtures 400 --out benchmarks/esc50-fold4

A run that was cut short goes on when it is started again. Exit code 1: some clips could not be scored.
"""

import argparse
import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs.cli.arguments import add_model_arguments
from lmaczs.cli.files import write_text_whole
from lmaczs.errors import LMACError

if TYPE_CHECKING:
    from lmaczs.clap.base import CLAPBackend
    from lmaczs.data.clip_table import ClipEntry
    from lmaczs.evaluation.explanations import Judge
    from lmaczs.evaluation.mixtures import MixturePlan
    from lmaczs.explainers.base import Explainer


def add_parser(subparsers: Any) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "evaluate", help="score explainers on a set of recordings", description=__doc__.split("\n")[0]
    )
    add_table_arguments(parser)
    parser.add_argument(
        "--methods", default="lmac-zs,grad-cam++", metavar="NAMES", help="with commas (lmac-zs,grad-cam++)"
    )
    parser.add_argument(
        "--releases",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="take the LMAC-ZS weights of method NAME from another release; repeatable",
    )
    parser.add_argument("--domain", default="stft", choices=("stft", "mel"), help="where masks apply (stft)")
    parser.add_argument("--limit", type=int, metavar="N", help="score about N clips, evenly from all labels")
    parser.add_argument(
        "--mixtures", type=int, default=0, metavar="N", help="also score N mixtures of two of the clips"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the limit, the random masks, the mixtures (0)"
    )
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --clips, --where and --out."""
    parser.add_argument(
        "--clips", required=True, metavar="CSV", help="table with the columns path (relative to it) and label"
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only lines with this value; repeatable",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")


def key_value_pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Split "key=value" texts.

    Raises:
        LMACError: a text has no "=" or nothing before it.
    """
    for text in texts:
        if not text.partition("=")[0] or "=" not in text:
            raise LMACError(f"{option} got '{text}': write it as NAME=VALUE.")
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def run(arguments: argparse.Namespace) -> int:
    """Score, write results.csv, mixtures.csv, mixture_results.csv, summary.json and summary.md.

    Returns:
        1 if a clip or mixture could not be scored, else 0.

    Raises:
        LMACError: the table, a method or an option cannot be used.
    """
    from lmaczs.data.clip_table import limit_by_label, select_clips
    from lmaczs.evaluation import explanations, mixtures, report
    from lmaczs.evaluation.rows import ResultRows

    where = key_value_pairs(arguments.where, "--where")
    selection = select_clips(arguments.clips, where)
    clips: Sequence[ClipEntry] = selection.clips
    if arguments.limit is not None:
        clips = limit_by_label(clips, arguments.limit, arguments.seed)
    if arguments.mixtures:  # a number that is too large is better said before the work than after it
        mixtures.plan_mixtures(clips, arguments.mixtures, arguments.seed)
    judge = _judge(arguments, selection.labels)
    methods, out = list(judge.explainers), Path(arguments.out)
    settings = _settings(judge, arguments.domain)

    rows = explanations.judge_clips(
        judge,
        clips,
        ResultRows(
            out / "results.csv",
            explanations.TEXT_COLUMNS,
            [*explanations.CLIP_NUMBERS, *explanations.score_columns(methods)],
            settings,
        ),
    )
    summary: dict[str, Any] = {"settings": settings, **report.explanation_summary(rows, methods)}
    failed = summary["n_failed"]
    mixed = None
    if arguments.mixtures:
        readable = [clip for clip, row in zip(clips, rows, strict=True) if "error" not in row]
        plans = mixtures.plan_mixtures(readable, arguments.mixtures, arguments.seed)
        _write_plans(plans, out / "mixtures.csv")
        drawn = hashlib.sha256("\n".join(clip.path for clip in readable).encode()).hexdigest()[:16]
        mixture_rows = mixtures.judge_mixtures(
            judge,
            plans,
            ResultRows(
                out / "mixture_results.csv",
                mixtures.TEXT_COLUMNS,
                mixtures.mixture_columns(methods),
                {**settings, "clips_to_draw_from": drawn},
            ),
        )
        mixed = report.mixture_summary(mixture_rows, methods)
        summary["mixtures"] = mixed
        failed += mixed["n_failed"]
    title = title_of(arguments.clips, where, len(clips), len(selection.clips))
    write_text_whole(out / "summary.json", json.dumps(_plain(summary), indent=2, ensure_ascii=False) + "\n")
    text = report.report_markdown(summary, mixed, title)
    write_text_whole(out / "summary.md", text)
    print(text)
    return 1 if failed else 0


def title_of(table: str, where: dict[str, str], used: int, available: int) -> str:
    """What was evaluated, for headings; names the table's file and not its folder."""
    chosen = ", ".join(f"{column} {value}" for column, value in where.items()) or Path(table).stem
    return chosen if used == available else f"{chosen} ({used} of {available} clips)"


def _judge(arguments: argparse.Namespace, labels: tuple[str, ...]) -> "Judge":
    from lmaczs.clap import load_backend
    from lmaczs.evaluation.explanations import Judge
    from lmaczs.evaluation.masks import CONTROLS

    names = [name.strip() for name in arguments.methods.split(",") if name.strip()]
    if len(set(names)) != len(names) or set(names) & set(CONTROLS):
        raise LMACError(
            f"--methods got '{arguments.methods}': name each method once; controls are always there."
        )
    releases = key_value_pairs(arguments.releases, "--releases")
    if unused := sorted(releases.keys() - set(names)):
        raise LMACError(f"--releases names '{unused[0]}', which is not among the methods {', '.join(names)}.")
    backend = load_backend(arguments.backend, arguments.device)
    explainers = {name: _explainer(name, releases.get(name), backend, arguments.domain) for name in names}
    return Judge(backend, explainers, labels, arguments.seed)


def _explainer(name: str, release: str | None, backend: "CLAPBackend", domain: str) -> "Explainer":
    if release is None:
        from lmaczs.explainers import load_explainer

        return load_explainer(name, backend, domain)  # type: ignore[arg-type]
    from lmaczs.explainers.lmac_zs.explainer import LMACZS

    return LMACZS.from_release(backend, domain, release)  # type: ignore[arg-type]


def _settings(judge: "Judge", domain: str) -> dict[str, Any]:
    """Whatever decides the numbers; rows of other settings are not mixed."""
    from lmaczs.evaluation.rows import fingerprint

    return {
        "backend": judge.backend.name,
        "backend_weights": fingerprint(judge.backend),
        "methods": {name: fingerprint(explainer) for name, explainer in judge.explainers.items()},
        "domain": domain,
        "labels": list(judge.labels),
        "seed": judge.seed,
    }


def _write_plans(plans: "Sequence[MixturePlan]", path: Path) -> None:
    """The list of mixtures, so that anyone can make them again."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("mixture", "path_a", "label_a", "path_b", "label_b", "snr_db"))
        writer.writerows(
            (plan.name, plan.a.path, plan.a.label, plan.b.path, plan.b.label, 0.0) for plan in plans
        )


def _plain(value: Any) -> Any:
    """JSON has no nan: null instead."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if value != value else value
