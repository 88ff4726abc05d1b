"""`sanity`: do explanations depend on the model and on the prompt at all?

    python -m lmaczs sanity --clips clips.csv --where dataset=esc50 --where fold=4 --limit 50 \\
        --methods lmac-zs,grad-cam++ --out results

A run that was cut short goes on when it is started again; with new weights of a method, only that method is
checked again. Exit code 1: some clips could not be read.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs.cli.arguments import add_model_arguments
from lmaczs.cli.evaluate import add_table_arguments, key_value_pairs, method_names, title_of
from lmaczs.cli.files import write_json_whole, write_text_whole
from lmaczs.errors import LMACError

if TYPE_CHECKING:
    from lmaczs.clap.base import CLAPBackend
    from lmaczs.explainers.base import Explainer
    from lmaczs.sanity.checks import Trial


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
        help="take the LMAC-ZS weights of method NAME from another release; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--checks", default="cascade,text,decoder,prompts", metavar="NAMES",
        help="with commas: cascade, text, decoder, prompts (all)",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="random models (5)")
    parser.add_argument("--unrelated", type=int, default=3, metavar="N", help="unrelated prompts a clip (3)")
    parser.add_argument("--limit", type=int, metavar="N", help="take about N clips, evenly from all labels")
    parser.add_argument("--seed", type=int, default=0, help="of the limit and of all that is drawn (0)")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, and write results.csv, summary.json, summary.md and pictures.

    Returns:
        1 if a clip could not be read, else 0.

    Raises:
        LMACError: the table, a method or an option cannot be used.
    """
    from lmaczs.data.clip_table import limit_by_label, select_clips
    from lmaczs.evaluation.rows import ResultRows, fingerprint
    from lmaczs.sanity import checks
    from lmaczs.sanity.figures import save_figures
    from lmaczs.sanity.report import report_markdown, sanity_summary

    where = key_value_pairs(arguments.where, "--where")
    selection = select_clips(arguments.clips, where)
    clips = selection.clips
    if arguments.limit is not None:
        clips = limit_by_label(clips, arguments.limit, arguments.seed)
    trial, out = _trial(arguments, selection.labels), Path(arguments.out)
    weights = {name: fingerprint(explainer) for name, explainer in trial.explainers.items()}
    settings = {
        "backend": trial.backend.name,
        "backend_weights": fingerprint(trial.backend),
        "domain": trial.domain,
        "labels": list(trial.labels),
        "clips": [clip.path for clip in clips],
        "seed": trial.seed,
    }
    results = ResultRows(
        out / "results.csv", checks.KEYS, checks.TEXT_COLUMNS, checks.columns(trial), settings,
        weights | dict.fromkeys(checks.UNTOUCHED, "control"),
    )  # fmt: skip
    if results.dropped:
        print(f"Checked again: {', '.join(results.dropped)}.")
    rows = checks.run_checks(trial, clips, results)
    summary = {"settings": settings, **sanity_summary(rows, trial)}
    summary["weights_restored"] = settings["backend_weights"] == fingerprint(trial.backend) and weights == {
        name: fingerprint(explainer) for name, explainer in trial.explainers.items()
    }
    title = title_of(arguments.clips, where, len(clips), len(selection.clips))
    write_json_whole(out / "summary.json", summary)
    save_figures(rows, summary, trial, clips, out)
    text = report_markdown(summary, trial, title)
    write_text_whole(out / "summary.md", text)
    print(text)
    return 1 if summary["n_failed"] else 0


def _trial(arguments: argparse.Namespace, labels: tuple[str, ...]) -> "Trial":
    from lmaczs.clap import load_backend
    from lmaczs.sanity.checks import Trial

    names = method_names(arguments.methods, least=1)
    checks = [name.strip() for name in arguments.checks.split(",") if name.strip()]
    releases = key_value_pairs(arguments.releases, "--releases")
    if unused := sorted(releases.keys() - set(names)):
        raise LMACError(f"--releases names '{unused[0]}', which is not among the methods {', '.join(names)}.")
    rest = {key: getattr(arguments, key) for key in ("domain", "seeds", "unrelated", "seed")}
    backend = load_backend(arguments.backend, arguments.device, weights=arguments.weights)
    explainers = {name: _explainer(name, releases.get(name), backend, arguments.domain) for name in names}
    return Trial(backend, explainers, labels, checks=tuple(checks), **rest)


def _explainer(name: str, release: str | None, backend: "CLAPBackend", domain: str) -> "Explainer":
    if release is None:
        from lmaczs.explainers import load_explainer

        return load_explainer(name, backend, domain)  # type: ignore[arg-type]
    from lmaczs.explainers.lmac_zs.explainer import LMACZS

    explainer = LMACZS.from_release(backend, release=release)
    if explainer.domain != domain:
        raise LMACError(
            f"The release of '{name}' makes {explainer.domain} masks, but --domain is {domain}: give the other one."
        )
    return explainer
