"""Development scores of a trained second compact CLAP, its match limits, and its release folder with card."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmaczs.clap.compact2 import Compact2CLAP
from lmaczs.clap.compact2_release import save_compact2
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.errors import CheckpointError
from train.compact_data import CollectionClip, Store, mel_power
from train.compact_texts import SIBLING_COSINE

BATCH = 32
WEAK, STRONG = 0.95, 0.99  # of the similarities with unrelated prompts lie below the limits

Scored = tuple[Sequence[CollectionClip], Store]  # clips of a development fold with their mel decibels


@torch.no_grad()
def embed_clips(model: Compact2CLAP, store: Store) -> Tensor:
    """(clips, embed_dim) of clips as they are."""
    parts = torch.arange(len(store)).split(BATCH)
    return torch.cat([model.encode(mel_power(store, rows))[0] for rows in parts])


@torch.no_grad()
def _compare(
    model: Compact2CLAP, clips: Sequence[CollectionClip], store: Store
) -> tuple[Tensor, Tensor, Tensor]:
    """Similarities (clips, labels), the true label of each clip, and which labels are related (labels, labels)."""
    labels = sorted({clip.label for clip in clips})
    truth = torch.tensor([labels.index(clip.label) for clip in clips])
    prompts = prompts_from_labels(labels)
    meaning = model.sentence_features(prompts)
    similarity = embed_clips(model, store) @ model.project_text(meaning).T
    return similarity, truth, meaning @ meaning.T > SIBLING_COSINE


def score(model: Compact2CLAP, clips: Sequence[CollectionClip], store: Store) -> dict[str, float]:
    """Zero-shot top-1 and top-5 in percent over the labels of the clips, and their number."""
    similarity, truth, _ = _compare(model, clips, store)
    rank = (similarity > similarity.gather(1, truth[:, None])).sum(1)
    hits = {f"top{k}": round(100 * float((rank < k).float().mean()), 2) for k in (1, 5)}
    return {**hits, "n": len(clips)}


def calibrate(model: Compact2CLAP, development: Mapping[str, Scored]) -> dict[str, float]:
    """Set the match limits: what few prompts for other sounds reach on development clips.

    Args:
        model: its config gets the limits.
        development: clips of the folds.

    Returns:
        The limits; shares of unrelated and of right prompts that reach them, in percent; how many pairs there were.
    """
    named, unrelated = [], []
    for clips, store in development.values():
        similarity, truth, related = _compare(model, clips, store)
        named.append(similarity.gather(1, truth[:, None])[:, 0])
        unrelated.append(similarity[~related[truth]])
    if not named:
        return {}
    right, wrong = torch.cat(named), torch.cat(unrelated)
    limits = (float(np.quantile(wrong.numpy(), WEAK)), float(np.quantile(wrong.numpy(), STRONG)))
    limits = (round(limits[0], 4), round(limits[1], 4))
    model.config = replace(model.config, match_limits=limits)
    model.match_limits = limits
    found: dict[str, float] = {"weak": limits[0], "strong": limits[1]}
    for name, limit in (("weak", limits[0]), ("strong", limits[1])):
        found[f"named_{name}_percent"] = round(100 * float((right >= limit).float().mean()), 2)
        found[f"unrelated_{name}_percent"] = round(100 * float((wrong >= limit).float().mean()), 2)
    return found | {"named": len(right), "unrelated": len(wrong)}


def sources(clips: Sequence[CollectionClip]) -> list[dict[str, Any]]:
    """Data sets with numbers of clips, licences and repositories, the largest first."""
    found = []
    for dataset, count in Counter(clip.dataset for clip in clips).most_common():
        own = [clip for clip in clips if clip.dataset == dataset]
        licences = Counter(clip.licence for clip in own)
        found.append(
            {
                "dataset": dataset,
                "clips": count,
                "licences": [text for text, _ in licences.most_common()],
                "repositories": sorted({clip.source for clip in own}),
            }
        )
    return found


def release(
    out: Path, model: Compact2CLAP, clips: Sequence[CollectionClip], training: dict[str, Any], start: Path
) -> None:
    """Write the release folder: weights, settings, golden tensors, card, and the notice of the start weights.

    Raises:
        CheckpointError: the start weights come without their licence.
    """
    try:
        notice = (start / "LICENSE").read_text("utf-8")
    except OSError:
        raise CheckpointError(
            "--start-weights holds no LICENSE: its notice has to travel with the weights."
        ) from None
    metrics = training.pop("metrics")
    training = {**training, "sources": sources(clips)}
    save_compact2(out, model, training=training, metrics=metrics)
    (out / "START-WEIGHTS-LICENSE").write_text(notice, "utf-8")
    (out / "README.md").write_text(card(out), "utf-8")
    shutil.copymode(out / "config.json", out / "README.md")


def card(folder: Path) -> str:
    """README.md of the release, from its own files; nothing is typed twice."""
    training = json.loads((folder / "training.json").read_text("utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    megabytes = (folder / "model.safetensors").stat().st_size / 1e6
    rows = [
        f"| {source['dataset']} | {source['clips']} | {'; '.join(source['licences'])} | "
        f"{', '.join(source['repositories'])} |"
        for source in training["sources"]
    ]
    scores = [
        f"- `{name}` (development, n = {values['n']}): top-1 {values['top1']:.1f} %, top-5 {values['top5']:.1f} %"
        for name, values in metrics.items()
        if "top1" in values
    ]
    spent = ", ".join(f"{minutes} minutes on {machine}" for machine, minutes in training["minutes"].items())
    total = sum(source["clips"] for source in training["sources"])
    told = CARD.format(folder=folder.name, megabytes=megabytes, spent=spent, **training).splitlines()
    return "\n".join([*told, *scores, "", *LICENCE.format(total=total).splitlines(), *rows, ""])


CARD = """# {folder}

A compact CLAP: it compares any sound with any sentence. Audio: a MobileNetV3 of width 0.4 over 128 mel bands up to
15 kHz, 32 kHz, windows of 5 s. Text: the frozen sentence encoder all-MiniLM-L6-v2 (Apache-2.0, not part of this folder).
The joint vector has two parts: which of AudioSet's 527 classes stand out in the sound and which of them the sentence
means (by {megabytes:.1f} MB of weights that include a table of phrases for the classes), and a learned projection.

It has never been trained on ESC-50 or UrbanSound8K, nor on recordings that repeat theirs. Clips of two of their folds
were scored to choose settings (development); the other folds were scored once, see `benchmarks/classifier/`. The phrases
for AudioSet's classes were written by hand from the classes' names; their writer knew
the labels of both sets, and some phrases follow confusions seen on the development folds.

Trained in one run, seed {seed}, on machines that others used too ({spent}): `train/recipes/compact-clap.yaml`.

## What it scored
"""

LICENCE = """## Licence and data

The weights are open: Apache-2.0, with the notice of the start weights and the attributions below. They start from
`mn04_as` (MIT, copyright 2022 Florian Schmid, START-WEIGHTS-LICENSE): Schmid, Koutini, Widmer, "Efficient large-scale
audio tagging via transformer-to-CNN knowledge distillation", ICASSP 2023, trained on AudioSet (labels CC BY 4.0, ontology
CC BY-SA 4.0, Gemmeke et al. 2017). No audio is in this folder. Trained on {total} open clips of these collections:

| collection | clips | licences of the recordings | repository |
|---|---:|---|---|"""
