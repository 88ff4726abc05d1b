"""Measure whether the verdict in words agrees with faithfulness at equal area.

    python benchmarks/verdict.py --scores benchmarks/lmac-any/compact-2 --out benchmarks/verdict

The verdict judges a mask as it comes (`lmaczs.hearing.verdict`): a large mask is easily enough, a faint one easily not
needed. At equal area no mask wins by its size. Read are the scores of an `evaluate` run; nothing is heard again. Writes
verdict.md and verdict.json.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lmaczs.cli.files import write_json_whole, write_text_whole
from lmaczs.errors import LMACError
from lmaczs.evaluation.masks import CONTROLS
from lmaczs.hearing.verdict import ENOUGH, NEEDED, VERDICTS
from lmaczs.metrics.statistics import bootstrap, spearman

# Thresholds that the verdict could have.
SHARES = (0.3, 0.5, 0.7)
# From the worst to the best.
ORDER = ("failed", "needed", "enough", "believe")
LEVEL = {"failed": 0.0, "needed": 1.0, "enough": 1.0, "believe": 2.0}


@dataclass(frozen=True)
class Judged:
    """One explanation of one clip.

    Attributes:
        whole: probability of the prompt on the recording.
        kept: on what the mask keeps as it comes.
        removed: on what it removes.
        gain: at 10 % of the cells, probability of the kept part less that of the removed part, relative to the whole.
        control: whether no method made the mask.
    """

    whole: float
    kept: float
    removed: float
    gain: float
    control: bool

    def verdict(self, enough: float = ENOUGH, needed: float = NEEDED) -> str:
        """Key of the verdict on the classifier's own decision, with other thresholds than its own."""
        found = (self.kept >= enough * self.whole, self.removed < needed * self.whole)
        return {(True, True): "believe", (True, False): "enough", (False, True): "needed"}.get(
            found, "failed"
        )


def read_scores(folder: Path) -> list[Judged]:
    """Explanations of a results folder that were scored as they come and at 10 % of the cells.

    Raises:
        LMACError: the folder holds no scores.
    """
    from pyarrow import parquet

    files = sorted(folder.glob("scores-*.parquet"))
    if not files:
        raise LMACError(f"'{folder.name}' holds no scores: give the --out of an 'evaluate' run.")
    columns = ["clip", "condition", "domain", "method", "form", "metric", "value"]
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    whole: dict[tuple[str, str], float] = {}
    for file in files:
        table = parquet.read_table(file, columns=columns).to_pydict()
        for clip, condition, domain, method, form, metric, value in zip(
            *(table[name] for name in columns), strict=True
        ):
            if method:
                rows.setdefault((condition, clip, domain, method), {})[f"{form}/{metric}"] = value
            elif metric == "probability":
                whole[condition, clip] = value
    return list(_judged(rows, whole))


def _judged(
    rows: dict[tuple[str, ...], dict[str, float]], whole: dict[tuple[str, str], float]
) -> Iterator[Judged]:
    for (condition, clip, _, method), found in rows.items():
        p = whole.get((condition, clip), math.nan)
        parts = [_parts(found, form, p) for form in ("soft", "top10")]
        if p > 0 and all(value == value for part in parts for value in part):
            (kept, removed), (strongest, rest) = parts
            yield Judged(p, kept, removed, (strongest - rest) / p, method in CONTROLS)


def _parts(found: dict[str, float], form: str, p: float) -> tuple[float, float]:
    """Probabilities of the kept and the removed part, from FF, AD and AG."""
    ff, ad, ag = (found.get(f"{form}/{key}", math.nan) for key in ("ff", "ad", "ag"))
    kept = p * (1 - ad / 100) if ad > 0 else p + (1 - p) * ag / 100
    return kept, p - ff


def summary_of(judged: Sequence[Judged]) -> dict[str, Any]:
    """Verdict -> n and gains; and how well levels and gains agree, for several thresholds."""
    verdicts: dict[str, Any] = {}
    for key in ORDER:
        chosen = [one for one in judged if one.verdict() == key]
        gains = torch.tensor([one.gain for one in chosen], dtype=torch.float64)
        found = bootstrap(gains)
        verdicts[key] = {
            "n": len(chosen),
            "controls": sum(one.control for one in chosen),
            "gain": {"mean": found.value, "low": found.low, "high": found.high},
        }
    agreement = []
    for enough in SHARES:
        for needed in SHARES:
            pairs = [
                (LEVEL[key], one.gain) for one in judged if (key := one.verdict(enough, needed)) in LEVEL
            ]
            levels, gains = (torch.tensor(column, dtype=torch.float64) for column in zip(*pairs, strict=True))
            agreement.append(
                {"enough": enough, "needed": needed, "spearman": spearman(levels, gains), "n": len(pairs)}
            )
    return {"n": len(judged), "verdicts": verdicts, "agreement": agreement}


def report(summary: dict[str, Any], title: str) -> str:
    """The Markdown page."""
    lines = [
        f"# Verdicts and faithfulness at equal area: {title}",
        "",
        f"{summary['n']} explanations (clips x methods x domains, controls among them). The verdict judges the mask as "
        "it comes. The gain is measured at 10 % of the cells: probability of the kept part less that of the removed "
        "part, relative to the whole; 1 is perfect, 0 is what a mask earns that makes no difference. In brackets: 95 % "
        "bootstrap intervals.",
        "",
        "| verdict | in words | explanations | of these controls | gain at 10 % |",
        "|---|---|---:|---:|---:|",
    ]
    for key, found in summary["verdicts"].items():
        gain = found["gain"]
        number = f"{gain['mean']:.2f} [{gain['low']:.2f}, {gain['high']:.2f}]" if found["n"] else "–"
        lines.append(f"| {key} | {VERDICTS[key].short} | {found['n']} | {found['controls']} | {number} |")
    lines += [
        "",
        "Rank correlation of the verdict's level (failed, partly, believe) with that gain, for thresholds that it could "
        f"have; it has {ENOUGH:g} and {NEEDED:g}:",
        "",
        "| kept at least | removed below | Spearman | n |",
        "|---:|---:|---:|---:|",
        *(
            f"| {one['enough']:g} | {one['needed']:g} | {one['spearman']:.2f} | {one['n']} |"
            for one in summary["agreement"]
        ),
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, write verdict.json and verdict.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scores", type=Path, required=True, help="results folder of an 'evaluate' run")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--title", default="60 clips of ESC-50, fold 4, compact-2")
    options = parser.parse_args(arguments)
    try:
        summary = summary_of(read_scores(options.scores))
    except LMACError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    text = report(summary, options.title)
    write_json_whole(options.out / "verdict.json", summary, digits=4)
    write_text_whole(options.out / "verdict.md", text)
    print(text)


if __name__ == "__main__":
    main()
