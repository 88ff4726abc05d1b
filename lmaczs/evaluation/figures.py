"""Pictures of an evaluation: metrics as bars, curves, and mask means against similarities."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from lmaczs.charts import CONTROL, INK, method_colours, new_chart, plain_axes, save_chart
from lmaczs.evaluation.clips import ClipEvaluation
from lmaczs.evaluation.report import CONDITION_TITLES, DOMAIN_TITLES
from lmaczs.evaluation.scores import Row
from lmaczs.metrics.registry import METRICS
from lmaczs.metrics.statistics import as_columns, spearman
from lmaczs.metrics.table import format_value, table_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Metrics with bars of their own: the others stand in the tables.
BAR_KEYS = ("ai", "ad", "ag", "ff", "fid_in", "sps", "deletion_auc")
PANEL_COLUMNS = 4


def save_figures(
    rows: Sequence[Row], summary: Mapping[str, Any], evaluation: ClipEvaluation, folder: Path, snr_db: float
) -> None:
    """Draw all pictures of `lmaczs.evaluation.report.FIGURES`.

    Args:
        rows: one a clip and condition.
        summary: of the rows.
        evaluation: that they were scored with.
        folder: for the files.
        snr_db: of the contaminated conditions, dB.
    """
    settings = {
        f"{_wrapped(CONDITION_TITLES[condition].format(snr=snr_db))}\n{DOMAIN_TITLES[domain]}": found
        for condition, table in summary["conditions"].items()
        for domain, found in table["domains"].items()
    }
    colours = _colours(evaluation)
    save_chart(_metric_bars(settings, colours), folder / "metrics.svg")
    save_chart(_curves(settings, colours), folder / "curves.svg")
    save_chart(_mask_means(rows, evaluation, colours), folder / "mask_mean.svg")


def _wrapped(title: str) -> str:
    """Short lines; a number stays with its unit."""
    return fill(title.replace(" dB", "\u00a0dB"), 26)


def _colours(evaluation: ClipEvaluation) -> dict[str, Any]:
    """One colour per method, in all pictures; controls are grey."""
    methods = list(dict.fromkeys(c.name for c in evaluation.contenders if not c.is_control))
    return method_colours(methods) | {c.name: CONTROL for c in evaluation.contenders if c.is_control}


def _metric_bars(settings: Mapping[str, Any], colours: Mapping[str, Any]) -> "Figure":
    """Soft masks: one row of panels a setting, one column a metric."""
    names = list(dict.fromkeys(name for found in settings.values() for name in found["forms"]["soft"]))
    figure = new_chart(2.3 * len(BAR_KEYS) + 2.4, (0.2 * len(names) + 0.9) * len(settings) + 0.4)
    panels = figure.subplots(len(settings), len(BAR_KEYS), sharey=True, sharex="col", squeeze=False)
    for row, (title, found) in zip(panels, settings.items(), strict=True):
        table = found["forms"]["soft"]
        rankings = found["ranking"]["soft"]
        for axes, key in zip(row, BAR_KEYS, strict=True):
            values = [table_value(table[name], key) if name in table else math.nan for name in names]
            axes.barh(range(len(names)), values, color=[colours[name] for name in names], height=0.72)
            best = rankings.get(key, {}).get("best")
            for place, (name, value) in enumerate(zip(names, values, strict=True)):
                if not math.isnan(value):
                    text = f" {format_value(key, value)}"
                    weight = "bold" if name == best else "normal"
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


def _mask_means(rows: Sequence[Row], evaluation: ClipEvaluation, colours: Mapping[str, Any]) -> "Figure":
    """One panel a method and domain: does the mask grow with the similarity of clip and prompt?"""
    methods = [contender for contender in evaluation.contenders if not contender.is_control]
    columns = min(PANEL_COLUMNS, max(len(methods), 1))
    height = math.ceil(max(len(methods), 1) / columns)
    figure = new_chart(3.1 * columns, 2.8 * height + 0.3)
    panels = figure.subplots(height, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, contender in zip(panels, methods, strict=False):
        column = f"{contender.key}/soft/mm"
        points = [row for row in rows if column in row and "similarity" in row]
        similarity, mean = as_columns(points, ["similarity", column]).values()
        # As an image: hundreds of points are not small in an SVG.
        axes.scatter(
            similarity.tolist(), mean.tolist(), s=7, alpha=0.5, color=colours[contender.name], linewidths=0,
            rasterized=True,
        )  # fmt: skip
        correlation = spearman(similarity, mean)
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
