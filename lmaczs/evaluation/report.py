"""The summary for people: tables with intervals, n and the better direction in the head, and what their rows mean."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lmaczs.evaluation.masks import CONTROLS, FORMS, IDEAL
from lmaczs.evaluation.summary import ranking_of, shown_entries
from lmaczs.metrics.registry import METRICS
from lmaczs.metrics.statistics import CONFIDENCE, ROUNDS
from lmaczs.metrics.table import markdown_table, metric_notes

CONDITION_TITLES = {
    "none": "Clean clips",
    "white": "White noise over the clips, {snr:g} dB",
    "same": "Another clip of the set over the clips, {snr:g} dB",
    "speech": "Speech over the clips, {snr:g} dB",
}
DOMAIN_TITLES = {"stft": "STFT masks", "mel": "Mel masks"}
FORM_TITLES = {
    "soft": "as the methods give them",
    "top10": "equal area, the top 10 % of cells",
    "top20": "equal area, the top 20 % of cells",
}
FIGURES = {
    "metrics.svg": "Each metric by method and setting",
    "curves.svg": "Deletion and insertion curves",
    "mask_mean.svg": "Mask mean against similarity",
}


def report_markdown(summary: Mapping[str, Any], title: str, snr_db: float, device: str) -> str:
    """Write the whole report.

    Args:
        summary: `evaluation_summary`, with `mixture_summary` under "mixtures" where there is one.
        title: what was evaluated.
        snr_db: of the contaminated conditions, dB.
        device: that the times were taken on.
    """
    lines = [f"# Explanations: {title}", "", *_INTRODUCTION, "", *_wins(summary)]
    for condition, table in summary["conditions"].items():
        lines += [f"## {CONDITION_TITLES[condition].format(snr=snr_db)}", "", _accuracy(table), ""]
        lines += _domains(table["domains"])
    if "mixtures" in summary:
        mixtures = summary["mixtures"]
        lines += [
            "## Mixtures of two sounds at 0 dB",
            "",
            f"{mixtures['n_mixtures']} mixtures, {mixtures['n_failed']} failed, each explained twice: once for each of "
            "its labels. Values are means of the two, n counts mixtures. No method knows the separate sounds.",
            "",
            *_domains(mixtures["domains"], mixtures=True),
        ]
    lines += ["## Pictures", "", *(f"![{text}]({name})" for name, text in FIGURES.items())]
    return "\n".join([*lines, "", *_notes(summary), *_times(summary["times"], device)]) + "\n"


_INTRODUCTION = (
    "Explained is the prompt that the classifier takes for the most probable one among all labels of the set. Scored on "
    "what is heard: the masked audio goes through the classifier again.",
    f"In brackets: {100 * CONFIDENCE:.0f} % bootstrap intervals over clips ({ROUNDS} resamples). **Bold** is the best: "
    "the paired interval of its difference to every other one excludes 0. Where nobody is, *italics* are tied with the "
    "leader. Ranked are all methods that were scored on every clip, and at equal area also the random and the energy "
    "mask. The other controls are shown, not ranked: of the masks as the methods give them, the constant one shows what "
    "a faint mask earns.",
)


def _wins(summary: Mapping[str, Any]) -> list[str]:
    """In how many settings each competitor is best, and tied with the leader."""
    lines = [f"## Best + tied in how many of the {summary['n_settings']} settings", ""]
    for form, wins in summary["wins"].items():
        names = list(dict.fromkeys(name for found in wins.values() for name in found))
        heads = [f"{METRICS[key].label} {METRICS[key].direction}" for key in wins]
        lines += ["| " + " | ".join([FORM_TITLES[form], *heads]) + " |", "|---|" + "---:|" * len(heads)]
        for name in names:
            counts = [found.get(name, {"best": 0, "tied": 0}) for found in wins.values()]
            cells = [f"{count['best']} + {count['tied']}" if any(count.values()) else "" for count in counts]
            lines.append("| " + " | ".join([name, *cells]) + " |")
        lines.append("")
    return lines


def _accuracy(table: Mapping[str, Any]) -> str:
    return (
        f"{table['n_clips']} clips, {table['n_failed']} failed. Classifier: "
        f"top-1 {_number(table['top1_percent'], 1)} %, top-5 {_number(table['top5_percent'], 1)} %, "
        f"mean probability {_number(table['mean_probability'], 2)}."
    )


def _domains(domains: Mapping[str, Any], mixtures: bool = False) -> list[str]:
    """The tables of one condition, or of the mixtures."""
    lines = []
    for domain, found in domains.items():
        for form in FORMS:
            rankings = {key: ranking_of(value) for key, value in found["ranking"][form].items()}
            keys = [entry.key for entry in shown_entries(form, mixtures)]
            lines += [f"### {DOMAIN_TITLES[domain]}, {FORM_TITLES[form]}", ""]
            lines += [markdown_table(found["forms"][form].items(), keys, rankings)]
    return lines


def _notes(summary: Mapping[str, Any]) -> list[str]:
    known = "mixtures" in summary or any(condition != "none" for condition in summary["conditions"])
    shown = [*shown_entries("soft"), *(shown_entries("soft", mixtures=True) if "mixtures" in summary else ())]
    return [
        "## Rows and columns",
        "",
        "n: how many values went into a row; several numbers where its columns differ, from fewest to most.",
        "",
        *(f"- **{name}**: {meaning}." for name, meaning in CONTROLS.items() if known or name != IDEAL),
        "",
        metric_notes(list(dict.fromkeys(entry.key for entry in shown))),
    ]


def _times(times: Mapping[str, Mapping[str, float]], device: str) -> list[str]:
    return [
        "## Run time",
        "",
        f"On {device}. Scoring is the masking and the encoder passes of all forms and curve points.",
        "",
        *table_lines(
            ["masks", "explaining, ms a clip", "scoring, ms a clip", "n"],
            [[key, f"{t['explain']:.0f}", f"{t['score']:.0f}", str(t["n"])] for key, t in times.items()],
        ),
    ]


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table of texts; the first column is left-aligned, the others are right-aligned."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def _number(value: float, decimals: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{decimals}f}"
