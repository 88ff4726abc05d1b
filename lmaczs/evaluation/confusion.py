"""A picture of what a classifier takes for what."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from lmaczs.charts import INK, PAPER, new_chart, save_chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Smaller shares are colour only: fifty labels leave no room for every number.
SHOWN = 0.10


def save_confusion_picture(counts: Tensor, labels: Sequence[str], path: Path, title: str) -> None:
    """Draw a confusion matrix; each row is one label and adds up to 100 %.

    Args:
        counts: (labels, labels), true by predicted.
        labels: names of both axes.
        path: of the PNG file.
        title: above the picture.
    """
    from matplotlib.colors import LinearSegmentedColormap

    total = counts.sum(1).numpy()
    share = counts.numpy() / np.maximum(total, 1)[:, None]
    count = len(labels)
    # Inches.
    cell = 0.28 if count > 20 else 0.5
    figure = new_chart(cell * count + 3.6, cell * count + 3.0)
    axes = figure.subplots()
    colours = LinearSegmentedColormap.from_list("share", ["#ffffff", "#c6dcf0", "#4a8fc7", "#14406f"])
    image = axes.imshow(100 * share, cmap=colours, vmin=0, vmax=100)
    axes.set_xticks(range(count), labels, rotation=90, fontsize=9)
    rows = [f"{label} ({number})" for label, number in zip(labels, total, strict=True)]
    axes.set_yticks(range(count), rows, fontsize=9)
    _draw_grid(axes, count)
    for row, column in np.argwhere(share >= SHOWN):
        axes.text(
            column,
            row,
            f"{100 * share[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=7.5 if count > 20 else 10,
            color=PAPER if share[row, column] > 0.55 else INK,
        )
    axes.set_xlabel("most probable prompt", color=INK, fontsize=11)
    axes.set_ylabel("label (clips)", color=INK, fontsize=11)
    # Over the whole figure: over the squares alone, a small set leaves no room for it.
    figure.suptitle(title, color=INK, fontsize=12, x=0.01, ha="left")
    bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=30, pad=0.01)
    bar.set_label("share of the label's clips, %", color=INK)
    bar.outline.set_visible(False)
    save_chart(figure, path)


def _draw_grid(axes: "Axes", count: int) -> None:
    """Lines between the cells, and a frame around each where a faultless classifier would have everything."""
    from matplotlib.patches import Rectangle

    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#e7ebf0", linewidth=0.6)
    axes.tick_params(which="both", length=0, colors=INK)
    for edge in axes.spines.values():
        edge.set_visible(False)
    for number in range(count):
        corner = (number - 0.5, number - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="#9fb4c8", linewidth=0.8))
