"""Pictures of the L2I benchmark."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from l2i_models import TITLES, LoadedClips, Models
from l2i_report import PAPER_FIDELITY, PAPER_REMOVAL
from l2i_sounds import CORRUPTIONS, corrupted
from lmaczs.charts import CONTROL, INK, method_colours, new_chart, plain_axes, save_chart
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.decisions import ZeroShotDecision
from lmaczs.clap.recording import listen
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.signal.spectral import power_of, power_to_db, stft
from lmaczs.types import AudioClip

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Places among the pictured clips, one for each corruption.
PICTURED = (0, 30)
RANGE_DB = 60.0
PAPER_MARK: dict[str, Any] = {"linestyle": "", "marker": "D", "markersize": 4, "markerfacecolor": "none"}


def save_figures(
    results: Mapping[str, Any], models: Models, heard: LoadedClips, labels: Sequence[str], folder: Path
) -> None:
    """Draw all pictures that there are numbers for.

    Args:
        results: of all measurements.
        models: what was measured.
        heard: clips of the corruption measurement.
        labels: of the decision.
        folder: for the PNG files.
    """
    kinds = [
        kind
        for kind in ("zero-shot", "head")
        if any(name in TITLES.values() for name in results.get(f"fidelity {kind}") or ())
    ]
    if kinds:
        _fidelity(results, kinds, folder / "fidelity.svg")
    _removal(results, folder / "removal.svg")
    if results.get("factorisation"):
        _courses(results["factorisation"][1], folder / "nmf.svg")
    _corruption(models, heard, labels, folder / "corruption.png")


def _fidelity(results: Mapping[str, Any], kinds: Sequence[str], path: Path) -> None:
    figure = new_chart(5.2 * len(kinds), 3.4)
    names = [name for name in TITLES.values() if any(name in results[f"fidelity {kind}"] for kind in kinds)]
    colours = method_colours(names)
    titles = {"zero-shot": "CLAP's zero-shot decision", "head": "CNN14 head"}
    for place, kind in enumerate(kinds, start=1):
        axes = figure.add_subplot(1, len(kinds), place)
        rows = results[f"fidelity {kind}"]
        here = [name for name in names if name in rows]
        width = 0.8 / max(len(here), 1)
        for number, name in enumerate(here):
            x = [group - 0.4 + (number + 0.5) * width for group in range(3)]
            heights = [rows[name][f"top-{k}"] for k in (1, 3, 5)]
            errors = [rows[name][f"top-{k} deviation"] for k in (1, 3, 5)]
            axes.bar(
                x, heights, 0.92 * width, yerr=errors, color=colours[name], label=name, ecolor=INK, capsize=2
            )
            if name in PAPER_FIDELITY:
                axes.plot(x, PAPER_FIDELITY[name], color=INK, **PAPER_MARK)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xticks(range(3), ["top-1", "top-3", "top-5"])
        axes.set_ylim(0, 105)
        axes.set_title(
            f"{titles[kind]}, n = {rows[here[0]]['n']}" if here else titles[kind], fontsize=9, color=INK
        )
        axes.set_ylabel("fidelity, %", fontsize=8, color=INK)
        plain_axes(axes)
        if place == 1:
            axes.plot([], [], color=INK, label="paper, its classifier", **PAPER_MARK)
            handles, texts = axes.get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    save_chart(figure, path)


def _removal(results: Mapping[str, Any], path: Path) -> None:
    panels = [
        ("removal zero-shot l2i", "zero-shot, L2I attention"),
        ("removal zero-shot open", "zero-shot, L2I-open"),
        ("removal head l2i", "CNN14 head, L2I attention"),
        ("removal tags l2i", "multi-label head, L2I attention"),
    ]
    panels = [(key, title) for key, title in panels if results.get(key)]
    if not panels:
        return
    figure = new_chart(3.1 * len(panels), 3.0)
    colour = method_colours(["l2i"])["l2i"]
    shared = None
    for place, (key, title) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place, sharey=shared)
        shared = shared or axes
        rows = results[key]
        thresholds = [float(name) for name in rows]
        for which, label, style in (
            ("chosen", "components that count", {"color": colour, "marker": "o"}),
            ("random", "random", {"color": CONTROL, "marker": "s"}),
        ):
            values = [row[f"{which} ff"] for row in rows.values()]
            axes.plot(thresholds, values, label=label, markersize=4, **style)
        if key == "removal zero-shot l2i":
            axes.plot(
                [float(name) for name in PAPER_REMOVAL], list(PAPER_REMOVAL.values()), color=INK, linewidth=0.8,
                linestyle="--", label="paper, its classifier",
            )  # fmt: skip
        axes.invert_xaxis()
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.set_xlabel("threshold of relevance", fontsize=8, color=INK)
        axes.set_title(f"{title}\nn = {next(iter(rows.values()))['n']}", fontsize=9, color=INK)
        plain_axes(axes)
    shared.set_ylabel("fall of the probability, median", fontsize=8, color=INK)
    handles, texts = shared.get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    save_chart(figure, path)


def _courses(courses: Mapping[str, Sequence[float]], path: Path) -> None:
    figure = new_chart(4.6, 3.0)
    axes = figure.add_subplot()
    for (name, course), colour in zip(courses.items(), method_colours(courses).values(), strict=True):
        axes.plot(range(1, len(course) + 1), course, label=name, color=colour)
    axes.set_yscale("log")
    axes.set_xlabel("round", fontsize=8, color=INK)
    axes.set_ylabel("½|X − WH|² + mu ΣH", fontsize=8, color=INK)
    axes.set_title("objective of the sparse NMF", fontsize=9, color=INK)
    axes.legend(fontsize=8, frameon=False)
    plain_axes(axes)
    save_chart(figure, path)


@torch.no_grad()
def _corruption(models: Models, heard: LoadedClips, labels: Sequence[str], path: Path) -> None:
    backend = models.backend
    decision = ZeroShotDecision(backend, labels)
    explainers = {
        name: found for name in ("l2i", "open") if (found := models.explainer("zero-shot", name, decision))
    }
    if not explainers:
        return
    evaluator = MaskEvaluator(backend, tuple(labels))
    figure = new_chart(2.9 * (2 + len(explainers)), 2.6 * len(CORRUPTIONS))
    grid = figure.subplots(len(CORRUPTIONS), 2 + len(explainers), sharex=True, sharey=True)
    for row, which in enumerate(CORRUPTIONS):
        place = min(PICTURED[row], len(heard.clips) - 1)
        clip, clean = heard.clips[place], heard.waveforms[place : place + 1]
        noisy = corrupted(heard, which)[place : place + 1]
        recording = listen(AudioClip(noisy[0], backend.spectral.sample_rate, clip.path), backend)
        target = evaluator.target(labels.index(clip.label))
        sounds = {f"{clip.label}, clean": clean, which: noisy}
        for name, explainer in explainers.items():
            kept = evaluator.kept_sounds(explainer, recording, explainer.explain(recording, target))
            sounds[f"{TITLES[name]} keeps"] = kept[0].unsqueeze(0)
        top = float(power_to_db(power_of(stft(noisy, backend.spectral))).max())
        for axes, (title, sound) in zip(grid[row], sounds.items(), strict=True):
            _spectrogram(axes, sound[0], backend, top)
            axes.set_title(title, fontsize=9, color=INK)
        grid[row][0].set_ylabel("kHz", fontsize=8, color=INK)
    for axes in grid[-1]:
        axes.set_xlabel("s", fontsize=8, color=INK)
    save_chart(figure, path)


def _spectrogram(axes: "Axes", waveform: Tensor, backend: CLAPBackend, top: float) -> None:
    config = backend.spectral
    level = power_to_db(power_of(stft(waveform.unsqueeze(0), config)))[0]
    extent = (0.0, len(waveform) / config.sample_rate, 0.0, config.sample_rate / 2000)
    axes.imshow(
        level.numpy(),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=top - RANGE_DB,
        vmax=top,
        extent=extent,
    )
    axes.tick_params(colors=INK, labelsize=8)
