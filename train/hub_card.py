"""The model card of a published release: front matter for the hub, its own card, scores, limits, use and citation.

Every figure comes from a file: the release's JSON, an evaluation's summary.json, CITATION.cff.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lmaczs.errors import LMACError
from lmaczs.metrics.registry import explanation_keys
from lmaczs.metrics.table import markdown_table, metric_notes
from lmaczs.release_config import CONFIG
from train.model_card import non_commercial, render

CITATION = Path(__file__).resolve().parents[1] / "CITATION.cff"
PAPERS = {
    "clap": (),
    "lmac-zs": ("arXiv:2405.17615",),
    "l2i": ("arXiv:2202.11479",),
    "nmf": ("arXiv:2202.11479",),
}
LIMITS = {
    "clap": (
        "Probabilities are relative to the prompts that are given; one of them always wins.",
        "A sound or a phrase far from the data above may be matched with anything.",
        "Not made for decisions about people, for surveillance, or where safety depends on it.",
    ),
    "explainer": (
        "It explains what the CLAP decided, whether or not the decision is right.",
        "It was trained for one CLAP with exactly its weights; for any other its masks mean nothing, and it is refused.",
        "A faithful mask is no source separation: what is kept is what the classifier used, also where that is noise.",
    ),
}
USE = {
    "clap": 'load_backend("compact", weights="{pinned}")',
    "lmac-zs": 'load_explainer("lmac-zs", load_backend("{backend}"), "{domain}", release="{pinned}")',
    "l2i": 'load_explainer("l2i", load_backend("{backend}"), release="{pinned}")',
}


def hub_card(
    folder: Path, repository: str, evaluations: Sequence[Path] = (), method: str | None = None
) -> str:
    """README.md for the hub.

    Args:
        folder: a release.
        repository: "owner/name" that it is for.
        evaluations: folders that `lmaczs evaluate` wrote.
        method: name of the release's method in them; None is its kind.

    Raises:
        LMACError: an evaluation cannot be read, or knows no such method.
    """
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    training = json.loads((folder / "training.json").read_text("utf-8"))
    kind = config["kind"]
    card = render(folder).replace(f"# {folder.name}\n", f"# {repository.partition('/')[2]}\n", 1)
    parts = [_front_matter(kind, training), card.rstrip("\n")]
    parts += [_scores(path, method or kind, _domain(config)) for path in evaluations]
    limits = LIMITS["clap" if kind == "clap" else "explainer"]
    parts.append("## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits))
    if kind in USE:
        call = USE[kind].format(
            pinned=f"{repository}@COMMIT", backend=config.get("backend"), domain=_domain(config)
        )
        name = "load_backend" if kind == "clap" else "load_backend, load_explainer"
        parts.append(
            "## How to use\n\nCOMMIT is the full hash of a commit of this repository: the same name then always means "
            f"the same weights.\n\n```python\nfrom lmaczs import {name}\n\n{call}\n```"
        )
    parts.append("## How to cite\n\n" + "\n".join(f"- {line}" for line in _citations(PAPERS[kind])))
    return "\n\n".join(parts) + "\n"


def _domain(config: dict[str, Any]) -> str:
    return str(config.get("decoder", {}).get("domain", "stft"))


def _front_matter(kind: str, training: dict[str, Any]) -> str:
    values = {
        "license": "other",
        "license_name": "non-commercial-use" if non_commercial(training) else "licences-of-the-recordings",
        "library_name": "lmaczs",
        "pipeline_tag": "zero-shot-audio-classification" if kind == "clap" else "audio-classification",
        "tags": ["audio", "explainability", "interpretability", kind],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False).rstrip()}\n---"


def _scores(evaluation: Path, method: str, domain: str) -> str:
    """Table of an evaluation for one method beside its controls."""
    try:
        summary = json.loads((evaluation / "summary.json").read_text("utf-8"))
    except (OSError, ValueError):
        raise LMACError(
            f"'{evaluation.name}' holds no summary.json: name a folder of 'lmaczs evaluate'."
        ) from None
    methods = summary["conditions"]["none"]["domains"][domain]["forms"]["soft"]
    if method not in methods:
        raise LMACError(
            f"'{evaluation.name}' has no '{method}' in the domain {domain}: it has {', '.join(methods)}."
        )
    rows = [(name, methods[name]) for name in (method, "full", "random") if name in methods]
    keys = [key for key in explanation_keys() if key in methods[method]]
    return (
        f"## Scores: {evaluation.name}\n\nWritten by `lmaczs evaluate`; {summary['n_clips']} clips, means; "
        f"full keeps everything, random is noise.\n\n{markdown_table(rows, keys)}\n{metric_notes(keys)}".rstrip()
    )


def _citations(papers: Sequence[str]) -> list[str]:
    """The papers behind a kind, then this software."""
    citation = yaml.safe_load(CITATION.read_text("utf-8"))
    lines = []
    for reference in citation["references"]:
        name = next((entry["value"] for entry in reference.get("identifiers", ())), "")
        if name in papers:
            people = ", ".join(
                f"{author['given-names']} {author['family-names']}" for author in reference["authors"]
            )
            lines.append(
                f"{people}: {reference['title']}. {reference['collection-title']}, {reference['year']}. {name}"
            )
    return [*lines, f"{citation['title']}, version {citation['version']} ({citation['license']})."]
