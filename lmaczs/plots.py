"""Still pictures of explanations, for files and papers; the page draws its own."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmaczs.charts import INK, METHOD_COLOURS, PAPER
from lmaczs.types import ExplainResult, OverTime

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANGE_DB = 70.0  # shown below the loudest cell
ROWS, COLUMNS = 256, 1200  # cells drawn at most; a longer recording is averaged down to them
LONGEST_PROMPT = 400  # letters tried in the heading; no more can fit
FAINT = 0.5  # masks whose largest value lies below are drawn with colours of their own
TICKS_HZ = (0, 250, 500, 1000, 2000, 4000, 8000, 16000, 24000)


def save_explanation_figure(result: ExplainResult, path: str | Path, method_label: str | None = None) -> None:
    """Draw `explanation_figure` into a PNG file.

    Args:
        result: one explanation.
        path: of the file.
        method_label: name of the method for people; None shows its key.
    """
    figure = explanation_figure(result, method_label)
    with _any_script():
        figure.savefig(path, dpi=150)


def explanation_figure(result: ExplainResult, method_label: str | None = None) -> "Figure":
    """The recording, the mask, and what the mask keeps, on one time axis.

    Frequencies are spaced as in the ear (mel scale). Both sound panels share one decibel scale. The mask's colours run
    from 0 to 1, or to its largest value where that is below FAINT; the title says so.

    Args:
        result: one explanation.
        method_label: name of the method for people; None shows its key.
    """
    # Takes half a second to import, and only pictures need it.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    power = 10 ** (result.magnitude_db.numpy() / 10)
    mask = result.explanation.mask.numpy()
    kept = power * (mask**2 if result.explanation.domain == "stft" else mask)
    frequencies = result.frequencies_hz.double().numpy()
    drawn = [picture_cells(values, frequencies) for values in (power, kept)]
    sounds = [10 * np.log10(np.maximum(values / drawn[0].max(), 1e-20)) for values in drawn]

    layout = ConstrainedLayoutEngine(h_pad=0.08, hspace=0.04)
    strip = 0.0 if result.over_time is None else 0.35
    figure = Figure(figsize=(10, 8.2 * (3 + strip) / 3), layout=layout, facecolor=PAPER)
    rows = figure.add_gridspec(4 if strip else 3, 1, height_ratios=[1.0] * 3 + [strip] * bool(strip))
    panels: list[Axes] = []
    for place in range(3):
        first = panels[0] if panels else None
        panels.append(figure.add_subplot(rows[place], sharex=first, sharey=first))
    extent = (0.0, result.clip.duration_s, 0.0, float(mel_scale(frequencies[-1])))
    level: dict[str, Any] = {"cmap": "magma", "vmin": -RANGE_DB, "vmax": 0.0}
    peak = float(mask.max())
    brightest = peak if 0 < peak < FAINT else 1.0
    titles = (
        "The recording",
        _mask_title(peak, brightest, result),
        "What counted: the recording through the mask",
    )
    values = (sounds[0], picture_cells(mask, frequencies), sounds[1])
    styles = (level, {"cmap": "viridis", "vmin": 0.0, "vmax": brightest}, level)
    bars = ("dB re loudest cell", "mask", "dB re loudest cell")
    for panel, title, cells, style, bar in zip(panels, titles, values, styles, bars, strict=True):
        image = panel.imshow(cells, origin="lower", aspect="auto", extent=extent, **style)
        panel.set_title(title, loc="left", fontsize=10.5, color=INK)
        label_frequencies(panel, frequencies[-1])
        scale = figure.colorbar(image, ax=panel, pad=0.012, aspect=14)
        scale.set_label(bar, color=INK, fontsize=9)
        scale.ax.tick_params(colors=INK, labelsize=9)
    for panel in panels[:-1]:
        panel.tick_params(labelbottom=False)
    lowest = panels[-1]
    if result.over_time is not None:
        lowest.tick_params(labelbottom=False)
        lowest = figure.add_subplot(rows[3], sharex=panels[0])
        _draw_over_time(lowest, result.over_time)
    lowest.set_xlabel("time (s)", color=INK, fontsize=9)
    _write_heading(figure, result.target)
    numbers = panels[0].set_title(_numbers(result, method_label), loc="right", fontsize=10.5, color=INK)
    numbers.set_parse_math(False)
    return figure


def _draw_over_time(panel: "Axes", found: OverTime) -> None:
    """The prompt's score in the model's own frames, under the pictures."""
    panel.fill_between(
        found.times_s.numpy(), found.probability.numpy(), color=METHOD_COLOURS[0], alpha=0.35, linewidth=0
    )
    panel.plot(found.times_s.numpy(), found.probability.numpy(), color=METHOD_COLOURS[0], linewidth=1.2)
    panel.set_ylim(0, 1)
    panel.set_yticks([0, 1])
    panel.tick_params(colors=INK, labelsize=9)
    panel.spines[["top", "right"]].set_visible(False)
    title = "The prompt's probability in each frame of the model itself"
    panel.set_title(title, loc="left", fontsize=10.5, color=INK)
    if not np.isnan(found.agreement):
        said = f"correlation with what is kept {found.agreement:.2f}"
        panel.set_title(said, loc="right", fontsize=10.5, color=INK)


def _mask_title(peak: float, brightest: float, result: ExplainResult) -> str:
    """What the mask's colours mean."""
    if result.explanation.evidence == "absent":
        return "The mask: 0 everywhere, nothing in this sound speaks for the prompt"
    title = "The mask: 1 counted, 0 did not"
    return title if brightest == 1.0 else f"{title}; colours end at its largest value, {peak:.2g}"


