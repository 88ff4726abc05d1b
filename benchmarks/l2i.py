"""Measure Listen to Interpret: fidelity, removal, any prompt, components, corruption, NMF, speed.

    python benchmarks/l2i.py --clips clips.csv --models runs/l2i-models      # writes benchmarks/l2i; half an hour
    python benchmarks/l2i.py --clips clips.csv --models runs/l2i-models --slow 2 --limit 50 --out out/l2i   # a look

`clips.csv` has the columns path, label, concept, dataset and fold. `--models` holds the interpreters that are not
embedded, each a release in a folder of its own; what is missing is left out of the tables. They are made by

    train/train_classifier.py       classifier-esc50, and classifier-tags on the set of train/make_tagged_mixtures.py
    train/train_l2i.py              l2i-esc50-max (--theta max); head-l2i, head-max, tags-l2i, tags-max (--classifier ...)
    train/train_l2i_baselines.py    flint, vibi, and for the heads head-flint, head-vibi, tags-flint, tags-vibi

Every measurement is kept in --work as soon as it is there, and not repeated while models and clips are the same.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import l2i_stages as stages
from l2i_figures import save_figures
from l2i_models import HEADS, RELEASES, Heard, Models, hear
from l2i_report import report
from lmaczs import load_backend
from lmaczs.data.clip_table import ClipEntry, ClipSelection, limit_by_label, select_clips
from lmaczs.data.registry import DATASETS
from lmaczs.errors import LMACError

ROOT = Path(__file__).resolve().parents[1]
UNHEARD = ROOT / "train" / "unheard.txt"
FACTORISED = {"clips": 60, "columns": 4000, "rounds": 100}


class Notebook:
    """Measurements that are there already, by name and by what they depend on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def once(self, name: str, depends: Any, measure: Callable[[], Any]) -> Any:
        """What `measure` returns, from an earlier run if what it depends on is the same."""
        key = hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()
        file = self._folder / f"{name}.json"
        if file.exists():
            kept = json.loads(file.read_text("utf-8"))
            if kept["key"] == key:
                return kept["found"]
        found = measure()
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps({"key": key, "found": found}, indent=1) + "\n", "utf-8")
        fresh.replace(file)
        return found


def tagged_clips(folder: Path) -> tuple[ClipEntry, ...]:
    """Held-out clips of a set in SONYC-UST's layout."""
    found = DATASETS["sonyc-ust"].list_clips(folder).clips
    return tuple(ClipEntry(clip.path, clip.file, "") for clip in found if clip.split == "validate")


