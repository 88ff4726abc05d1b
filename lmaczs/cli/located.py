"""`evaluate --events`: do explanations keep the sound of an event, at the times that are known?

    python -m lmaczs evaluate --events events.csv --methods lmac-zs,grad-cam++ --out results

`events.csv` has the columns path, onset, offset and label, and perhaps part.
"""

import argparse
from pathlib import Path
from typing import Any

from lmaczs.cli.clip_arguments import chosen_names, method_names, named_releases
from lmaczs.cli.files import write_json_whole, write_text_whole
from lmaczs.errors import LMACError

# Flags of `evaluate` that are about --clips, with what they are where nobody gave them.
ABOUT_CLIPS = {
    "where": [], "contaminate": "none", "snr": 3.0, "speech": None, "speech_where": [], "slow_limit": None,
    "mixtures": 0, "curve": None, "again": "",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --events."""
    parser.add_argument(
        "--events", metavar="CSV",
        help="in the place of --clips: a table of events (path, onset, offset, label; part: the event alone); "
        "do masks keep them at their times?",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Score, and write the scores, summary.json and summary.md.

    Returns:
        1 if a scene could not be read, else 0.

    Raises:
        LMACError: the table, a method or an option cannot be used.
    """
    from lmaczs.clap import load_backend
    from lmaczs.data.clips import Clip
    from lmaczs.evaluation.contenders import contenders, load_methods
    from lmaczs.evaluation.evaluator import MaskEvaluator
    from lmaczs.evaluation.located import located_markdown, located_summary, measure_located, read_scenes
    from lmaczs.evaluation.provenance import common_settings, method_sha256
    from lmaczs.evaluation.scores import ScoreTable

    for name, left_out in ABOUT_CLIPS.items():
        if getattr(arguments, name) != left_out:
            raise LMACError(f"--{name.replace('_', '-')} is about --clips: leave it out with --events.")
    source = Path(arguments.events)
    scenes = read_scenes(source)
    if arguments.limit is not None:
        if arguments.limit < 1:
            raise LMACError(f"The limit is {arguments.limit}: give at least 1 scene.")
        scenes = scenes[: arguments.limit]
    domains: Any = chosen_names(arguments.domains, "--domains", ("stft", "mel"))
    if len(domains) != 1:
        raise LMACError("--events scores one domain of masks at a time: give --domains stft or mel.")
    names = method_names(arguments.methods)
    releases = named_releases(arguments.releases, names)
    backend = load_backend(arguments.backend, arguments.device, weights=arguments.weights)
    methods = [
        (name, one) for name in names for one in load_methods(name, releases.get(name, ()), backend, domains)
    ]
    everyone = contenders(methods, domains, backend, arguments.seed)
    labels = tuple(sorted({event.label for scene in scenes for event in scene.events}))
    clips = [
        Clip(scene.path, str(scene.file), tuple(event.label for event in scene.events)) for scene in scenes
    ]
    settings = common_settings(backend, labels, clips) | {"seed": arguments.seed, "domain": domains[0]}
    out = Path(arguments.out)
    table = ScoreTable(out, settings, {one.key: method_sha256(one.method) for one in everyone})
    rows = measure_located(MaskEvaluator(backend, labels), everyone, scenes, table)
    summary = located_summary(rows, everyone, arguments.seed)
    write_json_whole(out / "summary.json", summary, digits=6)
    text = located_markdown(summary, source.stem, len(scenes), domains[0])
    write_text_whole(out / "summary.md", text)
    print(text)
    return 1 if summary["failed"] else 0
