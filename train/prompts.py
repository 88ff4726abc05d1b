"""Prompts that an interpreter is trained on: a closed set, or sentences that are drawn anew in each step."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from train.clips import TrainingClip
from train.texts import embed, sentences_by_concept
from train.windows import NOBODY, ClipStore


def read_names(file: str) -> tuple[str, ...]:
    """Lines of a file; none for ""."""
    if not file:
        return ()
    return tuple(line.strip() for line in Path(file).read_text("utf-8").splitlines() if line.strip())


@dataclass(frozen=True)
class Sentences:
    """What an open vocabulary is trained on.

    Attributes:
        embedding: (sentences, embed_dim), unit norm.
        rows_of: for each concept of the clip store, rows of `embedding`.
        weight: (sentences,) how often each is drawn.
    """

    embedding: Tensor
    rows_of: tuple[Tensor, ...]
    weight: Tensor

    def draw(self, concepts: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """One sentence of each concept, and some others: (prompts, embed_dim)."""
        # Some concepts have none: their sentences name what is unheard.
        picked = [self.rows_of[c] for c in concepts.tolist() if len(self.rows_of[c])]
        named = [int(rows[int(torch.randint(len(rows), (), generator=generator))]) for rows in picked]
        others = torch.multinomial(self.weight, count, generator=generator).tolist()
        return self.embedding[torch.tensor(sorted({*named, *others}))]


@torch.no_grad()
def load_sentences(
    clips: Sequence[TrainingClip],
    unheard: Sequence[str],
    store: ClipStore,
    backend: CLAPBackend,
    cache: Path,
) -> Sentences:
    """Sentences of the concepts that are used, but for those that name one that is not; embedded once."""
    texts = {
        concept: [text for text in found if not any(name in text.lower() for name in unheard)]
        for concept, found in sentences_by_concept(clips).items()
        if concept in store.concepts
    }
    flat = [text for found in texts.values() for text in found]
    file = cache / "sentences.pt"
    stored: dict[str, Any] = torch.load(file, weights_only=True) if file.exists() else {}
    if stored.get("texts") != flat:
        stored = {"texts": flat, "features": embed(backend.sentence_features, flat, "captions")}
        torch.save(stored, file)
    features: Tensor = stored["features"]
    device = backend.mel_filters.device
    parts = [backend.project_text(part.to(device)) for part in torch.split(features, 256)]
    rows_of = torch.split(torch.arange(len(flat)), [len(texts[concept]) for concept in store.concepts])
    weight = torch.zeros(len(flat))
    for mass, rows in zip(store.sampler.concept_weight.sqrt(), rows_of, strict=True):
        weight[rows] = mass / max(len(rows), 1)
    return Sentences(torch.cat(parts), rows_of, weight)


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run: a closed set, or sentences that are drawn anew in each step.

    Attributes:
        closed: prompts of the closed set; () for any prompt.
        keys: (closed,) class numbers; empty for any prompt.
        embedding: (closed, embed_dim); empty for any prompt.
        sentences: that are drawn from; None for a closed set.
    """

    closed: tuple[str, ...]
    keys: Tensor
    embedding: Tensor
    sentences: Sentences | None

    def draw(self, concepts: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Prompts of a step.

        Args:
            concepts: (windows, 2) numbers of what is in them.
            count: sentences that are drawn beside those of the concepts.
            generator: source of the draw.

        Returns:
            embeddings (prompts, embed_dim), and the prompts as `Theta.class_weights` takes them.
        """
        if self.sentences is None:
            return self.embedding, self.keys
        named = torch.unique(concepts)
        text = self.sentences.draw(named[named != NOBODY], count, generator)
        return text, text


def open_prompts(closed: tuple[str, ...], backend: CLAPBackend, sentences: Sentences | None) -> Prompts:
    """The closed set with its embeddings, or what an open vocabulary draws from."""
    device = backend.mel_filters.device
    nothing = torch.empty(0, backend.embed_dim, device=device)
    embedding = backend.encode_text(closed).embedding if closed else nothing
    return Prompts(closed, torch.arange(len(closed), device=device), embedding, sentences)
