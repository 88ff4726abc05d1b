"""Pictures of the checks, as in Paissan et al. 2024, Figures 3 and 5."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmaczs.charts import CONTROL, INK, PAPER, method_colours, new_chart, plain_axes, save_chart
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.data.clips import Clip
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.provenance import sound_sha256
from lmaczs.evaluation.scores import Row
from lmaczs.plots import RANGE_DB, label_frequencies, mel_scale, picture_cells
from lmaczs.sanity.checks import MASK_MEAN, Group, LoadedClip, Reference, disturbed, load_entry
from lmaczs.sanity.likeness import order_kept, ssim
from lmaczs.sanity.plan import OTHER_CLIP, RIGHT, UNRELATED, UNTOUCHED, SanityPlan, Step
from lmaczs.sanity.report import LIKENESS, MOST_ALIKE, step_of
from lmaczs.signal.spectral import frequencies_hz, mel_frequencies_hz, stft
from lmaczs.types import AudioClip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

WRONG = "#9aa5b1"
CASCADE, MASKS, MEANS = "cascade.svg", "cascade_masks.png", "mask_mean.svg"
PANEL_COLUMNS = 4
# Inches of one mask in the grid.
CELL = (1.75, 1.45)


def save_figures(
    rows: Sequence[Row],
    summary: Mapping[str, Any],
    plan: SanityPlan,
    clips: Sequence[Clip],
    folder: Path,
) -> None:
    """Draw what was checked: the cascade as lines and as masks, and mask means over similarities.

    Args:
        rows: of `lmaczs.sanity.checks.run_checks`.
        summary: of the rows.
        plan: that made them.
        clips: in the order of the rows; one of them is shown.
        folder: for the files.
    """
    colours = _colours(plan)
    if any(step != OTHER_CLIP for found in summary["methods"].values() for step in found["steps"]):
        save_chart(cascade_figure(summary, colours), folder / CASCADE)
    if any("mask_mean" in found for found in summary["methods"].values()):
        save_chart(mask_mean_figure(rows, summary, plan.contenders, colours), folder / MEANS)
    if (chosen := _to_show(rows, clips)) is not None:
        audio = load_entry(chosen, plan.evaluator.backend.spectral.sample_rate)
        if isinstance(audio, AudioClip):
            group = Group(plan, [LoadedClip(chosen, sound_sha256(chosen.file), audio)])
            save_chart(masks_figure(group, Reference(plan.evaluator, clips)), folder / MASKS)


def _to_show(rows: Sequence[Row], clips: Sequence[Clip]) -> Clip | None:
    """The clip that the model is most sure of: its explanation has something to lose."""
    heard = [row for row in rows if row["condition"].split("/")[1] == OTHER_CLIP and "error" not in row]
    heard = [row for row in heard if row["prompt"] == prompts_from_labels([row["label"]])[0]] or heard
    if not heard:
        return None
    best = max(heard, key=lambda row: row["similarity"])
    return next(clip for clip in clips if clip.path == best["clip"])


def cascade_figure(summary: Mapping[str, Any], colours: Mapping[str, Any]) -> "Figure":
    """Likeness to the original explanation over randomised blocks (Figure 3, right), and the other steps beside it.

    Lines are means over clips and seeds, bands reach from the lowest to the highest seed. Controls are grey.

    Args:
        summary: of `lmaczs.sanity.report.sanity_summary`.
        colours: by method.
    """
    methods, blocks = summary["methods"], summary["blocks"]
    others = list(dict.fromkeys(step for found in methods.values() for step in found["steps"]))
    others = [step for step in others if step not in blocks and step != OTHER_CLIP] + [OTHER_CLIP]
    places = ["original", *blocks] if blocks else []
    names = [*places[:2], *(f"+ {block}" for block in places[2:]), *others]
    lowest = min(
        v["low"] for found in methods.values() for s in found["steps"].values() for v in s.values() if v["n"]
    )
    bottom = min(-0.25, lowest - 0.05)
    figure = new_chart(11.5, 4.4)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (key, label) in zip(panels, LIKENESS.items(), strict=True):
        axes.axhspan(bottom, MOST_ALIKE, color="#eef3ee", zorder=0)
        for turn, (name, found) in enumerate(methods.items()):
            steps = {step: values[key] for step, values in found["steps"].items() if values[key]["n"]}
            # Markers of several methods side by side.
            shift = 0.5 * ((turn + 0.5) / len(methods) - 0.5)
            _draw_steps(axes, name, colours[name], steps, places, others, shift)
        if places:
            axes.axvline(len(places) - 0.5, color=INK, linewidth=0.6, alpha=0.4)
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
        axes.set_xlim(-0.3, len(names) - 0.5)
        axes.set_ylim(bottom, 1.05)
        axes.set_title(f"{label} to the original mask ↓", fontsize=10, color=INK, loc="left")
        plain_axes(axes)
    clips = f"{summary['n_clips']} clips, green: below {MOST_ALIKE}"
    panels[0].set_ylabel(f"likeness ({clips})", fontsize=9, color=INK)
    # SSIM is known for all, ranks only where there are any.
    handles, labels = panels[0].get_legend_handles_labels()
    panels[1].legend(handles, labels, fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_steps(
    axes: "Axes",
    name: str,
    colour: Any,
    steps: Mapping[str, Mapping[str, float]],
    places: Sequence[str],
    others: Sequence[str],
    shift: float,
) -> None:
    """One method's line over the blocks, and its markers at the other steps."""
    style = {"color": colour, "zorder": 2 if name in UNTOUCHED else 3}
    line = [(place, steps[block]) for place, block in enumerate(places) if block in steps]
    if line:
        at = [0.0, *(float(place) for place, _ in line)]
        mean, low, high = ([1.0, *(values[key] for _, values in line)] for key in ("mean", "low", "high"))
        axes.plot(at, mean, _dashes(name), label=name, linewidth=1.8, **style)
        axes.fill_between(at, low, high, alpha=0.15, linewidth=0, **style)
    marks = [
        (len(places) + place + shift, steps[step]["mean"])
        for place, step in enumerate(others)
        if step in steps
    ]
    if marks:
        at, mean = ([mark[axis] for mark in marks] for axis in (0, 1))
        axes.scatter(at, mean, s=26, label=None if line else name, **style)


