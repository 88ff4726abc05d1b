"""What the pictures of evaluations and sanity checks have in common."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PAPER = "#1c2430", "#ffffff"


def new_chart(width: float, height: float) -> "Figure":
    """An empty picture; sizes in inches."""
    from matplotlib.figure import Figure  # half a second to import, and only pictures need it

    return Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)


def plain_axes(axes: "Axes") -> None:
    """No frame on top and on the right, small dark figures."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)


def save_chart(figure: "Figure", path: Path) -> None:
    """Write a PNG."""
    figure.savefig(path, dpi=110)
