"""Pictures of an evaluation: metrics as bars, curves, and mask means against similarities."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from lmaczs.charts import CONTROL, INK, method_colours, new_chart, plain_axes, save_chart
from lmaczs.evaluation.judge import Judge
from lmaczs.evaluation.report import CONDITION_TITLES, DOMAIN_TITLES
from lmaczs.evaluation.rows import Row
from lmaczs.evaluation.summary import competitors
from lmaczs.metrics.table import METRICS, best_rows, format_value, table_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BAR_KEYS = ("ai", "ad", "ag", "ff", "fid_in", "deletion_auc")
PANEL_COLUMNS = 4


def save_figures(
    rows: Sequence[Row], summary: Mapping[str, Any], judge: Judge, folder: Path, snr_db: float
) -> None:
    """Draw all pictures of `lmaczs.evaluation.report.FIGURES`.

    Args:
        rows: one a clip and condition.
        summary: of the rows.
        judge: that they were scored with.
        folder: for the PNG files.
        snr_db: of the contaminated conditions, dB.
    """
    settings = {
        f"{_wrapped(CONDITION_TITLES[condition].format(snr=snr_db))}\n{DOMAIN_TITLES[domain]}": found
        for condition, table in summary["conditions"].items()
        for domain, found in table["domains"].items()
    }
    colours = _colours(judge)
    save_chart(_metric_bars(settings, judge, colours), folder / "metrics.png")
    save_chart(_curves(settings, colours), folder / "curves.png")
    save_chart(_mask_means(rows, judge, colours), folder / "mask_mean.png")


def _wrapped(title: str) -> str:
    """Short lines; a number stays with its unit."""
    return fill(title.replace(" dB", "\u00a0dB"), 26)


def _colours(judge: Judge) -> dict[str, Any]:
    """One colour per method, in all pictures; controls are grey."""
    methods = list(dict.fromkeys(c.name for c in judge.contenders if c.explainer is not None))
    return method_colours(methods) | {c.name: CONTROL for c in judge.contenders if c.explainer is None}


def _metric_bars(settings: Mapping[str, Any], judge: Judge, colours: Mapping[str, Any]) -> "Figure":
    """Soft masks: one row of panels a setting, one column a metric."""
    names = list(dict.fromkeys(name for found in settings.values() for name in found["forms"]["soft"]))
    figure = new_chart(2.3 * len(BAR_KEYS) + 2.4, (0.2 * len(names) + 0.9) * len(settings) + 0.4)
    panels = figure.subplots(len(settings), len(BAR_KEYS), sharey=True, sharex="col", squeeze=False)
    for row, (title, found) in zip(panels, settings.items(), strict=True):
        table = found["forms"]["soft"]
        rivals = [(name, table[name]) for name in competitors("soft", table, judge)]
        for axes, key in zip(row, BAR_KEYS, strict=True):
            values = [table_value(table[name], key) if name in table else math.nan for name in names]
            axes.barh(range(len(names)), values, color=[colours[name] for name in names], height=0.72)
            best = best_rows(rivals, key)
            for place, (name, value) in enumerate(zip(names, values, strict=True)):
                if not math.isnan(value):
                    text = f" {format_value(key, value)}"
                    weight = "bold" if name in best else "normal"
                    axes.text(
                        max(value, 0), place, text, va="center", fontsize=7, color=INK, fontweight=weight
                    )
            axes.set_yticks(range(len(names)), names)
            axes.margins(x=0.22)
            plain_axes(axes)
        row[0].set_ylabel(title, fontsize=8.5, color=INK)
    panels[0][0].invert_yaxis()  # of all panels: they share it
    for axes, key in zip(panels[0], BAR_KEYS, strict=True):
        axes.set_title(METRICS[key].heading, fontsize=9.5, color=INK, loc="left")
    return figure


def _curves(settings: Mapping[str, Any], colours: Mapping[str, Any]) -> "Figure":
    """Mean probability of the explained prompt while top cells are taken away, and while they are added."""
    figure = new_chart(11, 3.1 * len(settings) + 0.5)
    panels = figure.subplots(len(settings), 2, sharex=True, sharey=True, squeeze=False)
    for row, (title, found) in zip(panels, settings.items(), strict=True):
        for axes, kind in zip(row, ("deletion", "insertion"), strict=True):
            for name, curve in found["curves"].items():
                style = {"energy": "--", "random": ":"}.get(name, "-")
                ends = [curve["whole"], curve["silence"]]
                first, last = ends if kind == "deletion" else reversed(ends)
                shares = [0.0, *(100 * share for share in curve["shares"]), 100.0]
                values = [first, *curve[kind], last]
                axes.plot(
                    shares, values, style, color=colours[name], label=f"{name} (n = {curve['n']})",
                    marker="o", markersize=3, linewidth=1.5,
                )  # fmt: skip
            plain_axes(axes)
        row[0].set_ylabel(f"{title}\nmean probability", fontsize=8.5, color=INK)
        if found["curves"]:
            row[1].legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[0][0].set_title("Deletion: the top cells are taken away ↓", fontsize=9.5, color=INK, loc="left")
    panels[0][1].set_title("Insertion: only the top cells are heard ↑", fontsize=9.5, color=INK, loc="left")
    for axes in panels[-1]:
        axes.set_xlabel("top cells, %", fontsize=8.5, color=INK)
    return figure


def _mask_means(rows: Sequence[Row], judge: Judge, colours: Mapping[str, Any]) -> "Figure":
    """One panel a method and domain: does the mask grow with the similarity of clip and prompt?"""
    methods = [contender for contender in judge.contenders if contender.explainer is not None]
    columns = min(PANEL_COLUMNS, max(len(methods), 1))
    height = math.ceil(max(len(methods), 1) / columns)
    figure = new_chart(3.1 * columns, 2.8 * height + 0.3)
    panels = figure.subplots(height, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, contender in zip(panels, methods, strict=False):
        points = [
            (row["similarity"], row[column])
            for row in rows
            if (column := f"{contender.key}/soft/mm") in row and "similarity" in row
        ]
        similarity, mean = zip(*points, strict=True) if points else ((), ())
        axes.scatter(similarity, mean, s=7, alpha=0.5, color=colours[contender.name], linewidths=0)
        correlation = _rank_correlation(points)
        shown = "–" if math.isnan(correlation) else f"{correlation:.2f}"
        title = f"{contender.key}\nSpearman {shown}, n = {len(points)}"
        axes.set_title(title, fontsize=9, color=INK, loc="left")
        axes.set_ylim(0, 1)
        plain_axes(axes)
    for axes in panels[len(methods) :]:
        axes.set_visible(False)
    figure.supxlabel("similarity of the clip and the explained prompt", fontsize=9, color=INK)
    figure.supylabel("mask mean", fontsize=9, color=INK)
    return figure


def _rank_correlation(points: Sequence[tuple[float, float]]) -> float:
    """Spearman's correlation; nan where it has no meaning. Equal values share their mean rank."""
    import numpy as np

    if len(points) < 3:
        return math.nan
    ranks = []
    for values in zip(*points, strict=True):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[inverse])
    if any(np.ptp(rank) == 0 for rank in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
