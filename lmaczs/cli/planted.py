"""`sanity --planted`: do explanations show the cue that copies of the classifier were taught to decide by?"""

import argparse
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmaczs.cli.clip_arguments import (
    chosen_names,
    key_value_pairs,
    method_names,
    named_releases,
    title_of,
)
from lmaczs.cli.files import write_json_whole, write_text_whole
from lmaczs.errors import LMACError

if TYPE_CHECKING:
    from lmaczs.clap.base import CLAPBackend
    from lmaczs.data.clips import Clip
    from lmaczs.evaluation.contenders import Contender
    from lmaczs.sanity.planting import Planting


def add_planted_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of planted truth."""
    group = parser.add_argument_group(
        "planted truth", "copies of the classifier learn to decide by a known cue; does a mask show it?"
    )
    group.add_argument("--planted", action="store_true", help="measure this in the place of the checks")
    group.add_argument(
        "--plant-on",
        metavar="SOURCE",
        help="folder or table of other recordings, which the copies learn from",
    )
    group.add_argument(
        "--cues", default="beep,band,onset", metavar="NAMES", help="with commas: beep, band, onset (all)"
    )
    group.add_argument("--plant-steps", type=int, default=300, metavar="N", help="of fine-tuning (300)")
    group.add_argument(
        "--plant-limit",
        type=int,
        default=400,
        metavar="N",
        help="recordings of --plant-on that are used (400)",
    )


def run_planted(arguments: argparse.Namespace) -> int:
    """Plant the cues, explain the copies, and write scores, summary.json and summary.md.

    The copies lie beside the scores; a run that was cut short goes on.

    Returns:
        0.

    Raises:
        LMACError: a table, a recording, a method or an option cannot be used.
    """
    from lmaczs.data.clip_table import limit_by_label, select_clips
    from lmaczs.evaluation.provenance import common_settings, method_sha256
    from lmaczs.evaluation.scores import ScoreTable
    from lmaczs.sanity.cues import CUES
    from lmaczs.sanity.planted import (
        Copies,
        measure_planted,
        planted_markdown,
        planted_summary,
        read_sounds,
    )
    from lmaczs.sanity.planting import Planting

    cues = chosen_names(arguments.cues, "--cues", tuple(CUES))
    if not arguments.plant_on:
        raise LMACError("--planted needs recordings for the copies to learn from: name them with --plant-on.")
    if arguments.plant_steps < 1:
        raise LMACError(f"--plant-steps is {arguments.plant_steps}: give at least 1.")
    where = key_value_pairs(arguments.where, "--where")
    selection = select_clips(arguments.clips, where)
    clips: Sequence[Clip] = selection.clips
    if arguments.limit is not None:
        clips = limit_by_label(clips, arguments.limit, arguments.seed)
    if len(clips) < 3 or len(selection.labels) < 2:
        raise LMACError(
            f"{len(clips)} clips of {len(selection.labels)} labels are too few: give at least 3, of at least 2 labels."
        )
    others = _learning_clips(arguments, clips)
    everyone, backend = contenders_of(arguments)
    planting = Planting(arguments.plant_steps, seed=arguments.seed)
    out = Path(arguments.out)
    settings = common_settings(backend, selection.labels, clips)
    settings |= {"domain": arguments.domain, "planting": asdict(planting), "learned_from": _hash(others)}
    table = ScoreTable(out, settings, {one.key: method_sha256(one.method) for one in everyone})
    copies = Copies(
        {name: _copy(backend, name, others, selection.labels, planting, out) for name in cues},
        everyone,
        selection.labels,
    )
    rows = measure_planted(copies, clips, read_sounds(clips, backend), table, arguments.seed)
    summary = planted_summary(rows, copies, arguments.seed)
    write_json_whole(out / "summary.json", summary, digits=6)
    title = title_of(arguments.clips, where, len(clips), len(selection.clips))
    text = planted_markdown(summary, title, arguments.domain, planting.steps)
    write_text_whole(out / "summary.md", text)
    print(text)
    return 0


def _learning_clips(arguments: argparse.Namespace, clips: "Sequence[Clip]") -> "list[Clip]":
    """Recordings that the copies learn from, none of which is measured, however its path is written."""
    from lmaczs.data.sources import list_source

    measured = {clip.file.resolve() for clip in clips}
    found = [clip for clip in list_source(arguments.plant_on).clips if clip.file.resolve() not in measured]
    found.sort(key=lambda clip: clip.path)
    if len(found) < 2:
        raise LMACError(
            "--plant-on names fewer than 2 recordings that are not measured: give some that --clips does not name."
        )
    return random.Random(arguments.seed).sample(found, min(len(found), arguments.plant_limit))


def contenders_of(
    arguments: argparse.Namespace,
) -> "tuple[tuple[Contender, ...], CLAPBackend]":
    """The methods of --methods and the controls that know no parts, for the classifier; and the classifier.

    Raises:
        LMACError: one of them cannot be loaded.
    """
    from lmaczs.clap import load_backend
    from lmaczs.evaluation.contenders import contenders, load_methods
    from lmaczs.evaluation.masks import IDEAL

    names = method_names(arguments.methods, least=1)
    releases = named_releases(arguments.releases, names)
    backend = load_backend(arguments.backend, arguments.device, weights=arguments.weights)
    domains = (arguments.domain,)
    methods = [
        (name, method)
        for name in names
        for method in load_methods(name, releases.get(name, ()), backend, domains)
    ]
    everyone = contenders(methods, domains, backend, arguments.seed)
    return tuple(one for one in everyone if one.name != IDEAL), backend


def _copy(
    backend: "CLAPBackend",
    name: str,
    clips: "Sequence[Clip]",
    labels: Sequence[str],
    planting: "Planting",
    out: Path,
) -> "CLAPBackend":
    """A copy that decides by a cue; read from the results folder where it was made before."""
    from copy import deepcopy

    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    from lmaczs.clap.similarity import prompts_from_labels
    from lmaczs.errors import plain_write_errors
    from lmaczs.hub import weights_sha256
    from lmaczs.sanity.cues import CUES
    from lmaczs.sanity.planted import read_sounds
    from lmaczs.sanity.planting import plant

    made_by: dict[str, Any] = asdict(planting) | {"clips": _hash(clips), "labels": list(labels)}
    made_by["weights"] = weights_sha256(backend)
    mark = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:12]
    file = out / f"planted-{name}-{mark}.safetensors"
    if file.is_file():
        copy = deepcopy(backend)
        try:
            copy.load_state_dict(load_file(file))
            return copy
        except (SafetensorError, RuntimeError, OSError):
            # Cut short: made again.
            file.unlink()
    prompts = prompts_from_labels(labels)
    copy = plant(backend, CUES[name], read_sounds(clips, backend), prompts, planting)
    part = file.with_suffix(".part")
    with plain_write_errors(out):
        save_file({key: value.contiguous() for key, value in copy.state_dict().items()}, part)
        part.replace(file)
    return copy


def _hash(clips: "Sequence[Clip]") -> str:
    """Of which recordings were learned from."""
    from lmaczs.evaluation.provenance import sound_sha256

    return sound_sha256(*(clip.file for clip in clips))
