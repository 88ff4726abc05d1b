"""From rows of results to the tables that people read."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lmaczs.evaluation.explanations import FAITHFULNESS, SHAPE, forms_of, metric_keys, top_k
from lmaczs.evaluation.masks import CONTROLS, FORMS
from lmaczs.evaluation.mixtures import IDEAL, SIDES
from lmaczs.evaluation.rows import Row
from lmaczs.metrics.table import METRICS, aggregate, as_tensors, markdown_table, metric_notes

FORM_TITLES = {
    "soft": "Soft masks, divided by their maximum",
    "top10": "Equal area: the top 10 % of cells",
    "top20": "Equal area: the top 20 % of cells",
}
MIXTURE_KEYS = ("si_sdr_i", "si_sdr_i_b", "si_sdr_i_known", "mask_cosine", "mm")
KNOWN = 5  # a prompt that the model ranks lower is not what it hears: no mask of it can be expected to fit


def explanation_summary(rows: Sequence[Row], methods: Sequence[str]) -> dict[str, Any]:
    """Aggregate one row per clip.

    Args:
        rows: of `judge_clips`.
        methods: in the order to show; the controls follow.

    Returns:
        n_clips, n_failed, top1_percent, top5_percent, mean_probability; forms: form -> method -> metric ->
        mean, median, n, n_empty; without_empty: the soft form once more, without clips whose mask is empty.
    """
    scored = [row for row in rows if "predicted" in row]
    forms = {form: _form(scored, methods, form) for form in FORMS}
    return {
        "n_clips": len(scored),
        "n_failed": len(rows) - len(scored),
        "top1_percent": top_k(scored, 1),
        "top5_percent": top_k(scored, 5),
        "mean_probability": aggregate(as_tensors(scored, ["probability"]))["probability"]["mean"],
        "forms": forms,
        "without_empty": _form(scored, methods, "soft", without_empty=True),
    }


def _form(
    rows: Sequence[Row], methods: Sequence[str], form: str, without_empty: bool = False
) -> dict[str, Any]:
    result = {}
    for method in (*methods, *CONTROLS):
        if form in forms_of(method):
            values = [
                {key: row.get(f"{method}/{form}/{key}", math.nan) for key in metric_keys(form)}
                for row in rows
            ]
            result[method] = aggregate(as_tensors(values, metric_keys(form)), without_empty=without_empty)
    return result


def mixture_summary(rows: Sequence[Row], methods: Sequence[str]) -> dict[str, Any]:
    """Aggregate one row per mixture.

    Returns:
        n_mixtures, n_failed; forms: form -> method -> metric -> mean, median, n, n_empty. "si_sdr_i" is for
        the first sound of each mixture, "si_sdr_i_b" for the second, "si_sdr_i_known" for both where the
        model ranks the prompt among its first five.
    """
    scored = [row for row in rows if "rank_a" in row]
    forms: dict[str, Any] = {form: {} for form in FORMS}
    for method in (*methods, *CONTROLS, IDEAL):
        for form in ("soft",) if method == IDEAL else forms_of(method):
            forms[form][method] = aggregate(_mixture_values(scored, method, form))
    return {"n_mixtures": len(scored), "n_failed": len(rows) - len(scored), "forms": forms}


def _mixture_values(rows: Sequence[Row], method: str, form: str) -> dict[str, Any]:
    """Columns of one method; those of both sides lie one after the other."""

    def column(name: str) -> list[float]:
        return [float(row.get(f"{method}/{form}/{name}", math.nan)) for row in rows]

    gains = {side: column(f"si_sdr_i_{side}") for side in SIDES}
    known = [
        gain
        for side in SIDES
        for gain, row in zip(gains[side], rows, strict=True)
        if float(row[f"rank_{side}"]) <= KNOWN
    ]
    values = {"si_sdr_i": gains["a"], "si_sdr_i_b": gains["b"], "si_sdr_i_known": known}
    if form == "soft" and method != IDEAL:
        values["mask_cosine"] = column("mask_cosine")
        values["mm"] = column("mm_a") + column("mm_b")
    return {key: as_tensors([{key: value} for value in column], [key])[key] for key, column in values.items()}


def report_markdown(explanations: Mapping[str, Any], mixtures: Mapping[str, Any] | None, title: str) -> str:
    """Everything for people: tables with n and the better direction in the head, and what the rows mean."""
    keys = (*FAITHFULNESS, *SHAPE)
    lines = [
        f"# Explanations: {title}",
        "",
        f"{explanations['n_clips']} clips, {explanations['n_failed']} not readable. "
        "Explained is the predicted prompt among all labels of the set "
        f"(top-1 {_number(explanations['top1_percent'], 1)} %, "
        f"top-5 {_number(explanations['top5_percent'], 1)} %, "
        f"mean probability {_number(explanations['mean_probability'], 2)}). "
        "Scored on what is heard: the masked audio goes through the classifier again.",
        "",
    ]
    for form in FORMS:
        shown = keys if form == "soft" else (*FAITHFULNESS, "mm")
        lines += [f"## {FORM_TITLES[form]}", "", markdown_table(explanations["forms"][form].items(), shown)]
    if any(row["mm"]["n_empty"] for row in explanations["without_empty"].values()):
        lines += ["## Soft masks, clips with an empty mask left out", ""]
        lines += [markdown_table(explanations["without_empty"].items(), keys)]
    lines += ["## For comparison with the papers' code only", ""]
    lines += [markdown_table(explanations["forms"]["soft"].items(), ("ad", "ad_double"))]
    if mixtures is not None:
        lines += [
            "## Mixtures of two sounds at 0 dB",
            "",
            f"{mixtures['n_mixtures']} mixtures, {mixtures['n_failed']} failed. "
            "SI-SDR of what is kept minus SI-SDR of the mixture, against the sound that is prompted for.",
            "",
        ]
        for form in FORMS:
            columns = MIXTURE_KEYS if form == "soft" else MIXTURE_KEYS[:3]
            lines += [
                f"### {FORM_TITLES[form]}",
                "",
                markdown_table(mixtures["forms"][form].items(), columns),
            ]
    lines += [
        "n: how many values went into a row; several numbers where its columns differ, from fewest to most.",
        "",
    ]
    lines += ["## Controls", ""]
    lines += [f"- **{name}**: {meaning}." for name, meaning in CONTROLS.items()]
    if mixtures is not None:
        lines += [f"- **{IDEAL}**: made from the separate sounds; about the best that a mask can do."]
    noted = [key for key in METRICS if mixtures is not None or key in (*keys, "ad_double")]
    lines += ["", "## Columns", "", metric_notes(noted)]
    return "\n".join(lines)


def _number(value: float, decimals: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{decimals}f}"
