"""What listeners said: means with intervals, paired tests, and who did not listen."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmaczs.charts import CONTROL, INK, method_colours, new_chart, plain_axes, save_chart
from lmaczs.metrics.statistics import Interval, bootstrap
from lmaczs.study.answers import Rating
from lmaczs.study.design import ANCHOR, QUESTION, REFERENCE, Study

# A listener who rates the anchor as high as the hidden reference, or higher, in more than this share of the items did
# not listen (after ITU-R BS.1534-3, 4.1.2: a reference missed in more than 15 % of the items).
MOST_MISSED = 0.15
# Of a family of tests.
LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two conditions, rated by the same listeners.

    Attributes:
        first: condition.
        second: condition.
        difference: of the listeners' means, with its 95 % bootstrap interval.
        p: of Wilcoxon's signed-rank test over listeners, after Holm's correction over all pairs.
        differs: p is below LEVEL.
    """

    first: str
    second: str
    difference: Interval
    p: float
    differs: bool


@dataclass(frozen=True)
class Analysis:
    """A study's outcome.

    Attributes:
        listeners: who finished at least one item.
        items: that somebody has finished.
        rejected: numbers of those who did not listen; nothing below counts them.
        ratings: that count.
        means: condition -> mean of the listeners' means, with its 95 % bootstrap interval over listeners.
        comparisons: of all pairs of conditions that a listener has rated on the same item.
    """

    listeners: int
    items: int
    rejected: tuple[int, ...]
    ratings: int
    means: dict[str, Interval]
    comparisons: tuple[Comparison, ...]


def analyse(study: Study, ratings: Sequence[Rating]) -> Analysis:
    """Reduce ratings; practice does not count.

    Args:
        study: that was rated.
        ratings: of finished items.
    """
    rated = [one for one in ratings if one.item >= 0]
    everyone = sorted({one.listener for one in rated})
    # Comparisons of two methods have neither: nobody can be left out by them.
    asked = REFERENCE in study.conditions and ANCHOR in study.conditions
    rejected = tuple(number for number in everyone if asked and not listened(rated, number))
    counted = [one for one in rated if one.listener not in rejected]
    listeners = [number for number in everyone if number not in rejected]
    columns = {
        condition: torch.tensor(
            [_mean(counted, number, condition) for number in listeners], dtype=torch.float64
        )
        for condition in study.conditions
    }
    return Analysis(
        listeners=len(everyone),
        items=len({one.item for one in counted}),
        rejected=rejected,
        ratings=len(counted),
        means={name: bootstrap(values) for name, values in columns.items()},
        comparisons=_comparisons(study.conditions, counted, listeners),
    )


def listened(ratings: Sequence[Rating], listener: int) -> bool:
    """Whether a listener told the hidden reference from the anchor."""
    found = {(one.item, one.condition): one.value for one in ratings if one.listener == listener}
    pairs = [
        (found[item, REFERENCE], found[item, ANCHOR])
        for item in {item for item, _ in found}
        if (item, REFERENCE) in found and (item, ANCHOR) in found
    ]
    missed = sum(anchor >= reference for reference, anchor in pairs)
    return bool(pairs) and missed <= MOST_MISSED * len(pairs)


def _mean(ratings: Sequence[Rating], listener: int, condition: str) -> float:
    values = [one.value for one in ratings if (one.listener, one.condition) == (listener, condition)]
    return sum(values) / len(values) if values else math.nan


def _comparisons(
    conditions: Sequence[str], ratings: Sequence[Rating], listeners: Sequence[int]
) -> tuple[Comparison, ...]:
    pairs = list(combinations(conditions, 2))
    found = [_differences(ratings, listeners, *pair) for pair in pairs]
    rated = [index for index, values in enumerate(found) if not bool(values.isnan().all())]
    corrected = holm([_signed_rank(found[index]) for index in rated])
    return tuple(
        Comparison(*pairs[index], bootstrap(found[index]), p, p < LEVEL)
        for index, p in zip(rated, corrected, strict=True)
    )


