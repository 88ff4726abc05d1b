"""The summary for people: tables with n and the better direction in the head, and what their rows mean."""

import math
from collections.abc import Mapping
from typing import Any

from lmaczs.evaluation.explanations import AREAS, SHAPE, TOP_K
from lmaczs.evaluation.judge import Judge
from lmaczs.evaluation.masks import CONTROLS, FORMS, IDEAL
from lmaczs.evaluation.stopwatch import Stopwatch
from lmaczs.evaluation.summary import competitors
from lmaczs.metrics.table import METRICS, markdown_table, metric_notes

CONDITION_TITLES = {
    "none": "Clean clips",
    "white": "White noise over the clips, {snr:g} dB",
    "same": "Another clip of the set over the clips, {snr:g} dB",
    "speech": "Speech over the clips, {snr:g} dB",
}
DOMAIN_TITLES = {"stft": "STFT masks", "mel": "Mel masks"}
FORM_TITLES = {
    "soft": "soft, divided by their maximum",
    "top10": "equal area, the top 10 % of cells",
    "top20": "equal area, the top 20 % of cells",
}
SOFT_KEYS = ("ai", "ad", "ag", "ff", "ff_median", "fid_in", *SHAPE, *AREAS)
AREA_KEYS = ("ai", "ad", "ag", "ff", "ff_median", "fid_in")
FURTHER_KEYS = (*TOP_K, "ad", "ad_double")
MIXTURE_KEYS = ("si_sdr_i", "si_sdr_i_known")
MIXTURE_SOFT_KEYS = (*MIXTURE_KEYS, "on_target", "pointing", "mask_cosine", "mm")
FIGURES = {
    "metrics.png": "Each metric by method and setting",
    "curves.png": "Deletion and insertion curves",
    "mask_mean.png": "Mask mean against similarity",
}


def report_markdown(
    summary: Mapping[str, Any], judge: Judge, title: str, snr_db: float, stopwatch: Stopwatch
) -> str:
    """Write the whole report.

    Args:
        summary: `explanation_summary`, with `mixture_summary` under "mixtures" where there is one.
        judge: that everything was scored with.
        title: what was evaluated.
        snr_db: of the contaminated conditions, dB.
        stopwatch: with the times.
    """
    lines = [
        f"# Explanations: {title}",
        "",
        "Explained is the prompt that the classifier takes for the most probable one among all labels of the set. "
        "Scored on what is heard: the masked audio goes through the classifier again.",
        "**Bold** is the best of those that compete: all methods that were scored on every clip, and at equal area "
        "also the random and the energy mask. The other controls are shown, not ranked.",
        "",
        *_contests(summary, judge),
    ]
    for condition, table in summary["conditions"].items():
        lines += [f"## {CONDITION_TITLES[condition].format(snr=snr_db)}", "", _accuracy(table), ""]
        for domain, found in table["domains"].items():
            lines += _setting(found, DOMAIN_TITLES[domain], judge)
    if "mixtures" in summary:
        lines += _mixtures(summary["mixtures"], judge)
    lines += ["## Pictures", ""]
    lines += [f"![{text}]({name})" for name, text in FIGURES.items()]
    lines += ["", *_further(summary, snr_db), *_notes(summary), *_times(judge, stopwatch)]
    return "\n".join(lines) + "\n"


def _contests(summary: Mapping[str, Any], judge: Judge) -> list[str]:
    """In how many settings each competitor is best."""
    count = summary["n_settings"]
    lines = [f"## Who is best in how many of the {count} settings", ""]
    for form, wins in summary["wins"].items():
        heads = [f"{METRICS[key].label} {METRICS[key].direction}" for key in wins]
        lines += [
            f"| {FORM_TITLES[form].split(',')[0] if form == 'soft' else FORM_TITLES[form]} | "
            + " | ".join(heads)
            + " |",
            "|---|" + "---:|" * len(heads),
        ]
        for name in next(iter(wins.values()), {}):
            lines.append(f"| {name} | " + " | ".join(str(found[name]) for found in wins.values()) + " |")
        lines.append("")
    return lines


