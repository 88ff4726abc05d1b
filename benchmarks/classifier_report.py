"""The tables of `benchmarks/classifier.py`."""

from typing import Any

# Model, ESC-50, UrbanSound8K, whether it had seen the set, where the figures stand.
PUBLISHED = (
    (
        "MS CLAP 2022", "82.6", "–", "not the sets; FSD50K, from the same site, was trained on",
        "its makers' README; ESC-50, all folds",
    ),
    (
        "MS CLAP 2022 as run by the LMAC-ZS paper", "80.7", "71.7", "as above",
        "Paissan et al. 2024, tables 1 (mel masking)",
    ),
    ("MS CLAP 2023", "93.9", "–", "not told where this figure stands", "its makers' README; ESC-50, all folds"),
    (
        "LAION CLAP, HTSAT unfused", "91.6", "75.2", "recordings of the same site were trained on",
        "measured by others (pymill, reproducibility pages)",
    ),
    ("tinyCLAP", "within 5 points of MS CLAP 2022", "within 5 points", "as its teacher", "its abstract"),
    ("people", "81.3", "–", "no", "Piczak 2015, as Parekh et al. 2022 quote it"),
)  # fmt: skip
SEEN = {
    "compact-2": ("no: neither the sets nor copies of their recordings, in any release",) * 2,
    "compact": ("**yes**: these very clips were trained on", "**yes**: other folds were trained on"),
}


def _span(value: dict[str, float]) -> str:
    return f"{value['percent']:.1f} ({value['low']:.1f}–{value['high']:.1f})"


def markdown(report: dict[str, Any]) -> str:
    """All tables for people."""
    sets = report["sets"]
    lines = [
        "# The embedded classifier",
        "",
        f'Folds: {report["folds"]}. Percent with 95 % bootstrap intervals over clips. Prompts: "this is the sound of '
        '{label}". Development folds (ESC-50 4, UrbanSound8K 3) are what settings were chosen by; test folds were scored '
        "once, with the final weights. Both sets end at 8 kHz here: the low-pass takes nothing away.",
        "",
        "| set | folds | model | top-1 ↑ | top-5 ↑ | n | had seen the set |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    for values in sets.values():
        for name, found in values["models"].items():
            seen, place = SEEN.get(name, ("see its makers",) * 2), int(report["folds"] == "development")
            lines.append(
                f"| {values['title']} | {', '.join(values['folds'])} | {name} | {_span(found['top1'])} | "
                f"{_span(found['top5'])} | {found['top1']['n']} | {seen[place]} |"
            )
    lines += [
        "",
        "## Published figures",
        "",
        "| model | ESC-50 top-1 | UrbanSound8K top-1 | had seen the set | source |",
    ]
    lines += ["|---|---:|---:|---|---|", *(f"| {' | '.join(row)} |" for row in PUBLISHED)]
    lines += [
        "",
        "Theirs are over other folds, mostly all of them, and at other rates.",
    ]
    for values in sets.values():
        name, found = next(iter(values["models"].items()))
        lines += ["", f"## {name} on {values['title']}", ""]
        lines += _details(found)
    lines += ["", "## Size and speed", "", f"Weights: {report['weights_bytes'] / 1e6:.2f} MB (≤ 6)."]
    if times := report["pass_seconds"]:
        lines.append(
            f"One window of 5 s, {times['threads']} threads, both in turn: {1000 * times['compact-2']:.0f} ms against "
            f"{1000 * times['compact']:.0f} ms for version 1, {times['ratio']:.2f} x (≤ 2.5)."
        )
    return "\n".join(lines) + "\n"


def _details(found: dict[str, Any]) -> list[str]:
    """Tables of one set for the model that is scored in full."""
    unrelated, mixtures = found["unrelated"], found["mixtures"]
    lines = [
        "| question | value | limit | n |",
        "|---|---:|---:|---:|",
        f"| AUROC of a clip's own label against unrelated ones | {unrelated['auroc']:.3f} "
        f"({unrelated['low']:.3f}–{unrelated['high']:.3f}) | ≥ .95 | {unrelated['n']} |",
        f"| both labels of a mixture at 0 dB in the top five | {_span(mixtures)} | ≥ 60 | {mixtures['n']} |",
    ]
    for name, value in found["conditions"].items():
        lines.append(f"| top prompt changes: {name} | {_span(value)} | < {value['limit']} | {value['n']} |")
    if words := found.get("wordings"):
        each = ", ".join(f"{value:.1f}" for value in words["each"])
        lines.append(
            f"| five other wordings, mean top-1 ({each}) | {_span(words['mean'])} | {words['own']['percent']:.1f} − 3 "
            f"| {words['mean']['n']} |"
        )
    return lines
