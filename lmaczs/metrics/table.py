"""Tables of metrics: values with their intervals, who is best, and what each column means."""

import math
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from lmaczs.metrics.registry import METRICS as METRICS
from lmaczs.metrics.statistics import Ranking, bootstrap

Summary = Mapping[str, Mapping[str, float]]  # metric key -> value, low, high, mean, median, n


def summarise(values: Mapping[str, Tensor], seed: int = 0) -> dict[str, dict[str, float]]:
    """Reduce values over recordings to one row of a table.

    Args:
        values: metric key -> (recordings,) values; nan where a recording has none.
        seed: of the bootstrap.

    Returns:
        metric key -> mean, median, n, and low and high, the 95 % bootstrap interval of the mean. Metrics that show
        another statistic of these values (`MetricEntry.source`) have entries of their own, with its interval.
    """
    row: dict[str, dict[str, float]] = {}
    shown = [entry for entry in METRICS.values() if entry.source in values]
    for key, value in values.items():
        mean = bootstrap(value, seed=seed)
        median = float(value[~value.isnan()].double().quantile(0.5)) if mean.n else math.nan
        row[key] = {"mean": mean.value, "median": median, "low": mean.low, "high": mean.high, "n": mean.n}
    for entry in shown:
        found = bootstrap(values[entry.source], entry.statistic, seed)
        row[entry.key] = {entry.statistic: found.value, "low": found.low, "high": found.high, "n": found.n}
    return row


def markdown_table(
    rows: Iterable[tuple[str, Summary]], keys: Sequence[str], rankings: Mapping[str, Ranking] | None = None
) -> str:
    """Write summaries as a Markdown table with n, and the direction that is better, in the head.

    Args:
        rows: (name, result of `summarise`) pairs, in the order to show.
        keys: metric keys, one column each; a row that lacks one shows a dash.
        rankings: metric key -> ranking of the rows that compete; the best is bold, those that are tied with the leader
            are in italics.

    Returns:
        The table, ending with a line break.
    """
    rankings = rankings or {}
    lines = [
        "| " + " | ".join(["method", *(METRICS[key].heading for key in keys), "n"]) + " |",
        "|---|" + "---:|" * (len(keys) + 1),
    ]
    for name, row in rows:
        cells = [_cell(row, key, name, rankings.get(key, Ranking())) for key in keys]
        counts = sorted({int(row[key]["n"]) for key in keys if key in row})
        lines.append("| " + " | ".join([name, *cells, "/".join(map(str, counts)) or "0"]) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: Summary, key: str, name: str, ranking: Ranking) -> str:
    text = format_value(key, table_value(row, key))
    if ranking.best == name:
        text = f"**{text}**"
    elif name in ranking.tied:
        text = f"*{text}*"
    low, high = (row.get(key, {}).get(end, math.nan) for end in ("low", "high"))
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return text
    return f"{text} [{format_value(key, low)}, {format_value(key, high)}]"


def table_value(row: Summary, key: str) -> float:
    """The number that stands in column `key` for one result of `summarise`; nan where it has none."""
    value = row.get(key, {}).get(METRICS[key].statistic)
    return math.nan if value is None else float(value)


def format_value(key: str, value: float) -> str:
    """A number with the metric's digits; a dash for nan."""
    decimals = METRICS[key].decimals
    return "–" if math.isnan(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"  # no "-0.0"


def metric_notes(keys: Sequence[str]) -> str:
    """Markdown list of what each metric means, ending with a line break."""
    return "".join(f"- **{METRICS[key].heading}**: {METRICS[key].meaning}\n" for key in keys)
