"""Score the second compact CLAP on clips that it never heard, beside the first one.

    python benchmarks/classifier.py --clips data/clips.csv --first FOLDER   # the test folds: once for each release
    python benchmarks/classifier.py --clips data/clips.csv --development    # the folds to choose by, to another folder

Writes classifier.md, classifier.json, and one CSV of rows for each set into benchmarks/classifier/.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from classifier_report import markdown
from classifier_sounds import CONDITIONS, DEVELOPMENT, TEST, TITLES, Sound, mixed, pairs, read_sounds
from lmaczs import load_backend
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.prompts import plain_prompt
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.hearing import embed
from lmaczs.release_names import find_release

HERE = Path(__file__).resolve().parent / "classifier"
GROUP = 16
DRAWS = 2000
CHANGED = 600  # clips of a set, at most, that are also heard under every condition: every second or third one
RELATED = 0.45  # cosine of MiniLM from which two labels are no unrelated ones
URBAN = (
    "air conditioner", "car horn", "children playing", "dog bark", "drilling", "engine idling", "gun shot",
    "jackhammer", "siren", "street music",
)  # fmt: skip
MODEL, FIRST = "compact-2", "compact"


@dataclass(frozen=True)
class Heard:
    """A set of clips as one model hears them.

    Attributes:
        embedding: (clips, embed_dim).
        text: (labels, embed_dim).
        truth: (clips,) index of the true label.
    """

    embedding: Tensor
    text: Tensor
    truth: Tensor

    @property
    def similarity(self) -> Tensor:
        """(clips, labels)."""
        return self.embedding @ self.text.T

    @property
    def rank(self) -> Tensor:
        """How many labels are nearer than the true one: (clips,)."""
        right = self.similarity.gather(1, self.truth[:, None])
        return (self.similarity > right).sum(1)


def hear(
    backend: CLAPBackend, sounds: Sequence[Sound], change: Callable[[Tensor, int], Tensor] | None
) -> Tensor:
    """Embed clips, changed at their own rate: (clips, embed_dim)."""
    rate, parts = backend.spectral.sample_rate, []
    for first in tqdm(range(0, len(sounds), GROUP), desc=backend.name, unit="group", leave=False):
        waveforms = []
        for sound in sounds[first : first + GROUP]:
            waveform = sound.waveform if change is None else change(sound.waveform, sound.rate)
            waveforms.append(Sound(sound.path, sound.label, waveform, sound.rate).at(rate))
        parts.append(embed(waveforms, backend))
    return torch.cat(parts)


def interval(values: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Mean in percent with a bootstrap interval over clips that holds 95 %.

    Args:
        values: (clips,) in [0, 1].
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    draws = [values[generator.integers(0, len(values), len(values))].mean() for _ in range(DRAWS)]
    low, high = np.percentile(draws, [2.5, 97.5])
    named = {"percent": values.mean(), "low": low, "high": high}
    return {name: round(100 * float(value), 2) for name, value in named.items()} | {"n": len(values)}


def area(right: np.ndarray, wrong: np.ndarray) -> float:
    """Area under the ROC curve: how often a right similarity is above a wrong one."""
    order = np.sort(wrong)
    below = np.searchsorted(order, right, "left") + np.searchsorted(order, right, "right")
    return float(below.mean() / 2 / len(wrong))


def named_against_unrelated(heard: Heard, backend: CLAPBackend, labels: Sequence[str]) -> dict[str, float]:
    """AUROC of each clip's own label against unrelated labels of both sets, interval over clips.

    Args:
        heard: the clips.
        backend: that heard them.
        labels: of the clips; labels of either set that mean something similar are left out.
    """
    from lmaczs.clap.minilm import MiniLM

    every = sorted({plain_prompt(label) for label in [*_worded(), *URBAN]})
    encoder = MiniLM()
    meaning = encoder([plain_prompt(label) for label in labels]) @ encoder(every).T
    related = (meaning > RELATED)[heard.truth].numpy()
    similarity = (heard.embedding @ backend.encode_text(prompts_from_labels(every)).embedding.T).numpy()
    right = heard.similarity.gather(1, heard.truth[:, None])[:, 0].numpy()

    def value(rows: np.ndarray) -> float:
        return area(right[rows], similarity[rows][~related[rows]])

    generator = np.random.default_rng(0)
    everything = np.arange(len(right))
    draws = [value(generator.choice(everything, len(everything))) for _ in range(200)]
    low, high = np.percentile(draws, [2.5, 97.5])
    numbers = {"auroc": value(everything), "low": float(low), "high": float(high)}
    rounded = {name: round(number, 4) for name, number in numbers.items()}
    return rounded | {"n": len(right), "pairs": int((~related).sum())}


def wordings(heard: Heard, backend: CLAPBackend, labels: Sequence[str]) -> dict[str, Any]:
    """Top-1 with other words for the labels, one column of the table at a time."""
    table = (HERE / "wordings.csv").read_text("utf-8").splitlines()
    rows = {row.split(",")[0]: row.split(",")[1:] for row in table[1:]}
    hits, each = [], []
    for column in range(5):
        text = backend.encode_text(
            [f"this is the sound of {rows[label][column]}" for label in labels]
        ).embedding
        found = Heard(heard.embedding, text, heard.truth)
        hits.append((found.rank == 0).double().numpy())
        each.append(round(100 * float(hits[-1].mean()), 2))
    own = (heard.rank == 0).double().numpy()
    return {"own": interval(own), "mean": interval(np.mean(hits, axis=0)), "each": each}


def mixture_score(
    backend: CLAPBackend, sounds: Sequence[Sound], text: Tensor, labels: Sequence[str]
) -> dict[str, float]:
    """How often both labels of a zero-dB mixture are among the five nearest."""
    couples = pairs(sounds)
    rate, hits = backend.spectral.sample_rate, []
    for first in range(0, len(couples), GROUP):
        group = couples[first : first + GROUP]
        heard = embed([mixed(sounds[a], sounds[b], rate) for a, b in group], backend)
        best = (heard @ text.T).topk(5, dim=1).indices.tolist()
        for (a, b), found in zip(group, best, strict=True):
            hits.append({labels.index(sounds[a].label), labels.index(sounds[b].label)} <= set(found))
    return interval(np.array(hits, dtype=float))


def one_set(
    backend: CLAPBackend, sounds: Sequence[Sound], full: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Everything that is asked of a model on one set, and a row for each clip.

    Args:
        backend: the model.
        sounds: the clips.
        full: also wordings, AUROC, mixtures and conditions.
    """
    labels = sorted({sound.label for sound in sounds})
    truth = torch.tensor([labels.index(sound.label) for sound in sounds])
    text = backend.encode_text(prompts_from_labels(labels)).embedding
    heard = Heard(hear(backend, sounds, None), text, truth)
    rank, top = heard.rank, heard.similarity.argmax(1)
    found: dict[str, Any] = {f"top{k}": interval((rank < k).double().numpy()) for k in (1, 5)}
    rows = [
        {"path": sound.path, "label": sound.label, "predicted": labels[int(best)], "rank": int(place) + 1}
        | {"similarity": round(float(heard.similarity[number, truth[number]]), 4)}
        for number, (sound, best, place) in enumerate(zip(sounds, top, rank, strict=True))
    ]
    if full:
        found["unrelated"] = named_against_unrelated(heard, backend, labels)
        found["mixtures"] = mixture_score(backend, sounds, text, labels)
        found["conditions"] = {}
        step = -(-len(sounds) // CHANGED)
        for row in rows:
            row.update(dict.fromkeys((name for name, _, _ in CONDITIONS), ""))
        for name, change, limit in CONDITIONS:
            changed = (hear(backend, sounds[::step], change) @ text.T).argmax(1)
            found["conditions"][name] = interval((changed != top[::step]).double().numpy()) | {"limit": limit}
            for row, best in zip(rows[::step], changed, strict=True):
                row[name] = labels[int(best)]
        if set(labels) <= set(_worded()):
            found["wordings"] = wordings(heard, backend, labels)
    return found, rows


def _worded() -> list[str]:
    return [line.split(",")[0] for line in (HERE / "wordings.csv").read_text("utf-8").splitlines()[1:]]


def pass_times(backends: Mapping[str, CLAPBackend], rounds: int = 15) -> dict[str, float]:
    """Seconds of one window of 5 s through both models, in turn, so that both see the same machine."""
    windows = {
        name: torch.randn(1, backend.clip_samples, generator=torch.Generator().manual_seed(0)) * 0.1
        for name, backend in backends.items()
    }
    times: dict[str, list[float]] = {name: [] for name in backends}
    with torch.no_grad():
        for _ in range(rounds + 2):
            for name, backend in backends.items():
                start = time.perf_counter()
                backend.analyze(windows[name])
                times[name].append(time.perf_counter() - start)
    found = {name: round(median(values[2:]), 5) for name, values in times.items()}
    ratio = median(a / b for a, b in zip(times[MODEL][2:], times[FIRST][2:], strict=True))
    return found | {"ratio": round(ratio, 2), "threads": torch.get_num_threads()}


def main() -> None:
    """Score both models and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, required=True, help="table of the collection")
    parser.add_argument("--development", action="store_true", help="the folds to choose by")
    parser.add_argument(
        "--limit", type=int, default=0, help="about so many clips of each set, for a quick look"
    )
    parser.add_argument("--weights", help="release folder in the place of the embedded one")
    parser.add_argument(
        "--first",
        help="release folder of version 1 to compare with (assets/releases/compact-clap of commit af23fc4)",
    )
    parser.add_argument("--out", type=Path, help="folder of the results")
    arguments = parser.parse_args()
    out = arguments.out or (HERE if not arguments.development else Path("out/classifier-development"))
    out.mkdir(parents=True, exist_ok=True)
    backends = {MODEL: load_backend(MODEL, "cpu", weights=arguments.weights)}
    if arguments.first:
        backends[FIRST] = load_backend(FIRST, "cpu", weights=arguments.first)
    report: dict[str, Any] = {"folds": "development" if arguments.development else "test", "sets": {}}
    for dataset, folds in (DEVELOPMENT if arguments.development else TEST).items():
        sounds = read_sounds(arguments.clips, dataset, folds, arguments.limit)
        report["sets"][dataset] = {"title": TITLES[dataset], "folds": list(folds), "models": {}}
        for name, backend in backends.items():
            found, rows = one_set(backend, sounds, full=name == MODEL)
            report["sets"][dataset]["models"][name] = found
            _write_rows(out / f"{dataset}-{name}.csv", rows)
    report["pass_seconds"] = pass_times(backends) if FIRST in backends else {}
    folder = Path(arguments.weights) if arguments.weights else find_release("compact-clap-2")
    report["weights_bytes"] = os.path.getsize(folder / "model.safetensors")
    (out / "classifier.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    (out / "classifier.md").write_text(markdown(report), "utf-8")
    print(markdown(report))


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    import csv

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
