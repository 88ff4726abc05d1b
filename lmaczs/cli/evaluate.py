"""`evaluate`: score explainers and controls on a set of recordings.

    python -m lmaczs evaluate --clips clips.csv --where dataset=esc50 --where fold=4 --limit 200 \\
        --methods lmac-zs,grad-cam++ --domains stft,mel --contaminate none,white --mixtures 200 --out results

A run that was cut short goes on when it is started again; with new weights of a method, only that method is
scored again. Exit code 1: some clips could not be scored.
"""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs.cli.arguments import add_model_arguments
from lmaczs.cli.files import write_json_whole, write_text_whole
from lmaczs.errors import LMACError

if TYPE_CHECKING:
    from lmaczs.clap.base import CLAPBackend
    from lmaczs.data.clip_table import ClipEntry, ClipSelection
    from lmaczs.evaluation.conditions import Contamination
    from lmaczs.evaluation.judge import Judge
    from lmaczs.evaluation.rows import ResultRows, Row
    from lmaczs.evaluation.stopwatch import Stopwatch
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
        "--releases",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="take the LMAC-ZS weights of method NAME from another release; repeatable",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="score about N clips, evenly from all labels")
    parser.add_argument(
        "--slow-limit", type=int, metavar="N",
        help="score occlusion, rise, slime and optimized-mask on N of them only, and on N / 2 mixtures",
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


def method_names(text: str, least: int = 0) -> list[str]:
    """Split --methods.

    Raises:
        LMACError: there are fewer than `least`, a method is named twice, or a control is named.
    """
    from lmaczs.evaluation.masks import CONTROLS

    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) < least or len(set(names)) != len(names) or set(names) & set(CONTROLS):
        raise LMACError(f"--methods got '{text}': name each method once; controls are always there.")
    return names


def run(arguments: argparse.Namespace) -> int:
    """Score, and write results.csv, summary.json, summary.md and pictures.

    With contamination also contamination.csv, with mixtures also mixtures.csv and mixture_results.csv.

    Returns:
        1 if a clip or mixture could not be scored, else 0.

    Raises:
        LMACError: the table, a method or an option cannot be used.
    """
    from lmaczs.data.clip_table import limit_by_label, select_clips
    from lmaczs.evaluation import mixtures
    from lmaczs.evaluation.explanations import judge_clips
    from lmaczs.evaluation.figures import save_figures
    from lmaczs.evaluation.report import report_markdown
    from lmaczs.evaluation.summary import explanation_summary, mixture_summary

    where = key_value_pairs(arguments.where, "--where")
    selection = select_clips(arguments.clips, where)
    clips: Sequence[ClipEntry] = selection.clips
    if arguments.limit is not None:
        clips = limit_by_label(clips, arguments.limit, arguments.seed)
    if arguments.mixtures:  # a number that is too large is better said before the work than after it
        mixtures.plan_mixtures(clips, arguments.mixtures, arguments.seed)
    conditions = _chosen(arguments.contaminate, "--contaminate", ("none", "white", "same", "speech"))
    domains: Any = _chosen(arguments.domains, "--domains", ("stft", "mel"))
    contamination = _contamination(arguments, conditions, selection)
    contaminants = contamination.table(conditions, clips)  # also finds clips that nothing fits
    judge, out = _judge(arguments, domains, selection, len(clips)), Path(arguments.out)

    settings = _settings(judge) | contamination.settings(conditions)
    results = _open_results(judge, out, settings, _again(arguments, judge))
    if conditions != ("none",):
        write_text_whole(out / "contamination.csv", contaminants)
    with _stopwatch(out / "timing.json") as stopwatch:
        rows = judge_clips(judge, clips, results, conditions, contamination, stopwatch)
        mixed = _score_mixtures(arguments, judge, clips, rows, out, settings) if arguments.mixtures else None
    summary: dict[str, Any] = {
        "settings": settings,
        **explanation_summary(rows, judge, conditions, domains),
    }
    failed = summary["n_failed"]
    if mixed is not None:
        summary["mixtures"] = mixture_summary(mixed, judge, domains)
        failed += summary["mixtures"]["n_failed"]
    title = title_of(arguments.clips, where, len(clips), len(selection.clips))
    write_json_whole(out / "summary.json", summary, digits=6)  # more than anyone reads
    save_figures(rows, summary, judge, out, arguments.snr)
    text = report_markdown(summary, judge, title, arguments.snr, stopwatch)
    write_text_whole(out / "summary.md", text)
    print(text)
    return 1 if failed else 0