def _write_heading(figure: "Figure", target: str) -> None:
    """The prompt in quotes on one line: in smaller letters, then cut, where it would leave the picture."""
    prompt = " ".join("".join(c if c.isprintable() else " " for c in target[:1000]).split())[:LONGEST_PROMPT]
    style = {"x": 0.01, "ha": "left", "color": INK, "fontweight": "bold"}
    heading = figure.suptitle(f"“{prompt}”", fontsize=14, **style)
    heading.set_parse_math(False)  # "$…$" in a prompt is text, not a formula
    with _any_script():
        right = 0.97 * figure.bbox.x1  # letters are a little wider in the finer picture that is saved
        if heading.get_window_extent().x1 > right:
            heading.set_fontsize(11)
        while heading.get_window_extent().x1 > right:
            share = right / heading.get_window_extent().x1
            prompt = prompt[: min(int(share * len(prompt)), len(prompt) - 1)].rstrip()
            heading.set_text(f"“{prompt}…”")


@contextmanager
def _any_script() -> Iterator[None]:
    """Letters that the font lacks are drawn as boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _numbers(result: ExplainResult, method_label: str | None) -> str:
    parts = [
        method_label or result.explanation.method,
        f"{result.prediction.unit} {result.target_similarity:.2f}",
    ]
    prompts = result.prediction.prompts
    if result.target in prompts:
        share = float(result.prediction.probabilities[prompts.index(result.target)])
        parts.append(f"probability {100 * share:.1f} % among {len(prompts)} prompts")
    else:
        parts.append("not among the prompts that were ranked")
    return " · ".join(parts)


def label_frequencies(panel: "Axes", highest_hz: float) -> None:
    """Mark the vertical axis of a picture whose rows are `picture_cells`."""
    ticks = [hertz for hertz in TICKS_HZ if hertz <= highest_hz * 1.001]
    names = [f"{hertz // 1000} kHz" if hertz >= 1000 else f"{hertz} Hz" for hertz in ticks]
    panel.set_yticks(mel_scale(np.array(ticks)), names)
    panel.tick_params(colors=INK, labelsize=9)
    panel.spines[["top", "right"]].set_visible(False)


def mel_scale(hertz: np.ndarray | float) -> np.ndarray:
    """Mel scale of O'Shaughnessy (1987), the usual one for pictures."""
    return 2595 * np.log10(1 + np.asarray(hertz, dtype=np.float64) / 700)


def picture_cells(cells: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Average (freq, frames) cells onto the picture's grid: equal steps in mel, at most COLUMNS in time."""
    if cells.shape[1] > COLUMNS:
        starts = np.linspace(0, cells.shape[1], COLUMNS + 1).astype(int)
        cells = np.add.reduceat(cells, starts[:-1], axis=1) / np.diff(starts)
    edges = 700 * (10 ** (np.linspace(0, mel_scale(frequencies[-1]), ROWS + 1) / 2595) - 1)
    middles = (frequencies[1:] + frequencies[:-1]) / 2
    source = np.concatenate([[min(0.0, frequencies[0])], middles, [frequencies[-1]]])
    return _averaged(cells.astype(np.float64), source, edges)


def _averaged(cells: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Means over the intervals `target` of a function that is constant on the intervals `source`.

    Args:
        cells: (intervals, columns) values.
        source: (intervals + 1,) rising edges.
        target: (wanted + 1,) rising edges within those of `source`.
    """
    low = np.maximum(target[:-1, None], source[None, :-1])
    high = np.minimum(target[1:, None], source[None, 1:])
    overlap = np.maximum(high - low, 0.0)
    means: np.ndarray = (overlap / overlap.sum(axis=1, keepdims=True)) @ cells
    return means