def _accuracy(table: Mapping[str, Any]) -> str:
    return (
        f"{table['n_clips']} clips, {table['n_failed']} failed. Classifier: "
        f"top-1 {_number(table['top1_percent'], 1)} %, top-5 {_number(table['top5_percent'], 1)} %, "
        f"mean probability {_number(table['mean_probability'], 2)}."
    )


def _setting(found: Mapping[str, Any], title: str, judge: Judge) -> list[str]:
    """The tables of one condition and domain."""
    lines = []
    for form in FORMS:
        rows = found["forms"][form]
        keys = SOFT_KEYS if form == "soft" else AREA_KEYS
        lines += [f"### {title}, {FORM_TITLES[form]}", ""]
        lines += [markdown_table(rows.items(), keys, competitors(form, rows, judge))]
    if any(row["mm"]["n_empty"] for row in found["without_empty"].values()):
        lines += [f"### {title}, {FORM_TITLES['soft']}: clips with an empty mask left out", ""]
        lines += [markdown_table(found["without_empty"].items(), SOFT_KEYS)]
    return lines


def _mixtures(mixtures: Mapping[str, Any], judge: Judge) -> list[str]:
    lines = [
        "## Mixtures of two sounds at 0 dB",
        "",
        f"{mixtures['n_mixtures']} mixtures, {mixtures['n_failed']} failed, each explained twice: once for each of "
        "its labels. No method knows the separate sounds.",
        "",
    ]
    for domain, forms in mixtures["domains"].items():
        for form, rows in forms.items():
            keys = MIXTURE_SOFT_KEYS if form == "soft" else MIXTURE_KEYS
            lines += [f"### {DOMAIN_TITLES[domain]}, {FORM_TITLES[form]}", ""]
            lines += [markdown_table(rows.items(), keys, competitors(form, rows, judge))]
    return lines


def _further(summary: Mapping[str, Any], snr_db: float) -> list[str]:
    lines = [
        "## The three most probable prompts, and AD as the papers' code has it",
        "",
        "How the kept part moves the probabilities of the prompts that the clip itself made the three most probable "
        "ones; the first of them is explained. AD with a second softmax is for comparison with the papers only.",
        "",
    ]
    for condition, table in summary["conditions"].items():
        for domain, found in table["domains"].items():
            lines += [f"### {CONDITION_TITLES[condition].format(snr=snr_db)}: {DOMAIN_TITLES[domain]}", ""]
            lines += [markdown_table(found["forms"]["soft"].items(), FURTHER_KEYS)]
    return lines


def _notes(summary: Mapping[str, Any]) -> list[str]:
    known = "mixtures" in summary or any(condition != "none" for condition in summary["conditions"])
    keys = [key for key in METRICS if key in (*SOFT_KEYS, *FURTHER_KEYS)]
    if "mixtures" in summary:
        keys += [key for key in METRICS if key in MIXTURE_SOFT_KEYS and key not in keys]
    return [
        "## Rows and columns",
        "",
        "n: how many values went into a row; several numbers where its columns differ, from fewest to most. "
        "n empty: how many of the masks have no cell at all.",
        "",
        *(f"- **{name}**: {meaning}." for name, meaning in CONTROLS.items() if known or name != IDEAL),
        "",
        metric_notes(keys),
    ]


def _times(judge: Judge, stopwatch: Stopwatch) -> list[str]:
    device = judge.backend.mel_filters.device.type
    minutes = stopwatch.total / 60
    lines = [
        "## Run time",
        "",
        f"{minutes:.0f} min in all on {device}."
        if minutes >= 1
        else f"{stopwatch.total:.0f} s in all on {device}.",
        "Scoring is the masking and the encoder passes of all forms and curve points.",
        "",
        "| masks | explaining, ms a clip | scoring, ms a clip |",
        "|---|---:|---:|",
    ]
    for key, times in stopwatch.milliseconds().items():
        lines.append(f"| {key} | {times['explain']:.0f} | {times['score']:.0f} |")
    return lines


def _number(value: float, decimals: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{decimals}f}"