def mask_mean_figure(
    rows: Sequence[Row],
    summary: Mapping[str, Any],
    contenders: Sequence[Contender],
    colours: Mapping[str, Any],
) -> "Figure":
    """Mask mean over similarity for right and unrelated prompts, one panel a method (Figure 3, left and middle).

    Args:
        rows: of `lmaczs.sanity.checks.run_checks`.
        summary: of the rows.
        contenders: whose masks they are about.
        colours: by method.
    """
    methods = {name: found for name, found in summary["methods"].items() if "mask_mean" in found}
    columns = {contender.name: f"{contender.key}/{MASK_MEAN}" for contender in contenders}
    rows = [step_of(row) for row in rows]
    across = min(PANEL_COLUMNS, len(methods))
    down = math.ceil(len(methods) / across)
    figure = new_chart(3.1 * across, 2.8 * down + 0.5)
    panels = figure.subplots(down, across, sharex=True, squeeze=False).flatten()
    for axes, (name, found) in zip(panels, methods.items(), strict=False):
        # Unrelated prompts first: there are more of them.
        for step, colour, label in (
            (UNRELATED, WRONG, "unrelated prompts"),
            (RIGHT, colours[name], "right prompt"),
        ):
            chosen = [row for row in rows if row["step"] == step and columns[name] in row]
            points = [(row["similarity"], row[columns[name]]) for row in chosen]
            marker = "x" if step == UNRELATED else "o"
            axes.scatter(
                *zip(*points, strict=True), s=13, alpha=0.7, color=colour, marker=marker, label=label,
                rasterized=True,
            )  # fmt: skip
        # From 0 in each panel, but each to its own top: some methods' masks are faint throughout.
        axes.set_ylim(0, 1.15 * max(axes.get_ylim()[1], 1e-6))
        values = found["mask_mean"]
        correlation = "–" if math.isnan(values["spearman"]) else f"{values['spearman']:.2f}"
        axes.set_title(
            f"{name}\nSpearman {correlation}, n = {values['n']}", fontsize=9, color=INK, loc="left"
        )
        plain_axes(axes)
    for axes in panels[len(methods) :]:
        axes.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", fontsize=8, frameon=False, ncols=2)
    figure.supxlabel("cosine similarity of the clip and the prompt", fontsize=9, color=INK)
    figure.supylabel("mask mean", fontsize=9, color=INK)
    return figure


