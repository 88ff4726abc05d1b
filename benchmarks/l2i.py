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

import l2i_fidelity
import l2i_removal
import l2i_sounds
from l2i_figures import save_figures
from l2i_models import HEADS, RELEASES, LoadedClips, Models, load_windows
from l2i_report import report
from lmaczs import load_backend
from lmaczs.data.clip_table import ClipSelection, limit_by_label, select_clips
from lmaczs.data.clips import Clip
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


def tagged_clips(folder: Path) -> tuple[Clip, ...]:
    """Held-out clips of a set in SONYC-UST's layout."""
    found = DATASETS["sonyc-ust"].list_clips(folder).clips
    return tuple(Clip(clip.path, clip.file, "") for clip in found if clip.split == "validate")


def concept_clips(table: Path, concepts: Sequence[str]) -> tuple[Clip, ...]:
    """All clips of some concepts, labelled with them."""
    found = []
    for concept in concepts:
        found += [Clip(c.path, c.file, concept) for c in select_clips(table, {"concept": concept}).clips]
    return tuple(found)


# Name, what it depends on, and the measurement.
Job = tuple[str, Any, Callable[[], Any]]


class Bench:
    """Everything that is measured, on clips that are read when they are first needed."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        backend = load_backend("compact-2", "cpu").requires_grad_(False)
        self.arguments, self.models = arguments, Models(backend, arguments.models)
        selection: ClipSelection = select_clips(arguments.clips, {"dataset": "esc50", "fold": arguments.fold})
        self.clips, self.labels = selection.clips, list(selection.labels)
        if arguments.limit:
            self.clips = limit_by_label(self.clips, arguments.limit)
        self.concepts = [name for line in UNHEARD.read_text("utf-8").split("\n") if (name := line.strip())]
        self._groups: dict[str, Callable[[], Sequence[Clip]]] = {
            "held-out clips": lambda: self.clips,
            "some clips": lambda: limit_by_label(self.clips, arguments.middle),
            "few clips": lambda: limit_by_label(self.clips, arguments.slow),
            "clips to factorise": lambda: limit_by_label(self.clips, FACTORISED["clips"]),
            "unheard labels": lambda: concept_clips(arguments.clips, self.concepts),
            "tagged mixtures": lambda: tagged_clips(arguments.tags),
        }
        self._loaded: dict[str, LoadedClips] = {}

    def clips_of(self, name: str) -> LoadedClips:
        """A group of clips as windows."""
        if name not in self._loaded:
            group = tqdm(self._groups[name](), desc=f"reading {name}", unit="clip", leave=False)
            self._loaded[name] = load_windows(list(group), self.models.backend)
        return self._loaded[name]

    def used(self, kind: str, *names: str) -> dict[str, str]:
        """Hashes of what a measurement depends on: a decision's head and its interpreters."""
        heads = [HEADS[kind]] if kind in HEADS else []
        return self.models.digest([*heads, *(RELEASES[kind][name] for name in names)])

    def jobs(self) -> list[Job]:
        """All measurements, in order."""
        base = [backend_digest(self.models), [clip.path for clip in self.clips]]
        planned = [*self._decision_jobs(), *self._tag_jobs(), *self._open_jobs(), *self._sound_jobs()]
        return [(name, [base, depends], measure) for name, depends, measure in planned]

    def _decision_jobs(self) -> list[Job]:
        jobs: list[Job] = []
        models, labels = self.models, self.labels
        for kind in ("zero-shot", "head"):

            def fidelity(kind: str = kind) -> Any:
                return l2i_fidelity.fidelity(models, kind, self.clips_of("held-out clips"), labels)

            jobs.append((f"fidelity {kind}", self.used(kind, *RELEASES[kind]), fidelity))
            for name in ("l2i", "open"):
                if name in RELEASES[kind]:

                    def removal(kind: str = kind, name: str = name) -> Any:
                        return l2i_removal.removal(
                            models, kind, name, self.clips_of("held-out clips"), labels
                        )

                    jobs.append((f"removal {kind} {name}", self.used(kind, name), removal))
        return jobs

    def _tag_jobs(self) -> list[Job]:
        if not self.arguments.tags:
            return []
        names = [clip.path for clip in tagged_clips(self.arguments.tags)]

        def tags() -> LoadedClips:
            return self.clips_of("tagged mixtures")

        return [
            (
                "fidelity tags",
                [self.used("tags", *RELEASES["tags"]), names],
                lambda: l2i_fidelity.tag_fidelity(self.models, tags()),
            ),
            (
                "removal tags l2i",
                [self.used("tags", "l2i"), names],
                lambda: l2i_removal.removal(self.models, "tags", "l2i", tags(), ()),
            ),
        ]

    def _open_jobs(self) -> list[Job]:
        models, labels, count = self.models, self.labels, self.arguments.mixtures
        both, only_open = self.used("zero-shot", "l2i", "open"), self.used("zero-shot", "open")

        def unheard() -> Any:
            own, held_out = self.clips_of("unheard labels"), self.clips_of("held-out clips")
            return l2i_fidelity.unheard(models, self.concepts, own, held_out)

        def overlap() -> Any:
            return l2i_removal.overlap(models, self.clips_of("held-out clips"), labels, count)

        return [("unheard", [only_open, self.concepts], unheard), ("overlap", [both, count], overlap)]

    def _sound_jobs(self) -> list[Job]:
        models, labels, given = self.models, self.labels, self.arguments
        both, only_open = self.used("zero-shot", "l2i", "open"), self.used("zero-shot", "open")
        columns, rounds = FACTORISED["columns"], FACTORISED["rounds"]
        return [
            (
                "adding up",
                [only_open, given.middle],
                lambda: l2i_sounds.adding_up(models, self.clips_of("some clips"), labels),
            ),
            (
                "factorisation",
                [only_open, FACTORISED],
                lambda: l2i_sounds.factorisation(
                    models, self.clips_of("clips to factorise"), columns, rounds
                ),
            ),
            (
                "corruption",
                [both, given.middle],
                lambda: l2i_sounds.corruption(models, self.clips_of("some clips"), labels),
            ),
            (
                "removal slime",
                [given.slow],
                lambda: l2i_removal.slime_removal(models, self.clips_of("few clips"), labels),
            ),
            (
                "speed",
                [only_open, given.rounds],
                lambda: l2i_sounds.speed(models, self.clips_of("held-out clips"), labels, given.rounds),
            ),
        ]


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every measurement, with progress."""
    torch.manual_seed(0)
    bench, notebook = Bench(arguments), Notebook(arguments.work)
    jobs = [job for job in bench.jobs() if not arguments.only or job[0] in arguments.only]
    results: dict[str, Any] = {}
    with tqdm(jobs, desc="measurements", unit="measurement") as bar:
        for name, depends, measure in bar:
            bar.set_postfix_str(name)
            results[name] = notebook.once(name.replace(" ", "-"), depends, measure)
    if arguments.only:
        return results
    results["settings"] = {
        "set": f"esc50 fold {arguments.fold}",
        "clips": len(bench.clips),
        "labels": len(bench.labels),
        "components": components_of(bench.models),
        "unheard": bench.concepts,
    }
    pictured = bench.clips_of("some clips")
    results["pictured"] = [clip.path for clip in pictured.clips]
    save_figures(results, bench.models, pictured, bench.labels, arguments.out)
    return results


def backend_digest(models: Models) -> dict[str, str]:
    """Hash of the CLAP's weights."""
    return models.digest(["compact-clap-2"])


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
