"""The page of the L2I benchmark: one table for each question, n in every row, the goal beside what was reached."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from l2i_models import TITLES

PAPER_FIDELITY = {  # Parekh et al. 2022, table 1, ESC-50, their classifier
    "L2I, attention": (65.7, 81.8, 88.2),
    "L2I, max": (73.3, 87.8, 92.7),
    "FLINT": (73.5, 89.1, 93.4),
    "VIBI": (27.7, 45.4, 53.0),
}
PAPER_REMOVAL = {"0.9": 0.002, "0.7": 0.004, "0.5": 0.012, "0.3": 0.040, "0.1": 0.113}
PAPER_TAGS = {  # table 2, SONYC-UST: macro-AUPRC, micro-AUPRC, max-F1
    "L2I, attention": (0.909, 0.917, 0.847),
    "L2I, max": (0.866, 0.913, 0.840),
    "FLINT": (0.816, 0.907, 0.825),
    "VIBI": (0.608, 0.575, 0.549),
}
GOALS = (66.0, 82.0, 88.0)
SOUNDS = "sounds in its last training run"
Rows = Mapping[str, Mapping[str, float]]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column is text."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def number(value: float | None, decimals: int = 1) -> str:
    """With so many digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def verdict(reached: bool) -> str:
    """A tick or a cross."""
    return "✓" if reached else "✗"


