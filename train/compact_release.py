"""Development scores of a trained second compact CLAP, its match limits, and its release folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compact_data import CollectionClip, mel_power
from lmaczs.clap.compact2 import Compact2CLAP
from lmaczs.clap.similarity import prompts_from_labels

BATCH = 32


@torch.no_grad()
def embed_clips(model: Compact2CLAP, store: np.ndarray) -> Tensor:
    """(clips, embed_dim) of clips as they are."""
    parts = torch.arange(len(store)).split(BATCH)
    return torch.cat([model.encode(mel_power(store, rows))[0] for rows in parts])


@torch.no_grad()
def score(model: Compact2CLAP, clips: Sequence[CollectionClip], store: np.ndarray) -> dict[str, float]:
    """Zero-shot top-1 and top-5 in percent over the labels of the clips, and their number."""
    labels = sorted({clip.label for clip in clips})
    truth = torch.tensor([labels.index(clip.label) for clip in clips])
    similarity = embed_clips(model, store) @ model.embed_sentences(prompts_from_labels(labels)).T
    rank = (similarity > similarity.gather(1, truth[:, None])).sum(1)
    hits = {f"top{k}": 100 * float((rank < k).float().mean()) for k in (1, 5)}
    return {**hits, "n": len(clips)}


def calibrate(model: Compact2CLAP, development: Mapping[str, Any]) -> None:
    """TODO."""


def release(
    out: Path, model: Compact2CLAP, clips: Sequence[CollectionClip], settings: dict, start: Path
) -> None:
    """TODO."""
    torch.save(model.state_dict(), out.with_suffix(".pt"))
