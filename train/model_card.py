"""README.md of a release, rendered from its own JSON files; nothing is typed twice."""

import csv
import json
from collections import Counter
from pathlib import Path

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
}


def sources_of(csv_path: Path, used: set[Path]) -> list[dict]:
    """Data sets, numbers of clips and licences of the clips that were trained on."""
    groups: dict[str, Counter] = {}
    with csv_path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if csv_path.parent / row["path"] in used:
                groups.setdefault(row.get("dataset") or "unnamed", Counter())[
                    row.get("licence") or "not stated"
                ] += 1
    return [
        {"dataset": name, "clips": licences.total(), "licences": [text for text, _ in licences.most_common()]}
        for name, licences in sorted(groups.items(), key=lambda item: -item[1].total())
    ]


def render(folder: Path) -> str:
    """The card of a release folder."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    training = json.loads((folder / "training.json").read_text("utf-8"))
    lines = [f"# {folder.name}", "", INTRO[config["kind"]], ""]
    steps = f"{training['steps']} steps"
    if training["continues_another_run"]:
        steps += " on top of earlier runs (train/README.md tells of them)"
    size = (folder / "model.safetensors").stat().st_size / 1e6
    lines += [f"Size: {size:.1f} MB. Trained for {steps}.", ""]
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
        "The weights are for **non-commercial use**: part of the recordings that they were trained on is licensed for "
        "non-commercial use only (ESC-50 and UrbanSound8K are CC BY-NC). No audio is in this folder. Trained on:",
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
