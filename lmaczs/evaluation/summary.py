"""From rows of results to means, medians and counts, by condition, mask domain, form and contender."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.explanations import AREAS, CURVES, FAITHFULNESS, SHAPE, TOP_K, curve_points
from lmaczs.evaluation.judge import Judge
from lmaczs.evaluation.masks import FORMS
from lmaczs.evaluation.mixtures import SIDES
from lmaczs.evaluation.rows import Row
from lmaczs.metrics.table import aggregate, as_tensors, best_rows
from lmaczs.types import MaskDomain

KNOWN = 5  # a prompt that the model ranks lower is not what it hears: no mask of it can be expected to fit
EQUAL_AREA_RIVALS = ("random", "energy")  # controls that compete where all masks have the same area
# What a method can be best in; the full mask is best in some of the soft ones, and controls do not compete there.
CONTESTS = {
    "soft": ("ai", "ad", "ag", "ff", "fid_in", "deletion_auc", "insertion_auc"),
    "top10": ("ad", "fid_in", "ff"),
    "top20": ("ad", "fid_in", "ff"),
}


def explanation_summary(
    rows: Sequence[Row], judge: Judge, conditions: Sequence[str], domains: Sequence[MaskDomain]
) -> dict[str, Any]:
    """Aggregate one row per clip and condition.

    Args:
        rows: of `lmaczs.evaluation.explanations.judge_clips`.
        judge: that they were scored with.
        conditions: in the order to show.
        domains: in the order to show.

    Returns:
        n_clips, n_failed: rows with numbers, rows with an error; conditions: see `_condition`; wins: form ->
        metric -> contender -> in how many settings it is best; n_settings.
    """
    tables = {
        condition: _condition([row for row in rows if row["condition"] == condition], judge, domains)
        for condition in conditions
    }
    settings = [table["domains"][domain]["forms"] for table in tables.values() for domain in domains]
    return {
        "n_clips": sum(table["n_clips"] for table in tables.values()),
        "n_failed": sum("error" in row for row in rows),
        "conditions": tables,
        "wins": {
            form: {key: _wins([forms[form] for forms in settings], key, form, judge) for key in keys}
            for form, keys in CONTESTS.items()
        },
        "n_settings": len(settings),
    }


def competitors(form: str, table: Mapping[str, Any], judge: Judge) -> list[str]:
    """Names in a table that compete: methods on all clips; at equal area also the random and energy controls.

    A method that was scored on fewer clips than others is shown, but its mean is of other clips.

    Args:
        form: key in `FORMS`.
        table: contender -> metric -> result of `aggregate`.
        judge: that the rows were scored with.
    """
    methods = {contender.name for contender in judge.contenders if contender.explainer is not None}
    everyone = methods if form == "soft" else {*methods, *EQUAL_AREA_RIVALS}
    return [name for name in table if name in everyone and name not in judge.limits]


def _wins(tables: Sequence[Mapping[str, Any]], key: str, form: str, judge: Judge) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table in tables:
        names = competitors(form, table, judge)
        for name in names:
            counts.setdefault(name, 0)
        for name in best_rows([(name, table[name]) for name in names], key):
            counts[name] += 1
    return counts


def _condition(rows: Sequence[Row], judge: Judge, domains: Sequence[MaskDomain]) -> dict[str, Any]:
    """n_clips, n_failed, top1_percent, top5_percent, mean_probability; domains: domain -> forms, without_empty
    and curves of each contender that stands in it."""
    scored = [row for row in rows if "predicted" in row]
    result: dict[str, Any] = {
        "n_clips": len(scored),
        "n_failed": sum("error" in row for row in rows),
        "top1_percent": top_k_percent(scored, 1),
        "top5_percent": top_k_percent(scored, 5),
        "mean_probability": aggregate(as_tensors(scored, ["probability"]))["probability"]["mean"],
        "domains": {},
    }
    for domain in domains:
        present = [
            contender
            for contender in judge.contenders
            if contender.stands_in(domain) and any(f"{contender.key}/soft/ff" in row for row in scored)
        ]
        result["domains"][domain] = {
            "forms": {
                form: {c.name: _values(scored, c, form) for c in present if form in c.forms} for form in FORMS
            },
            "without_empty": {c.name: _values(scored, c, "soft", without_empty=True) for c in present},
            "curves": {c.name: _curve(scored, c, judge.shares) for c in present if len(c.forms) > 1},
        }
    return result


def _values(
    rows: Sequence[Row], contender: Contender, form: str, without_empty: bool = False
) -> dict[str, Any]:
    """metric -> mean, median, n, n_empty."""
    keys = FAITHFULNESS if form != "soft" else (*FAITHFULNESS, *SHAPE, *TOP_K, "ad_double")
    values = [{key: row.get(f"{contender.key}/{form}/{key}", math.nan) for key in keys} for row in rows]
    for entry, row in zip(values, rows, strict=True):
        entry["mm"] = row.get(f"{contender.key}/soft/mm", math.nan)  # tells which masks are empty
        if form == "soft" and len(contender.forms) > 1:
            entry |= {key: row.get(f"{contender.key}/curve/{key}", math.nan) for key in AREAS}
    result = aggregate(as_tensors(values, list(values[0]) if values else keys), without_empty=without_empty)
    return result if form == "soft" else {key: result[key] for key in keys}


def _curve(rows: Sequence[Row], contender: Contender, shares: Sequence[float]) -> dict[str, Any]:
    """Mean probabilities of the same clips: whole, silence, deletion and insertion at each share; n."""
    names = curve_points(shares)
    rows = [row for row in rows if f"{contender.key}/curve/{names[0]}" in row]
    columns = [{name: row[f"{contender.key}/curve/{name}"] for name in names} for row in rows]
    ends = aggregate(as_tensors(rows, ["probability", "silence"]))
    means = aggregate(as_tensors(columns, names))
    found = [means[name]["mean"] for name in names]
    curves = dict(zip(CURVES, (found[: len(shares)], found[len(shares) :]), strict=True))
    whole, silence = ends["probability"]["mean"], ends["silence"]["mean"]
    return {"shares": list(shares), "whole": whole, "silence": silence, **curves, "n": len(rows)}


def mixture_summary(rows: Sequence[Row], judge: Judge, domains: Sequence[MaskDomain]) -> dict[str, Any]:
    """Aggregate one row per mixture; each is explained twice, once for each of its sounds.

    Args:
        rows: of `lmaczs.evaluation.mixtures.judge_mixtures`.
        judge: that they were scored with.
        domains: in the order to show.

    Returns:
        n_mixtures, n_failed; domains: domain -> form -> contender -> metric -> mean, median, n, n_empty.
        "si_sdr_i" is over both sounds, "si_sdr_i_known" over those that the model ranks among its first five.
    """
    scored = [row for row in rows if "rank_a" in row]
    tables = {
        domain: {
            form: {
                contender.name: aggregate(_mixture_values(scored, contender, form))
                for contender in judge.contenders
                if contender.stands_in(domain) and form in contender.forms
            }
            for form in FORMS
        }
        for domain in domains
    }
    failed = sum("error" in row for row in rows)
    return {"n_mixtures": len(scored), "n_failed": failed, "domains": tables}


def _mixture_values(rows: Sequence[Row], contender: Contender, form: str) -> dict[str, Any]:
    """Values of one contender; those of both sounds lie one after the other."""

    def column(name: str) -> list[float]:
        return [float(row.get(f"{contender.key}/{form}/{name}", math.nan)) for row in rows]

    def both(name: str) -> list[float]:
        return [value for side in SIDES for value in column(f"{name}_{side}")]

    gains = both("si_sdr_i")
    known = [float(row[f"rank_{side}"]) <= KNOWN for side in SIDES for row in rows]
    values = {
        "si_sdr_i": gains,
        "si_sdr_i_known": [gain for gain, hears in zip(gains, known, strict=True) if hears],
    }
    if form == "soft":
        values |= {key: both(key) for key in ("on_target", "pointing", "mm")}
        values["mask_cosine"] = column("mask_cosine")
    return {
        key: as_tensors([{key: value} for value in entries], [key])[key] for key, entries in values.items()
    }


def top_k_percent(rows: Sequence[Row], k: int) -> float:
    """Share of scored clips whose label is among the k most probable, in percent; nan without clips."""
    ranks = [row["rank"] for row in rows if "rank" in row]
    return 100.0 * sum(rank <= k for rank in ranks) / len(ranks) if ranks else math.nan