def concept_clips(table: Path, concepts: Sequence[str]) -> tuple[ClipEntry, ...]:
    """All clips of some concepts, labelled with them."""
    found = []
    for concept in concepts:
        found += [ClipEntry(c.path, c.file, concept) for c in select_clips(table, {"concept": concept}).clips]
    return tuple(found)


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every measurement, with progress."""
    torch.manual_seed(0)
    backend = load_backend("compact", "cpu").requires_grad_(False)
    models, notebook = Models(backend, arguments.models), Notebook(arguments.work)
    selection: ClipSelection = select_clips(arguments.clips, {"dataset": "esc50", "fold": arguments.fold})
    clips, labels = selection.clips, list(selection.labels)
    if arguments.limit:
        clips = limit_by_label(clips, arguments.limit)
    slow = limit_by_label(clips, arguments.slow)
    middle = limit_by_label(clips, arguments.middle)
    concepts = UNHEARD.read_text("utf-8").split("\n")
    concepts = [name.strip() for name in concepts if name.strip()]
    store: dict[str, Heard] = {}

    def heard(name: str, group: Callable[[], Sequence[ClipEntry]]) -> Heard:
        if name not in store:
            store[name] = hear(list(tqdm(group(), desc=f"reading {name}", unit="clip", leave=False)), backend)
        return store[name]

    def held_out() -> Heard:
        return heard("held-out clips", lambda: clips)

    def used(kind: str, *names: str) -> dict[str, str]:
        """Hashes of what a measurement depends on: a decision's head and its interpreters."""
        heads = [HEADS[kind]] if kind in HEADS else []
        return models.digest([*heads, *(RELEASES[kind][name] for name in names)])

    base = [backend_digest(models), [clip.path for clip in clips]]
    results: dict[str, Any] = {}
    jobs: list[tuple[str, Any, Callable[[], Any]]] = []

    def plan(name: str, depends: Any, measure: Callable[[], Any]) -> None:
        jobs.append((name, [base, depends], measure))

    for kind in ("zero-shot", "head"):
        plan(
            f"fidelity {kind}",
            used(kind, *RELEASES[kind]),
            lambda kind=kind: stages.fidelity(models, kind, held_out(), labels),
        )
        for name in ("l2i", "open"):
            if name in RELEASES[kind]:
                plan(
                    f"removal {kind} {name}",
                    used(kind, name),
                    lambda kind=kind, name=name: stages.removal(models, kind, name, held_out(), labels),
                )
    if arguments.tags:
        tagged = tagged_clips(arguments.tags)
        names = [clip.path for clip in tagged]

        def tags() -> Heard:
            return heard("tagged mixtures", lambda: tagged)

        plan(
            "fidelity tags",
            [used("tags", *RELEASES["tags"]), names],
            lambda: stages.tag_fidelity(models, tags()),
        )
        plan(
            "removal tags l2i",
            [used("tags", "l2i"), names],
            lambda: stages.removal(models, "tags", "l2i", tags(), ()),
        )
    both, only_open = used("zero-shot", "l2i", "open"), used("zero-shot", "open")
    plan(
        "unheard",
        [only_open, concepts],
        lambda: stages.unheard(
            models,
            concepts,
            heard("unheard labels", lambda: concept_clips(arguments.clips, concepts)),
            held_out(),
        ),
    )
    plan(
        "overlap",
        [both, arguments.mixtures],
        lambda: stages.overlap(models, held_out(), labels, arguments.mixtures),
    )
    plan(
        "adding up",
        [only_open, len(middle)],
        lambda: stages.adding_up(models, heard("some clips", lambda: middle), labels),
    )
    factorised = limit_by_label(clips, FACTORISED["clips"])
    plan(
        "factorisation",
        [only_open, FACTORISED, len(factorised)],
        lambda: stages.factorisation(
            models,
            heard("clips to factorise", lambda: factorised),
            FACTORISED["columns"],
            FACTORISED["rounds"],
        ),
    )
    plan(
        "corruption",
        [both, len(middle)],
        lambda: stages.corruption(models, heard("some clips", lambda: middle), labels),
    )
    plan(
        "removal slime",
        [len(slow)],
        lambda: stages.slime_removal(models, heard("few clips", lambda: slow), labels),
    )
    plan(
        "speed",
        [only_open, arguments.rounds],
        lambda: stages.speed(models, held_out(), labels, arguments.rounds),
    )
    if arguments.only:
        jobs = [job for job in jobs if job[0] in arguments.only]
    with tqdm(jobs, desc="measurements", unit="measurement") as bar:
        for name, depends, measure in bar:
            bar.set_postfix_str(name)
            results[name] = notebook.once(name.replace(" ", "-"), depends, measure)
    if arguments.only:
        return results
    results["settings"] = {
        "set": f"esc50 fold {arguments.fold}",
        "clips": len(clips),
        "labels": len(labels),
        "components": components_of(models),
        "unheard": concepts,
    }
    results["pictured"] = [clip.path for clip in middle]
    save_figures(results, models, heard("some clips", lambda: middle), labels, arguments.out)
    return results


def backend_digest(models: Models) -> dict[str, str]:
    """Hash of the CLAP's weights."""
    return models.digest(["compact-clap"])


def components_of(models: Models) -> int:
    """How many components the dictionary has; 0 where no interpreter is at hand."""
    place = models.find(RELEASES["zero-shot"]["open"])
    if place is None:
        return 0
    return int(json.loads((place / "config.json").read_text("utf-8"))["interpreter"]["components"])


def main() -> None:
    """Read the flags, measure, write tables and pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--clips", type=Path, required=True, help="CSV of path, label, concept, dataset, fold"
    )
    parser.add_argument("--models", type=Path, help="folder of releases that are not embedded")
    parser.add_argument("--tags", type=Path, help="set of train/make_tagged_mixtures.py")
    parser.add_argument("--fold", default="4", help="of ESC-50, held out (4)")
    parser.add_argument("--limit", type=int, help="use about so many clips, evenly from all labels")
    parser.add_argument("--middle", type=int, default=100, help="clips under corruption (100)")
    parser.add_argument("--slow", type=int, default=8, help="clips for SLIME (8)")
    parser.add_argument("--mixtures", type=int, default=200, help="for two prompts on one mixture (200)")
    parser.add_argument("--rounds", type=int, default=15, help="of the speed measurement (15)")
    parser.add_argument(
        "--only", nargs="+", help="make only these measurements, for a later run to use, e.g. 'removal slime'"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "l2i")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "l2i", help="folder for measurements")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        results = measure_all(arguments)
    except LMACError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if arguments.only:
        return
    text = report(results)
    (arguments.out / "summary.json").write_text(json.dumps(_rounded(results), indent=1) + "\n", "utf-8")
    (arguments.out / "summary.md").write_text(text, "utf-8")
    print(text)


def _rounded(value: Any) -> Any:
    """Six digits are more than anyone reads."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
