"""One description per number, used wherever it is shown; and the tables that evaluations write."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """What a number means and how to write it.

    Attributes:
        key: in result files.
        label: for people.
        direction: which way is better; "" where neither is.
        unit: unit or range.
        meaning: one sentence.
        decimals: digits to show.
        source: key whose values are shown; "" is the key itself.
        statistic: of those values.
    """

    key: str
    label: str
    direction: Literal["↑", "↓", ""]
    unit: str
    meaning: str
    decimals: int = 2
    source: str = ""
    statistic: Literal["mean", "median"] = "mean"

    @property
    def heading(self) -> str:
        """Label, direction and unit for the head of a table column."""
        return " ".join(part for part in (self.label, self.direction, f"[{self.unit}]") if part)


_DESCRIBED = (
    Metric("ai", "AI", "↑", "%", "Share of clips whose kept part alone convinces more than the whole.", 1),
    Metric("ad", "AD", "↓", "%", "Share of the target's probability that is lost on the kept part alone.", 1),
    Metric("ag", "AG", "↑", "%", "Share of the remaining doubt that is gone on the kept part alone.", 1),
    Metric(
        "ff", "FF", "↑", "-1..1", "How far the target's probability falls when the kept part is taken away."
    ),
    Metric("ff_median", "FF median", "↑", "-1..1", "Median of the same.", source="ff", statistic="median"),
    Metric("fid_in", "Fid-In", "↑", "0..1", "How often the kept part alone gets the decision of the whole."),
    Metric(
        "sps", "Sparseness", "↑", "0..1", "Gini index of the mask: 0 is uniform, near 1 is a few cells.", 3
    ),
    Metric(
        "comp", "Complexity", "↓", "nats", "Entropy of the mask: the logarithm of how many cells share it."
    ),
    Metric(
        "mm", "Mask mean", "", "0..1", "Mean of the mask: the share of the time-frequency plane it keeps.", 3
    ),
    Metric(
        "deletion_auc", "Deletion", "↓", "0..1", "Area under the probability as the top cells are taken away."
    ),
    Metric(
        "insertion_auc", "Insertion", "↑", "0..1", "Area under the probability as the top cells are added."
    ),
    Metric(
        "top1_change", "Top-1", "↑", "pp", "Change of the explained prompt's probability on the kept part.", 1
    ),
    Metric("top2_change", "Top-2", "↓", "pp", "The same for the second most probable prompt.", 1),
    Metric("top3_change", "Top-3", "↓", "pp", "The same for the third most probable prompt.", 1),
    Metric("si_sdr_i", "SI-SDRi", "↑", "dB", "How much nearer the kept part is to the sound prompted for."),
    Metric("si_sdr_i_known", "SI-SDRi known", "↑", "dB", "Where the model has the prompt in its top 5."),
    Metric(
        "on_target", "On target", "↑", "0..1", "Share of the kept energy on cells where that sound is louder."
    ),
    Metric("pointing", "Pointing", "↑", "0..1", "How often the mask's largest cell is one of those."),
    Metric("mask_cosine", "Mask cosine", "↓", "0..1", "Likeness of the masks for a mixture's two sources."),
    Metric("ad_double", "AD, double softmax", "↓", "%", "AD as the papers' code has it; only to compare.", 1),
)
METRICS: dict[str, Metric] = {metric.key: metric for metric in _DESCRIBED}


def aggregate(values: Mapping[str, Tensor], *, without_empty: bool = False) -> dict[str, dict[str, float]]:
    """Reduce per-clip values to one row of a table.

    Args:
        values: metric key -> (clips,) values, all in the same order of clips; nan where a clip has none.
            Clips whose "mm" is 0 have an empty mask.
        without_empty: leave clips with an empty mask out, as the papers' code does for sparseness and
            complexity.

    Returns:
        metric key -> mean, median, n (values that went in) and n_empty (clips with an empty mask among all
        given); mean and median are nan where n is 0.
    """
    empty = values["mm"] == 0 if "mm" in values else None
    rows = {}
    for key, value in values.items():
        use = ~value.isnan()
        if without_empty and empty is not None:
            use &= ~empty
        used = value[use].double()
        rows[key] = {
            "mean": float(used.mean()) if len(used) else math.nan,
            "median": float(used.quantile(0.5)) if len(used) else math.nan,
            "n": len(used),
            "n_empty": 0 if empty is None else int(empty.sum()),
        }
    return rows


def markdown_table(
    rows: Iterable[tuple[str, Mapping[str, Mapping[str, float]]]],
    keys: Sequence[str],
    ranked: Collection[str] = (),
) -> str:
    """Write aggregated rows as a Markdown table with n, and the direction that is better, in the head.

    Args:
        rows: (name, result of `aggregate`) pairs, in the order to show.
        keys: metric keys, one column each; a row that lacks one shows a dash.
        ranked: names of rows that compete; the best of them in each column is bold.

    Returns:
        The table, ending with a line break.
    """
    rows = list(rows)
    lines = [
        "| " + " | ".join(["method", *(METRICS[key].heading for key in keys), "n", "n empty"]) + " |",
        "|---|" + "---:|" * (len(keys) + 2),
    ]
    best = {key: best_rows([(name, row) for name, row in rows if name in ranked], key) for key in keys}
    for name, row in rows:
        cells = [format_value(key, table_value(row, key)) for key in keys]
        cells = [f"**{cell}**" if name in best[key] else cell for key, cell in zip(keys, cells, strict=True)]
        present = [row[METRICS[key].source or key] for key in keys if (METRICS[key].source or key) in row]
        counts = sorted({int(entry["n"]) for entry in present})
        n_empty = max((int(entry["n_empty"]) for entry in present), default=0)
        lines.append(
            "| " + " | ".join([name, *cells, "/".join(map(str, counts)) or "0", str(n_empty)]) + " |"
        )
    return "\n".join(lines) + "\n"


def table_value(row: Mapping[str, Mapping[str, float]], key: str) -> float:
    """The number that stands in column `key` for one result of `aggregate`; nan where it has none."""
    entry = row.get(METRICS[key].source or key)
    return math.nan if entry is None else float(entry[METRICS[key].statistic])


def best_rows(rows: Sequence[tuple[str, Mapping[str, Mapping[str, float]]]], key: str) -> set[str]:
    """Names of the rows that are best in a column; several where they are equal, none without a direction.

    Args:
        rows: (name, result of `aggregate`) pairs.
        key: of the column.
    """
    values = {name: value for name, row in rows if not math.isnan(value := table_value(row, key))}
    if not values or not METRICS[key].direction:
        return set()
    winner = (max if METRICS[key].direction == "↑" else min)(values.values())
    return {name for name, value in values.items() if value == winner}


def format_value(key: str, value: float) -> str:
    """A number with the metric's digits; a dash for nan."""
    decimals = METRICS[key].decimals
    return "–" if math.isnan(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"  # no "-0.0"


def metric_notes(keys: Sequence[str]) -> str:
    """Markdown list of what each metric means, ending with a line break."""
    return "".join(f"- **{METRICS[key].heading}**: {METRICS[key].meaning}\n" for key in keys)


def as_tensors(rows: Sequence[Mapping[str, float]], keys: Sequence[str]) -> dict[str, Tensor]:
    """Per-clip dictionaries -> metric key -> (clips,) float64; nan where a clip lacks the key."""
    return {key: torch.tensor([row.get(key, math.nan) for row in rows], dtype=torch.float64) for key in keys}
