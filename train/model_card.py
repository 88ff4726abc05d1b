"""README.md of a release, rendered from its own JSON files; nothing is typed twice."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from lmaczs.data.tables import read_table

INTRO = {
    "clap": (
        "A compact CLAP: log-mel, slim CNN14 and the frozen sentence encoder all-MiniLM-L6-v2 (Apache-2.0, not part of "
        "this folder), trained from scratch. It compares any sound with any sentence. It hears 16 kHz audio in windows "
        "of 5 s, so nothing above 8 kHz, and knows the everyday sounds it was trained on; it is no general model."
    ),
    "lmac-zs": (
        "An LMAC-ZS decoder (Paissan et al. 2024): given a sound and any prompt it masks the spectrogram, leaving "
        "the part that makes the CLAP named in config.json answer to the prompt. It explains that CLAP only. Its "
        "training judged masks by the CLAP alone; the separate parts of mixtures were never a target."
    ),
    "lmac-any": (
        "The universal decoder: given what the gradients of any differentiable classifier say about a sound and a "
        "prompt, it masks the spectrogram, leaving the part that makes the classifier answer to the prompt. It sees no "
        "text and no channels of a map, so it works for classifiers that it has never met. Its training judged masks by "
        "the classifiers alone; the separate parts of mixtures were never a target."
    ),
    "nmf": (
        "A dictionary of spectral patterns for Listen to Interpret (Parekh et al. 2022): sparse NMF of log-magnitude "
        "spectra on the STFT grid of the CLAP named in config.json, columns of unit norm, low patterns first. "
        "training.json records the objective after every round."
    ),
    "l2i": (
        "An L2I interpreter (Parekh et al. 2022): from the hidden maps of the CLAP named in config.json it finds the "
        "activations of a dictionary of spectral patterns (included), and how much each pattern speaks for a prompt. It "
        "explains that CLAP only. `prompts` in config.json is its closed set; null means any prompt. Top-k is how often "
        "the CLAP's decision is among its own first k; unheard prompts name concepts that were never trained on "
        "(`unheard` in training.json)."
    ),
}


def sources_of(csv_path: Path, used: set[Path]) -> list[dict[str, Any]]:
    """Data sets, numbers of clips and licences of the clips that were trained on."""
    groups: dict[str, Counter[str]] = {}
    for row in read_table(csv_path, csv_path.name).rows:
        if csv_path.parent / row["path"] in used:
            licences = groups.setdefault(row["dataset"] or "unnamed", Counter())
            licences[row["licence"] or "not stated"] += 1
    return [
        {"dataset": name, "clips": licences.total(), "licences": [text for text, _ in licences.most_common()]}
        for name, licences in sorted(groups.items(), key=lambda item: -item[1].total())
    ]


def non_commercial(training: dict[str, Any]) -> list[str]:
    """Data sets with recordings that are licensed for non-commercial use only."""
    signs = ("by-nc", "/nc", "non-commercial", "noncommercial")
    return [
        source["dataset"]
        for source in training["sources"]
        if any(sign in text.lower() for text in source["licences"] for sign in signs)
    ]


def _licence(training: dict[str, Any]) -> str:
    """What the licences of the recordings mean for the weights."""
    if names := non_commercial(training):
        return (
            "The weights are for **non-commercial use**: part of the recordings that they were trained on is licensed "
            f"for non-commercial use only ({', '.join(names)})."
        )
    return "Use the weights as the licences of the recordings that they were trained on allow."


def render(folder: Path) -> str:
    """The card of a release folder."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    training = json.loads((folder / "training.json").read_text("utf-8"))
    lines = [f"# {folder.name}", "", INTRO[config["kind"]], ""]
    steps = f"{training['steps']} steps"
    if training["continues_another_run"]:
        steps += " on top of earlier runs (docs/notes/training.md tells of them)"
    size = (folder / "model.safetensors").stat().st_size / 1e6
    lines += [f"Size: {size:.1f} MB. Trained for {steps}.", ""]
    if limit := training.get("gain_limit"):
        missed, invented = limit["missed_percent"], limit["invented_percent"]
        lines += [
            f"A mask must promise a gain of {limit['needed_gain']}, else nothing in the sound speaks for the prompt. "
            f"Of {limit['heard']} predicted prompts of development clips ({limit['clips']}), {missed} % lie below it; of "
            f"{limit['unheard']} that the classifier does not hear, {invented} % do not.",
            "",
        ]
    metrics = folder / "metrics.json"
    if metrics.exists():
        lines += ["## What it scored", ""]
        for name, values in json.loads(metrics.read_text("utf-8")).items():
            told = ", ".join(f"{key} {value:.1f} %" for key, value in values.items() if key != "n")
            lines.append(f"- `{name}` (held out, n = {values['n']}): {told}")
        lines += ["", "The tables in `benchmarks/` are made from the weights as stored here.", ""]
    lines += [
        "## Licence and data",
        "",
        f"{_licence(training)} No audio is in this folder. Trained on:",
        "",
        "| data set | clips | licences of the recordings |",
        "|---|---|---|",
    ]
    for source in training["sources"]:
        lines.append(f"| {source['dataset']} | {source['clips']} | {'; '.join(source['licences'])} |")
    held_out = ", ".join(f"`{name}`" for name in training["settings"]["hold_out"])
    lines += [
        "",
        f"Never trained on, nor any clip cut from the same recordings: {held_out or 'nothing'}.",
        "",
    ]
    return "\n".join(lines)
