"""From rows to verdicts: what each explainer depends on, with the numbers that say so."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lmaczs.evaluation.masks import CONTROLS
from lmaczs.evaluation.report import table_lines
from lmaczs.evaluation.scores import Row
from lmaczs.metrics.statistics import pearson, spearman
from lmaczs.sanity.checks import MASK_MEAN
from lmaczs.sanity.plan import OTHER_CLIP, RIGHT, UNRELATED, UNTOUCHED, SanityPlan

# Blocks of the cascade that the verdict is about.
BLOCKS_JUDGED = 3
# Likeness to the original, after that many blocks.
MOST_ALIKE = 0.3
# Share of the right prompt's mask mean, for an unrelated prompt.
MOST_LEFT = 1 / 3
# Of mask mean and similarity.
LEAST_CORRELATION = 0.6
LIKENESS = {"ssim": "SSIM", "spearman": "Spearman"}


def sanity_summary(rows: Sequence[Row], plan: SanityPlan) -> dict[str, Any]:
    """Aggregate the rows of `run_checks`.

    Args:
        rows: one for each clip and step.
        plan: that made them.

    Returns:
        n_clips, n_failed, blocks (steps of the cascade, in order), n_heard (clips whose label the model puts first)
        and methods: method -> steps, prompts, mask_mean, verdict.

        - steps: step -> ssim and spearman to the original, each with mean, n, and the lowest and highest mean of a
          seed; "another clip" is what chance gives.
        - prompts: mask means of right and unrelated prompts, `left` (what an unrelated prompt leaves of the right
          prompt's mask: mean over clips, and over those that the model hears right), likeness of the two masks.
        - mask_mean: correlations with the similarity over all right and unrelated prompts.
        - verdict: question -> value, target, passed; only of what was checked. Not passed where there is no value.
    """
    answered = [step_of(row) for row in rows if "error" not in row]
    right = [row for row in answered if row["step"] == RIGHT]
    return {
        "n_clips": len({row["clip"] for row in answered}),
        "n_failed": len({row["clip"] for row in rows if "error" in row}),
        "n_heard": sum(row["rank"] == 1 for row in right),
        "blocks": list(dict.fromkeys(row["step"] for row in answered if row["check"] == "cascade")),
        "methods": {contender.name: _method(answered, contender.key) for contender in plan.contenders},
    }


def step_of(row: Row) -> Row:
    """A row with check, step and seed as they stand in the name of its condition."""
    check, step, seed = row["condition"].split("/")
    return {**row, "check": check, "step": step, "seed": seed}


def _method(rows: Sequence[Row], key: str) -> dict[str, Any]:
    changed = list(dict.fromkeys(row["step"] for row in rows if row["check"] != "prompts"))
    steps = {step: _likeness([row for row in rows if row["step"] == step], key) for step in changed}
    found: dict[str, Any] = {"steps": {name: step for name, step in steps.items() if step["ssim"]["n"]}}
    prompts = [row for row in rows if row["check"] == "prompts" and f"{key}/{MASK_MEAN}" in row]
    if prompts:
        found["prompts"], found["mask_mean"] = _prompts(prompts, key), _correlation(prompts, key)
    found["verdict"] = _verdict(found, [row["step"] for row in rows if row["check"] == "cascade"])
    return found


def _likeness(rows: Sequence[Row], method: str) -> dict[str, Any]:
    result = {}
    for key in LIKENESS:
        column = f"{method}/mask/{key}"
        values = [(row["seed"], row[column]) for row in rows if column in row]
        seeds = {seed: _mean([value for at, value in values if at == seed]) for seed, _ in values}
        result[key] = {
            "mean": _mean([value for _, value in values]),
            "low": min(seeds.values(), default=math.nan),
            "high": max(seeds.values(), default=math.nan),
            "n": len(values),
        }
    return result


def _prompts(rows: Sequence[Row], method: str) -> dict[str, Any]:
    """What an unrelated prompt leaves of the mask."""
    column = f"{method}/{MASK_MEAN}"
    right = {row["clip"]: row for row in rows if row["step"] == RIGHT}
    others: dict[str, list[Row]] = {path: [] for path in right}
    for row in rows:
        if row["step"] == UNRELATED and row["clip"] in others:
            others[row["clip"]].append(row)
    # An empty mask for the right prompt leaves nothing to compare with.
    left = {
        path: _mean([row[column] for row in others[path]]) / right[path][column]
        for path in right
        if right[path][column] > 0 and others[path]
    }
    unrelated = [row for group in others.values() for row in group]
    return {
        "right": _mean([row[column] for row in right.values()]),
        "unrelated": _mean([row[column] for row in unrelated]),
        "left": _mean(list(left.values())),
        "n": len(left),
        "left_heard": _mean([share for path, share in left.items() if right[path]["rank"] == 1]),
        "n_heard": sum(right[path]["rank"] == 1 for path in left),
        **_likeness(unrelated, method),
    }


def _correlation(rows: Sequence[Row], method: str) -> dict[str, Any]:
    points = [(row["similarity"], row[f"{method}/{MASK_MEAN}"]) for row in rows]
    similarity, mask_mean = (
        torch.tensor(values, dtype=torch.float64) for values in zip(*points, strict=True)
    )
    return {
        "spearman": spearman(similarity, mask_mean),
        "pearson": pearson(similarity, mask_mean),
        "n": len(points),
    }


def _verdict(found: Mapping[str, Any], cascade: Sequence[str]) -> dict[str, dict[str, Any]]:
    verdict = {}
    blocks = list(dict.fromkeys(cascade))[:BLOCKS_JUDGED]
    for key in LIKENESS if blocks else ():
        # Where there is no order, as in a constant mask, none can be forgotten. The sign does not matter: an inverted
        # map still holds the original.
        alike = abs(found["steps"].get(blocks[-1], {}).get(key, {"mean": math.nan})["mean"])
        verdict[f"model_{key}"] = {"value": alike, "target": MOST_ALIKE, "passed": alike < MOST_ALIKE}
    if "prompts" in found:
        left, grows = found["prompts"]["left"], found["mask_mean"]["spearman"]
        verdict["prompt"] = {"value": left, "target": MOST_LEFT, "passed": left < MOST_LEFT}
        verdict["similarity"] = {
            "value": grows,
            "target": LEAST_CORRELATION,
            "passed": grows >= LEAST_CORRELATION,
        }
    return verdict


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


QUESTIONS = {
    "model_ssim": f"forgets with the model: SSIM < {MOST_ALIKE} after {BLOCKS_JUDGED} blocks",
    "model_spearman": f"and the order of its cells: Spearman < {MOST_ALIKE}",
    "prompt": "follows the prompt: < 1/3 left for an unrelated one",
    "similarity": f"mask grows with similarity: Spearman >= {LEAST_CORRELATION}",
}


def report_markdown(summary: Mapping[str, Any], plan: SanityPlan, title: str) -> str:
    """Everything for people, verdicts first.

    Args:
        summary: of `sanity_summary`.
        plan: that made the rows.
        title: what was checked.
    """
    methods = summary["methods"]
    lines = [
        f"# Sanity checks: {title}",
        "",
        f"{summary['n_clips']} clips, {summary['n_failed']} not readable; {plan.domain} masks; "
        f"{plan.seeds} random models; masks as they are returned, shown and heard.",
        "",
        "## Verdicts",
        "",
    ]
    questions = [key for key in QUESTIONS if any(key in found["verdict"] for found in methods.values())]
    if questions:
        heads = ["method", *(QUESTIONS[key] for key in questions)]
        cells = [
            [name, *(_answer(found["verdict"].get(key)) for key in questions)]
            for name, found in methods.items()
        ]
        lines += _padded_table(heads, cells)
    lines += _cascade_section(summary)
    lines += _prompt_section(methods)
    lines += ["## Controls", "", "They know neither model nor prompt: this is how failing looks.", ""]
    lines += [f"- **{name}**: {CONTROLS[name]}." for name in UNTOUCHED]
    lines += ["", "A dash: there is nothing to measure, as with the rank correlation of a constant mask.", ""]
    return "\n".join(lines)


def _cascade_section(summary: Mapping[str, Any]) -> list[str]:
    methods = summary["methods"]
    steps = list(dict.fromkeys(step for found in methods.values() for step in found["steps"]))
    steps = [step for step in steps if step != OTHER_CLIP] + [step for step in steps if step == OTHER_CLIP]
    if not any(step != OTHER_CLIP for step in steps):
        return []
    lines = [*_CASCADE_TEXT, ""]
    for key, label in LIKENESS.items():
        heads = [f"+ {step}" if step in summary["blocks"][1:] else step for step in steps]
        lines += [f"### {label} to the original mask ↓", ""]
        lines += _padded_table(["method", *heads, "n"], _likeness_rows(methods, steps, key))
    return lines


def _prompt_section(methods: Mapping[str, Any]) -> list[str]:
    asked = {name: found for name, found in methods.items() if "prompts" in found}
    if not asked:
        return []
    heads = [
        "method", "mask mean, right", "mask mean, unrelated", "left for unrelated ↓", "n",
        "left where the label is heard ↓", "n", "SSIM ↓", "Spearman ↓", "n",
    ]  # fmt: skip
    correlations = {name: found["mask_mean"] for name, found in asked.items()}
    return [
        *_PROMPT_TEXT,
        "",
        *_padded_table(heads, [[name, *_prompt_cells(found["prompts"])] for name, found in asked.items()]),
        "## Does the mask grow with the similarity?",
        "",
        "Mask mean against cosine similarity over all right and unrelated prompts of the table above.",
        "",
        *_padded_table(
            ["method", "Spearman ↑", "Pearson ↑", "n"],
            [
                [name, _number(found["spearman"]), _number(found["pearson"]), str(found["n"])]
                for name, found in correlations.items()
            ],
        ),
    ]


_CASCADE_TEXT = (
    "## Does the explanation change when the model forgets?",
    "",
    "The audio encoder gets random weights block by block, from its output to its input; each column adds a block. "
    "The last columns randomise the text encoder or the method's own decoder alone. Random weights are as large as the "
    "trained ones, and batch normalisations measure their inputs again. **another clip** compares "
    "masks of different sounds by the same method: what chance gives. SSIM at data range 1 calls all faint masks "
    "alike; the rank correlation does not. It is 0 where a mask has become constant: no order is left.",
)
_PROMPT_TEXT = (
    "## Does the explanation change with the prompt?",
    "",
    "Each clip is explained for its own label and for labels of other clips. **left** is the mask mean of the unrelated "
    "prompts over that of the right one, mean over clips; once more over the clips whose label the model puts first. "
    "SSIM and Spearman compare the two masks.",
)


def _likeness_rows(methods: Mapping[str, Any], steps: Sequence[str], key: str) -> list[list[str]]:
    rows = []
    for name, found in methods.items():
        cells = [found["steps"][step][key] if step in found["steps"] else None for step in steps]
        counts = sorted({cell["n"] for cell in cells if cell is not None})
        rows.append(
            [name, *(_number(cell["mean"]) if cell else "–" for cell in cells), "/".join(map(str, counts))]
        )
    return rows


def _prompt_cells(found: Mapping[str, Any]) -> list[str]:
    return [
        _number(found["right"], 3),
        _number(found["unrelated"], 3),
        _number(found["left"]),
        str(found["n"]),
        _number(found["left_heard"]),
        str(found["n_heard"]),
        _number(found["ssim"]["mean"]),
        _number(found["spearman"]["mean"]),
        str(found["ssim"]["n"]),
    ]


def _answer(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return "–"
    return f"{'yes' if verdict['passed'] else 'no'} ({_number(verdict['value'])})"


def _number(value: float, decimals: int = 2) -> str:
    return "–" if math.isnan(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"  # no "-0.00"


def _padded_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [*table_lines(heads, rows), ""]
