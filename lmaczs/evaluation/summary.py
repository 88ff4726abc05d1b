"""From scores to means with intervals, and to who is best, by condition, mask domain, form and contender."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from lmaczs.evaluation.clips import EXPLAIN_S, FAILED, SCORE_S, SCORED, ClipEvaluation
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.evaluator import CURVES, curve_points
from lmaczs.evaluation.masks import FORMS
from lmaczs.evaluation.scores import Row
from lmaczs.metrics.registry import METRICS, MetricEntry, entries_of
from lmaczs.metrics.statistics import Ranking, as_columns, rank
from lmaczs.metrics.table import summarise
from lmaczs.types import MaskDomain

# Controls that compete where all masks have the same area.
EQUAL_AREA_RIVALS = ("random", "energy")
# Of the metrics of single explanations, those that mixtures have too.
MIXTURE_ALSO = ("mm", "absent")


def shown_entries(form: str, mixtures: bool = False) -> list[MetricEntry]:
    """Metrics of a table, in the order of its columns.

    Args:
        form: key in `FORMS`.
        mixtures: of the tables of mixtures.
    """
    if mixtures:
        found = [*entries_of("mixture"), *(METRICS[key] for key in MIXTURE_ALSO)]
        return found if form == "soft" else [entry for entry in found if entry.at_equal_area]
    found = entries_of("explanation", "evaluation", "curve")
    return found if form == "soft" else [entry for entry in found if entry.at_equal_area]


def evaluation_summary(
    rows: Sequence[Row],
    evaluation: ClipEvaluation,
    conditions: Sequence[str],
    domains: Sequence[MaskDomain],
    seed: int = 0,
) -> dict[str, Any]:
    """Aggregate the rows of clips.

    Args:
        rows: of `lmaczs.evaluation.clips.evaluate_clips`.
        evaluation: that made them.
        conditions: in the order to show.
        domains: in the order to show.
        seed: of the bootstrap.

    Returns:
        n_clips, n_failed: rows with numbers, rows with an error or a failed method; conditions: see `_condition`; wins:
        form -> metric -> contender -> in how many settings it is "best" and "tied"; n_settings; times: contender -> mean
        milliseconds of "explain" and "score".
    """
    tables = {
        condition: _condition(
            [row for row in rows if row["condition"] == condition], evaluation, domains, seed
        )
        for condition in conditions
    }
    settings = [table["domains"][domain] for table in tables.values() for domain in domains]
    return {
        "n_clips": sum(table["n_clips"] for table in tables.values()),
        "n_failed": sum(map(has_failed, rows)),
        "conditions": tables,
        "wins": {form: _wins(settings, form) for form in FORMS},
        "n_settings": len(settings),
        "times": _times(rows, evaluation.contenders),
    }


def mixture_summary(
    rows: Sequence[Row], evaluation: ClipEvaluation, domains: Sequence[MaskDomain], seed: int = 0
) -> dict[str, Any]:
    """Aggregate the rows of mixtures, two for each mixture; a mixture counts once, with the mean of its two sounds.

    Args:
        rows: of `lmaczs.evaluation.mixtures.evaluate_mixtures`.
        evaluation: that made them.
        domains: in the order to show.
        seed: of the bootstrap.

    Returns:
        n_mixtures, n_failed; domains: as in the conditions of `evaluation_summary`, without curves.
    """
    scored = [row for row in rows if "rank" in row]
    return {
        "n_mixtures": len(scored) // 2,
        "n_failed": sum(map(has_failed, rows)) // 2,
        "domains": {domain: _domain(scored, evaluation, domain, seed, mixtures=True) for domain in domains},
    }


def has_failed(row: Row) -> bool:
    """Whether a recording could not be used, or a method failed on it."""
    return "error" in row or any(column.endswith(f"/{FAILED}") for column in row)


def competitors(form: str, names: Sequence[str], evaluation: ClipEvaluation) -> list[str]:
    """Who of a table is ranked: methods on all clips; at equal area also the random and energy controls.

    A method that was scored on fewer clips than others is shown, but it is a mean over other clips.

    Args:
        form: key in `FORMS`.
        names: of the table's rows.
        evaluation: that made the rows.
    """
    methods = {contender.name for contender in evaluation.contenders if not contender.is_control}
    everyone = methods if form == "soft" else {*methods, *EQUAL_AREA_RIVALS}
    return [name for name in names if name in everyone and name not in evaluation.limits]


def top_k_percent(rows: Sequence[Row], k: int) -> float:
    """Share of scored clips whose label is among the k most probable, in percent; nan without clips."""
    ranks = [row["rank"] for row in rows if "rank" in row]
    return 100.0 * sum(place <= k for place in ranks) / len(ranks) if ranks else math.nan


def _condition(
    rows: Sequence[Row], evaluation: ClipEvaluation, domains: Sequence[MaskDomain], seed: int
) -> dict[str, Any]:
    """n_clips, n_failed, top1_percent, top5_percent, mean_probability; domains: domain -> see `_domain`, and curves."""
    scored = [row for row in rows if "predicted" in row]
    probability = as_columns(scored, ["probability"])
    return {
        "n_clips": len(scored),
        "n_failed": sum(map(has_failed, rows)),
        "top1_percent": top_k_percent(scored, 1),
        "top5_percent": top_k_percent(scored, 5),
        "mean_probability": summarise(probability, seed)["probability"]["mean"],
        "domains": {
            domain: _domain(scored, evaluation, domain, seed)
            | {"curves": _curves(scored, evaluation, domain)}
            for domain in domains
        },
    }


def _domain(
    rows: Sequence[Row], evaluation: ClipEvaluation, domain: MaskDomain, seed: int, mixtures: bool = False
) -> dict[str, Any]:
    """forms: form -> contender -> metric -> see `summarise`; ranking: form -> metric -> best, tied."""
    forms: dict[str, Any] = {}
    ranking: dict[str, Any] = {}
    for form in FORMS:
        entries = shown_entries(form, mixtures)
        values = {
            contender.name: _values(rows, contender, form, entries, each=2 if mixtures else 1)
            for contender in evaluation.contenders
            if contender.stands_in(domain) and form in contender.forms
        }
        present = {name: found for name, found in values.items() if any(map(_has_values, found.values()))}
        forms[form] = {name: summarise(found, seed) for name, found in present.items()}
        rivals = competitors(form, list(present), evaluation)
        ranking[form] = {
            entry.key: asdict(rank({name: present[name][entry.key] for name in rivals}, entry.better, seed))
            for entry in entries
            if entry.ranked and entry.better
        }
    return {"forms": forms, "ranking": ranking}


def _values(
    rows: Sequence[Row], contender: Contender, form: str, entries: Sequence[MetricEntry], each: int
) -> dict[str, Tensor]:
    """metric -> (rows / each,) of one contender in one form: means of so many rows, since these are not independent."""
    found = {}
    for entry in entries:
        if not entry.source:
            column = f"{contender.key}/{'curve' if entry.scope == 'curve' else form}/{entry.key}"
            found[entry.key] = as_columns(rows, [column])[column].view(-1, each).nanmean(1)
    return found


def _has_values(values: Tensor) -> bool:
    return bool((~values.isnan()).any())


def _wins(settings: Sequence[Mapping[str, Any]], form: str) -> dict[str, Any]:
    """metric -> contender -> in how many settings it is best, and tied with the leader."""
    counts: dict[str, Any] = {}
    for found in settings:
        for key, ranking in found["ranking"][form].items():
            metric = counts.setdefault(key, {})
            for name in (ranking["best"], *ranking["tied"]):
                if name is not None:
                    wins = metric.setdefault(name, {"best": 0, "tied": 0})
                    wins["best" if name == ranking["best"] else "tied"] += 1
    return counts


def ranking_of(found: Mapping[str, Any]) -> Ranking:
    """A ranking as it stands in a summary."""
    return Ranking(found["best"], tuple(found["tied"]))


def _curves(rows: Sequence[Row], evaluation: ClipEvaluation, domain: MaskDomain) -> dict[str, Any]:
    """contender -> mean probabilities of the same clips: whole, silence, deletion and insertion at each share; n."""
    shares, names = evaluation.evaluator.shares, curve_points(evaluation.evaluator.shares)
    curves = {}
    for contender in evaluation.contenders:
        columns = [f"{contender.key}/curve/{name}" for name in names]
        used = [row for row in rows if columns[0] in row]
        if used and contender.stands_in(domain):
            means = [float(value.mean()) for value in as_columns(used, columns).values()]
            whole, silence = (
                float(value.mean()) for value in as_columns(used, ["probability", "silence"]).values()
            )
            points = dict(zip(CURVES, (means[: len(shares)], means[len(shares) :]), strict=True))
            curves[contender.name] = {
                "shares": list(shares), "whole": whole, "silence": silence, **points, "n": len(used),
            }  # fmt: skip
    return curves


def _times(rows: Sequence[Row], contenders: Sequence[Contender]) -> dict[str, dict[str, float]]:
    times = {}
    for contender in contenders:
        used = [row for row in rows if f"{contender.key}/{SCORED}" in row]
        if used:
            columns = [f"{contender.key}/{EXPLAIN_S}", f"{contender.key}/{SCORE_S}"]
            explain, score = (1000.0 * float(value.nanmean()) for value in as_columns(used, columns).values())
            times[contender.key] = {"explain": explain, "score": score, "n": len(used)}
    return times