def title_of(table: str, where: dict[str, str], used: int, available: int) -> str:
    """What was evaluated, for headings; names the table's file and not its folder."""
    chosen = ", ".join(f"{column} {value}" for column, value in where.items()) or Path(table).stem
    return chosen if used == available else f"{chosen} ({used} of {available} clips)"


def _chosen(text: str, option: str, known: Sequence[str]) -> tuple[str, ...]:
    """Split a list with commas, each of known names at most once, at least one."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names or len(set(names)) != len(names) or not set(names) <= set(known):
        raise LMACError(
            f"{option} got '{text}': give one or more of {', '.join(known)}, with commas, each once."
        )
    return names


def _contamination(
    arguments: argparse.Namespace, conditions: Sequence[str], selection: "ClipSelection"
) -> "Contamination":
    from lmaczs.evaluation.conditions import Contamination, speech_clips

    speech: tuple[ClipEntry, ...] = ()
    if "speech" in conditions:
        if not arguments.speech:
            raise LMACError("--contaminate speech needs recordings of speech: name them with --speech.")
        speech = speech_clips(arguments.speech, key_value_pairs(arguments.speech_where, "--speech-where"))
    if not -60.0 <= arguments.snr <= 60.0:
        raise LMACError(f"--snr got {arguments.snr:g} dB: give a number between -60 and 60.")
    return Contamination(arguments.snr, arguments.seed, selection.clips, speech)


def _judge(
    arguments: argparse.Namespace,
    domains: Sequence[str],
    selection: "ClipSelection",
    count: int,
) -> "Judge":
    from lmaczs.clap import load_backend
    from lmaczs.data.clip_table import limit_by_label
    from lmaczs.evaluation.contenders import SLOW, contenders
    from lmaczs.evaluation.judge import Judge

    names = method_names(arguments.methods)
    releases = _releases(arguments.releases, names)
    shares = _shares(arguments.curve)
    limits: dict[str, frozenset[str]] = {}
    if arguments.slow_limit is not None:
        # From all clips, as those of --limit are: of two runs with the same seed, the larger one has the smaller one's.
        few = limit_by_label(selection.clips, arguments.slow_limit, arguments.seed)
        if len(few) < count:
            limits = {name: frozenset(clip.path for clip in few) for name in names if name in SLOW}
    backend = load_backend(arguments.backend, arguments.device, weights=arguments.weights)
    explainers = [pair for name in names for pair in _explainers(name, releases.get(name), backend, domains)]
    return Judge(backend, selection.labels, contenders(explainers, domains), limits, arguments.seed, shares)  # type: ignore[arg-type]


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


def _releases(texts: Sequence[str], methods: Sequence[str]) -> dict[str, list[str]]:
    """Method -> its releases; one for each mask domain where it has several."""
    releases: dict[str, list[str]] = {}
    for text in texts:
        for name, release in key_value_pairs([text], "--releases").items():
            releases.setdefault(name, []).append(release)
    if unused := sorted(releases.keys() - set(methods)):
        raise LMACError(
            f"--releases names '{unused[0]}', which is not among the methods {', '.join(methods)}."
        )
    return releases


def _explainers(
    name: str, releases: Sequence[str] | None, backend: "CLAPBackend", domains: Sequence[str]
) -> "list[tuple[str, Explainer]]":
    """A method in each domain that it has; one of given releases in the domains that its releases were trained for."""
    if releases is None:
        from lmaczs.explainers import domains_of, load_explainer

        known = [domain for domain in domains if domain in domains_of(name)]
        # Where none is left, the method itself says what it can do.
        return [(name, load_explainer(name, backend, domain)) for domain in known or domains]  # type: ignore[arg-type]
    from lmaczs.explainers.lmac_zs.explainer import LMACZS

    loaded = [LMACZS.from_release(backend, release=release) for release in releases]
    of = {explainer.domain: explainer for explainer in loaded}
    if len(of) != len(loaded) or not set(of) <= set(domains):
        raise LMACError(
            f"--releases gives '{name}' decoders for {', '.join(explainer.domain for explainer in loaded)} masks, "
            f"but --domains is {','.join(domains)}: give at most one decoder for each of these."
        )
    return [(name, of[domain]) for domain in domains if domain in of]  # type: ignore[index]


def _settings(judge: "Judge") -> dict[str, Any]:
    """Whatever decides all numbers; rows of other settings are not mixed."""
    from lmaczs.evaluation.rows import fingerprint

    return {
        "backend": judge.backend.name,
        "backend_weights": fingerprint(judge.backend),
        "labels": list(judge.labels),
        "seed": judge.seed,
        "shares": list(judge.shares),
    }


def _again(arguments: argparse.Namespace, judge: "Judge") -> list[str]:
    """Parts of the results that are asked for again."""
    names = {name.strip() for name in arguments.again.split(",") if name.strip()}
    if unknown := sorted(names - {contender.name for contender in judge.contenders}):
        raise LMACError(f"--again names '{unknown[0]}', which is not among the methods and controls.")
    return [contender.key for contender in judge.contenders if contender.name in names]


def _parts(judge: "Judge") -> dict[str, str]:
    """What decides the numbers of one contender alone."""
    from lmaczs.evaluation.rows import fingerprint

    return {c.key: fingerprint(c.explainer) if c.explainer else "control" for c in judge.contenders}


def _open_results(judge: "Judge", out: Path, settings: dict[str, Any], again: Sequence[str]) -> "ResultRows":
    from lmaczs.evaluation import explanations
    from lmaczs.evaluation.rows import ResultRows

    columns = [
        column
        for contender in judge.contenders
        for column in explanations.score_columns(contender, judge.shares)
    ]
    results = ResultRows(
        out / "results.csv",
        explanations.KEYS,
        explanations.TEXT_COLUMNS,
        [*explanations.CLIP_NUMBERS, *columns],
        settings,
        _parts(judge),
        again,
    )
    if results.dropped:
        print(f"Scored again: {', '.join(results.dropped)}.")
    return results


@contextmanager
def _stopwatch(file: Path) -> "Iterator[Stopwatch]":
    """Times that survive an interruption."""
    from lmaczs.evaluation.stopwatch import Stopwatch

    stopwatch = Stopwatch(file)
    try:
        yield stopwatch
    finally:
        stopwatch.save()


def _score_mixtures(
    arguments: argparse.Namespace,
    judge: "Judge",
    clips: "Sequence[ClipEntry]",
    rows: "Sequence[Row]",
    out: Path,
    settings: dict[str, Any],
) -> "list[Row]":
    """Draw the mixtures from the clips that could be read, and score them."""
    from lmaczs.evaluation import mixtures
    from lmaczs.evaluation.rows import ResultRows

    heard = {row["path"] for row in rows if "predicted" in row}
    readable = [clip for clip in clips if clip.path in heard]
    plans = mixtures.plan_mixtures(readable, arguments.mixtures, arguments.seed)
    write_text_whole(out / "mixtures.csv", mixtures.mixture_list(plans))
    drawn = hashlib.sha256("\n".join(clip.path for clip in readable).encode()).hexdigest()[:16]
    share = max(arguments.slow_limit // 2, 1) if judge.limits else len(plans)  # each is explained twice
    few = frozenset(plan.name for plan in plans[:share])
    limits = {name: few for name in judge.limits} if len(few) < len(plans) else {}
    judge = replace(judge, limits=limits)
    columns = [column for contender in judge.contenders for column in mixtures.mixture_columns(contender)]
    results = ResultRows(
        out / "mixture_results.csv",
        mixtures.KEYS,
        mixtures.TEXT_COLUMNS,
        [*mixtures.mixture_numbers(), *columns],
        {**settings, "clips_to_draw_from": drawn},
        _parts(judge),
        _again(arguments, judge),
    )
    return mixtures.judge_mixtures(judge, plans, results)