def report(results: Mapping[str, Any]) -> str:
    """The whole page."""
    settings = results["settings"]
    parts = [
        "# Listen to Interpret",
        "",
        f"Held-out clips: {settings['set']} ({settings['clips']} clips, {settings['labels']} labels), never trained on. "
        f"{settings['components']} components. Written by `benchmarks/l2i.py`; nothing is typed by hand but the paper's "
        "own figures, which were measured on other classifiers and recordings and show only what to expect.",
        "",
        goals(results),
        *_fidelity_section(results),
        *_removal_section(results),
        *_prompt_section(results),
        *_sound_section(results),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _fidelity_section(results: Mapping[str, Any]) -> list[str]:
    parts = [
        "## Closed set: does the interpreter decide as the classifier?",
        "",
        "The classifier's class is among the interpreter's k most probable ones, percent of clips ± deviation over "
        "five parts of the held-out fold (clips of one recording in the same part). SLIME is fitted to one sound at a "
        "time, so it has no fidelity over sounds. Interpreters were not trained equally long (next to last column), and "
        "those of the head and with max pooling began with the weights for the zero-shot decision or with attention: "
        "FLINT and VIBI are lower bounds.",
        "",
    ]
    for kind, title in (
        ("zero-shot", "CLAP's zero-shot decision over the 50 labels"),
        ("head", "A CNN14 head trained on ESC-50"),
    ):
        if rows := results.get(f"fidelity {kind}"):
            picture = "![fidelity](fidelity.svg)" if kind == "head" else ""
            parts += [f"### {title}", "", fidelity_table(rows), picture, ""]
    if rows := results.get("fidelity tags"):
        parts += [
            "### A multi-label head, eight tags",
            "",
            "Mixtures of ESC-50 clips in SONYC-UST's layout (SONYC's own recordings are not part of this). Truth is what "
            "the head decides at its thresholds; released: the area as the authors' code has it.",
            "",
            tag_table(rows),
        ]
    return parts


def _removal_section(results: Mapping[str, Any]) -> list[str]:
    parts = [
        "## Removal: does the decision fall when the chosen components are taken away?",
        "",
        "FF: fall of the probability of the class that the classifier predicts, median over clips; the sound without the "
        "components is made and heard again from the waveform on. Random: as many components, drawn from all (as in the "
        "paper) or from those that were not chosen. Energy: share of the sound's energy that is gone, mean.",
        "",
    ]
    for key, title in (
        ("removal zero-shot l2i", "Zero-shot, L2I with attention"),
        ("removal zero-shot open", "Zero-shot, L2I-open"),
        ("removal head l2i", "CNN14 head, L2I with attention"),
        ("removal tags l2i", "Multi-label head, L2I with attention, each tag that is given"),
        ("removal slime", "Zero-shot, SLIME's segments"),
    ):
        if rows := results.get(key):
            parts += [f"### {title}", "", removal_table(rows, paper=key == "removal zero-shot l2i")]
    return [*parts, "![removal](removal.svg)", ""]


def _prompt_section(results: Mapping[str, Any]) -> list[str]:
    parts = []
    if rows := results.get("unheard"):
        parts += [
            "## Any prompt",
            "",
            f"Labels that L2I-open never met in training, neither sounds nor words: "
            f"{', '.join(results['settings']['unheard'])}. The decision is CLAP's among these.",
            "",
            table(
                ["clips", "top-1", "top-3", "top-5", "n"],
                [
                    [name, *(number(row[f"top-{k}"]) for k in (1, 3, 5)), str(row["n"])]
                    for name, row in rows.items()
                ],
            ),
        ]
    if rows := results.get("overlap"):
        parts += [
            "Two prompts on one mixture of two clips at 0 dB: Jaccard index of the components that are chosen.",
            "",
            table(
                ["", "Jaccard, mean", "n"],
                [[k, number(r["jaccard"], 2), str(r["n"])] for k, r in rows.items()],
            ),
        ]
    return parts


def _sound_section(results: Mapping[str, Any]) -> list[str]:
    parts = []
    if rows := results.get("adding up"):
        cells = [[name, f"{row['largest difference']:.1e}", str(row["n"])] for name, row in rows.items()]
        parts += ["## Components add up", "", table(["", "largest difference", "n"], cells)]
    if found := results.get("factorisation"):
        parts += [
            "## Sparse NMF against scikit-learn",
            "",
            "One matrix of held-out log-magnitude frames; error |X - W H| / |X|; active: activations above a thousandth "
            "of the largest. scikit-learn has no price per unit of activation with patterns of unit length, so only mu 0 "
            "has the same objective.",
            "",
            factorisation_table(found[0]),
            "![NMF](nmf.svg)",
            "",
        ]
    if found := results.get("corruption"):
        parts += [
            "## Corruption: is the sound that is named brought out?",
            "",
            "The clip's own label is explained while something lies over the clip at 0 dB. SI-SDR of what is kept, less "
            "that of what was heard. Same systems as above; they were trained on clips and on mixtures of two, and never "
            "saw the separate sounds of a mixture.",
            "",
        ]
        for which, rows in found.items():
            parts += [f"### {which}", "", corruption_table(rows)]
        parts += ["`corruption.png`, drawn by the command, shows the spectrograms.", ""]
    if rows := results.get("speed"):
        cells = [
            [name, number(row["passes"]), number(row["ms"]), str(row["n"])] for name, row in rows.items()
        ]
        parts += ["## Speed", "", table(["5 s clip, 2 threads", "encoder passes", "ms", "n"], cells)]
    return parts


Goal = tuple[str, str, bool]


def goals(results: Mapping[str, Any]) -> str:
    """What was to be shown, and whether it is."""
    found = [*_decision_goals(results), *_prompt_goals(results), *_sound_goals(results)]
    return table(["goal", "found", ""], [[goal, value, verdict(reached)] for goal, value, reached in found])


def _decision_goals(results: Mapping[str, Any]) -> Iterator[Goal]:
    for kind, title in (("zero-shot", "zero-shot"), ("head", "CNN14 head")):
        fidelity = results.get(f"fidelity {kind}") or {}
        attention = fidelity.get(TITLES["l2i"])
        if attention:
            values = [attention[f"top-{k}"] for k in (1, 3, 5)]
            yield (
                f"{title}: top-1, 3, 5 fidelity with attention ≥ 66, 82, 88 %",
                ", ".join(number(value) for value in values),
                all(value >= goal for value, goal in zip(values, GOALS, strict=True)),
            )
        if attention and TITLES["vibi"] in fidelity:
            gap = attention["top-1"] - fidelity[TITLES["vibi"]]["top-1"]
            sounds = fidelity[TITLES["vibi"]].get("sounds", 0)
            found = f"{number(gap)} points (VIBI was trained on {sounds:,} sounds only)"
            yield f"{title}: above VIBI by a wide margin", found, gap >= 10
        removal = results.get(f"removal {kind} l2i") or {}
        if removal:
            falls = [removal[key]["chosen ff"] for key in PAPER_REMOVAL]
            yield (
                f"{title}: FF median positive at every threshold, larger at lower ones",
                ", ".join(number(value, 3) for value in falls),
                min(falls) > 0 and falls == sorted(falls),
            )
            random = removal["0.1"]["random ff"]
            yield (
                f"{title}: at 0.1 at least 20 times that of random components",
                f"{falls[-1]:.3f} against {random:.4f}",
                falls[-1] >= 20 * max(random, 0.0),
            )


def _prompt_goals(results: Mapping[str, Any]) -> Iterator[Goal]:
    fidelity = results.get("fidelity zero-shot") or {}
    if TITLES["l2i"] in fidelity and TITLES["open"] in fidelity:
        gap = fidelity[TITLES["l2i"]]["top-1"] - fidelity[TITLES["open"]]["top-1"]
        title = "L2I-open: top-1 on the 50 labels within 8 points of the closed set"
        yield title, f"{number(gap)} points", gap <= 8
    for name in ("clips of these labels", "clips of the held-out fold"):
        if unheard := (results.get("unheard") or {}).get(name):
            yield (
                f"L2I-open: top-1 among {len(results['settings']['unheard'])} labels never used ≥ 50 %, {name}",
                number(unheard["top-1"]),
                unheard["top-1"] >= 50,
            )
    for name, row in (results.get("overlap") or {}).items():
        if name.endswith("two prompts"):
            title = f"Jaccard of two prompts < 0.5: {name.split(', two')[0]}"
            yield title, number(row["jaccard"], 2), row["jaccard"] < 0.5


def _sound_goals(results: Mapping[str, Any]) -> Iterator[Goal]:
    adding = results.get("adding up") or {}
    for name in ("soft masks from 1", "components and rest from the input"):
        if name in adding:
            value = adding[name]["largest difference"]
            yield f"{name} within 1e-4", f"{value:.1e}", value <= 1e-4
    if found := results.get("factorisation"):
        steps = [
            (after - before) / before
            for course in found[1].values()
            for before, after in zip(course, course[1:], strict=False)
        ]
        title = "sparse NMF: the objective never rises, largest step"
        yield title, f"{100 * max(steps):.4f} %", max(steps) <= 0
    for name, row in (results.get("speed") or {}).items():
        if "L2I-open" in name:
            title = "explaining with all component audio ≤ 10 encoder passes"
            yield title, number(row["passes"]), row["passes"] <= 10


def fidelity_table(rows: Rows) -> str:
    """Top-k, the paper's beside."""
    found = []
    for name, row in rows.items():
        cells = [f"{number(row[f'top-{k}'])} ± {number(row[f'top-{k} deviation'])}" for k in (1, 3, 5)]
        paper = " / ".join(map(str, PAPER_FIDELITY.get(name, ()))) or "–"
        found.append([name, *cells, str(row["n"]), f"{row['sounds']:,}" if row["sounds"] else "–", paper])
    return table(["interpreter", "top-1", "top-3", "top-5", "n", SOUNDS, "paper, its classifier"], found)


def tag_table(rows: Rows) -> str:
    """Multi-label fidelity, the paper's beside."""
    found = []
    for name, row in rows.items():
        cells = [
            number(row[key], 3) for key in ("macro_auprc", "micro_auprc", "max_f1", "macro_auprc_released")
        ]
        paper = " / ".join(map(str, PAPER_TAGS.get(name, ()))) or "–"
        seen = f"{row['sounds']:,}" if row["sounds"] else "–"
        found.append([name, *cells, f"{row['n']}, {row['tags']} tags", seen, paper])
    head = [
        "interpreter",
        "macro-AUPRC",
        "micro-AUPRC",
        "max-F1",
        "macro, released",
        "n",
        SOUNDS,
        "paper, SONYC-UST",
    ]
    return table(head, found)


def removal_table(rows: Rows, paper: bool) -> str:
    """FF by threshold."""
    others = any("others ff" in row for row in rows.values())
    head = ["threshold", "FF median", "random", *(["random of the others"] if others else [])]
    head += ["components", "energy", "energy, random", "n", *(["paper"] if paper else [])]
    found = []
    for name, row in rows.items():
        cells = [number(row["chosen ff"], 4), number(row["random ff"], 4)]
        cells += [number(row.get("others ff"), 4)] if others else []
        cells += [
            number(row["chosen count"]),
            number(row["chosen energy"], 2),
            number(row["random energy"], 2),
        ]
        cells += [str(row["n"]), *([number(PAPER_REMOVAL.get(name), 3)] if paper else [])]
        found.append([name, *cells])
    return table(head, found)


def factorisation_table(rows: Rows) -> str:
    """Error, sparsity and time."""
    return table(
        ["", "error", "active", "rounds", "s", "frames"],
        [
            [
                name,
                number(row["relative error"], 4),
                number(row.get("active share"), 3),
                number(row.get("rounds"), 0),
                number(row.get("seconds"), 1),
                str(row["n"]),
            ]
            for name, row in rows.items()
        ],
    )


def corruption_table(rows: Rows) -> str:
    """SI-SDR improvement, dB."""
    return table(
        ["", "SI-SDRi mean, dB", "median, dB", "clips better, %", "n"],
        [
            [name, number(row["mean"], 2), number(row["median"], 2), number(row["better"], 0), str(row["n"])]
            for name, row in rows.items()
        ],
    )
