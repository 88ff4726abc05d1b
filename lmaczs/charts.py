"""What the pictures of evaluations and sanity checks have in common."""

from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PAPER = "#1c2430", "#ffffff"
CONTROL = "#aab4c0"
# tab10 without its grey, which is for controls, and three more that differ from all of these.
METHOD_COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf",
    "#1b3a6b", "#7a1f4b", "#0b5d3b",
)  # fmt: skip


def method_colours(names: Iterable[str]) -> dict[str, str]:
    """One colour for each method, the same in all pictures of a run; after twelve they begin again."""
    return dict(zip(names, cycle(METHOD_COLOURS), strict=False))


def new_chart(width: float, height: float) -> "Figure":
    """An empty picture; sizes in inches."""
    # Half a second to import, and only pictures need it.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)


def plain_axes(axes: "Axes") -> None:
    """No frame on top and on the right, small dark figures."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)


def save_chart(figure: "Figure", path: Path) -> None:
    """Write an SVG (small, and a change of it is a change of text) or a PNG, as the file's ending says."""
    from matplotlib import rc_context

    # Equal charts give equal bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "lmaczs"}):
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