def masks_figure(group: Group, hear_reference: Reference) -> "Figure":
    """One clip's masks through the checks (Figure 5): a row for each method, the first random model of each step.

    Args:
        group: of the one clip.
        hear_reference: real sounds for the random models, as in the run.
    """
    plan = group.plan
    steps = [step for step in plan.steps() if step.number == 0 and step.name not in (OTHER_CLIP, RIGHT)]
    originals = {method.name: group.originals(method)[0] for method in plan.methods}
    answers: dict[str, list[Tensor | None]] = {name: [mask] for name, mask in originals.items()}
    for step in steps:
        takers = plan.takers(step)
        with disturbed(group, step, hear_reference) as (recordings, targets):
            for method in plan.methods:
                mask = group.masks(method, recordings, targets)[0] if method in takers else None
                answers[method.name].append(mask)
    figure = new_chart(CELL[0] * (len(steps) + 2) + 0.6, CELL[1] * len(answers) + 0.9)
    panels = figure.subplots(len(answers), len(steps) + 2, sharex=True, sharey=True, squeeze=False)
    for line, (name, masks) in zip(panels, answers.items(), strict=True):
        _draw_recording(line[0], group)
        line[0].set_ylabel(name, fontsize=9, color=INK)
        for axes, shown in zip(line[1:], masks, strict=True):
            _draw_mask(axes, shown, originals[name], group)
    for axes, title in zip(panels[0], _titles(group, steps), strict=True):
        axes.set_title(title, fontsize=8.5, color=INK, loc="left")
    for axes in panels[-1]:
        axes.set_xlabel("time (s)", fontsize=8, color=INK)
    title = f"“this is the sound of {group.predicted[0]}”: masks from 0 (dark) to 1 (bright)"
    figure.suptitle(title, fontsize=10.5, color=INK, x=0.01, ha="left").set_parse_math(False)
    return figure


def _titles(group: Group, steps: Sequence[Step]) -> list[str]:
    titles, depth = ["recording", "original"], 0
    for step in steps:
        if step.name == UNRELATED:
            titles.append(f"for “{group.labels(step)[0]}”")
        else:
            depth += step.check == "cascade"
            titles.append(
                f"+ {step.name}" if step.check == "cascade" and depth > 1 else f"random {step.name}"
            )
    return titles


def _draw_recording(axes: "Axes", group: Group) -> None:
    backend = group.plan.evaluator.backend
    power = stft(group.clips[0].audio.waveform.unsqueeze(0), backend.spectral).abs().square()
    power = power if group.plan.domain == "stft" else backend.mel_power(power)
    cells, extent = _cells(power[0].cpu(), group)
    level = 10 * np.log10(np.maximum(cells / cells.max(), 1e-12))
    axes.imshow(level, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-RANGE_DB, vmax=0)
    label_frequencies(axes, _frequencies(group)[-1])
    axes.tick_params(labelsize=7)


def _draw_mask(axes: "Axes", mask: "Tensor | None", original: "Tensor", group: Group) -> None:
    """A mask, and how like the original one it is; a note where there is none."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7, colors=INK)
    if mask is None:
        axes.text(
            0.5, 0.5, "no weights\nof its own", transform=axes.transAxes, ha="center", va="center", fontsize=7
        )
        return
    cells, extent = _cells(mask, group)
    axes.imshow(cells, origin="lower", aspect="auto", extent=extent, cmap="viridis", vmin=0, vmax=1)
    if mask is not original:
        rank = order_kept(original, mask)
        text = f"SSIM {ssim(original, mask):.2f}" + ("" if math.isnan(rank) else f", rank {rank:.2f}")
        box = {"facecolor": PAPER, "alpha": 0.75, "edgecolor": "none", "pad": 1}
        axes.text(0.02, 0.97, text, transform=axes.transAxes, va="top", fontsize=6.5, color=INK, bbox=box)


def _frequencies(group: Group) -> np.ndarray:
    grid = group.plan.evaluator.backend.spectral
    found = frequencies_hz(grid) if group.plan.domain == "stft" else mel_frequencies_hz(grid)
    return found.double().numpy()


def _cells(values: "Tensor", group: Group) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Cells on the picture's grid, and the extent of both axes."""
    frequencies = _frequencies(group)
    seconds = group.clips[0].audio.waveform.shape[-1] / group.plan.evaluator.backend.spectral.sample_rate
    return picture_cells(values.numpy(), frequencies), (0.0, seconds, 0.0, float(mel_scale(frequencies[-1])))


def _colours(plan: SanityPlan) -> dict[str, Any]:
    """One colour per method, in all pictures; controls are grey."""
    return method_colours(method.name for method in plan.methods) | dict.fromkeys(UNTOUCHED, CONTROL)


def _dashes(name: str) -> str:
    return dict(zip(UNTOUCHED, ("-", "-.", ":", "--"), strict=True)).get(name, "-")