def _differences(ratings: Sequence[Rating], listeners: Sequence[int], first: str, second: str) -> Tensor:
    """(listeners,): mean of first - second over the items in which a listener rated both; nan where there is none."""
    given = {(one.listener, one.item, one.condition): one.value for one in ratings}
    means = []
    for number in listeners:
        both = [
            value - given[number, item, second]
            for (who, item, condition), value in given.items()
            if (who, condition) == (number, first) and (number, item, second) in given
        ]
        means.append(sum(both) / len(both) if both else math.nan)
    return torch.tensor(means, dtype=torch.float64)


def _signed_rank(differences: Tensor) -> float:
    """p of Wilcoxon's signed-rank test; 1 where there is nothing to tell apart."""
    from scipy.stats import wilcoxon

    known = differences[~differences.isnan()]
    if len(known) == 0 or not bool((known != 0).any()):
        return 1.0
    return float(wilcoxon(known.numpy()).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): p values of a family of tests, in their order."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    corrected, largest = [1.0] * len(values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected


def as_json(analysis: Analysis) -> dict[str, Any]:
    """As JSON values; null where a number is undefined."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    found: dict[str, Any] = plain(asdict(analysis))
    return found


def as_markdown(study: Study, analysis: Analysis) -> str:
    """Tables for people."""
    rows = sorted(analysis.means.items(), key=lambda pair: -pair[1].value if pair[1].n else math.inf)
    lines = [
        f"# {study.title}",
        "",
        f"*{QUESTION}* (0 to 100; Parekh et al. 2022.) {_about(study, analysis)} In brackets: 95 % bootstrap intervals "
        "over listeners.",
        "",
        "| condition | mean rating | listeners |",
        "|---|---:|---:|",
        *(f"| {_cell(name)} | {_interval(value)} | {value.n} |" for name, value in rows),
        "",
        "Differences of pairs, Wilcoxon's signed-rank test over listeners with Holm's correction:",
        "",
        "| pair | difference | p | |",
        "|---|---:|---:|---|",
        *(
            f"| {_cell(one.first)} − {_cell(one.second)} | {_interval(one.difference)} | {one.p:.3g} | "
            f"{'differ' if one.differs else 'cannot be told apart'} |"
            for one in analysis.comparisons
        ),
    ]
    return "\n".join(lines) + "\n"


def _about(study: Study, analysis: Analysis) -> str:
    """Who rated what."""
    if REFERENCE not in study.conditions:
        return (
            f"{analysis.items} sounds and sentences that visitors brought; {analysis.listeners} of them rated two "
            f"methods at a time, blind; {analysis.ratings} ratings. Means are over what each method was rated on: "
            "compare methods by the differences below, which are taken where a visitor rated both."
        )
    return (
        f"{len(study.items)} items, mixtures of two sounds whose class is the first; {analysis.listeners} listeners, "
        f"{len(analysis.rejected)} of them left out, who rated the anchor as high as the hidden reference in more than "
        f"{100 * MOST_MISSED:.0f} % of their items; {analysis.ratings} ratings. **{REFERENCE}** is the hidden "
        f"reference, **{ANCHOR}** the anchor."
    )


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _interval(value: Interval) -> str:
    return f"{value.value:.1f} [{value.low:.1f}, {value.high:.1f}]" if value.n else "–"


def draw(analysis: Analysis, path: Path) -> None:
    """Write a picture of the means with their intervals."""
    names = [name for name, value in analysis.means.items() if value.n]
    colours = method_colours(name for name in names if name not in (REFERENCE, ANCHOR))
    figure = new_chart(7.0, 0.9 + 0.45 * max(len(names), 1))
    axes = figure.subplots()
    plain_axes(axes)
    for place, name in enumerate(reversed(names)):
        value = analysis.means[name]
        colour = colours.get(name, CONTROL)
        axes.plot([value.low, value.high], [place, place], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot([value.value], [place], "o", color=colour, markersize=8)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_xlim(0, 100)
    axes.set_xlabel("mean rating and its 95 % interval", color=INK, fontsize=9)
    save_chart(figure, path)
