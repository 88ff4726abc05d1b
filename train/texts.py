"""The text side of CLAP training: concepts, their sentences, which are siblings, and joined captions of mixtures."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from clips import TrainingClip
from lmaczs.clap.minilm import MiniLM

# Concepts that name one sound in two ways, or one inside the other, although their sentences lie apart.
SIBLINGS = (
    ("rain", "heavy rain"), ("gunshot", "pistol shot"), ("thunder", "thunderstorm"), ("clapping", "applause"),
    ("guitar", "acoustic guitar"), ("engine running", "engine idling"), ("dog barking", "dog"),
    ("washing machine", "dishwasher"), ("running tap", "pouring water"), ("running tap", "washing dishes"),
    ("street music", "instrumental music"), ("choir singing", "solo singing"), ("drilling", "jackhammer"),
    ("air conditioner", "fan"), ("air conditioner", "kitchen exhaust fan"), ("air conditioner", "hand fan"),
    ("engine idling", "engine"), ("engine idling", "car engine"), ("engine idling", "motor"),
    ("engine idling", "boat engine"), ("engine idling", "motorcycle"),
)  # fmt: skip
SIBLING_COSINE = 0.72


@dataclass(frozen=True)
class TextBank:
    """Sentences of every concept, embedded once.

    Attributes:
        concepts: names, sorted.
        sentence_embedding: (sentences, 384) of MiniLM.
        sentences_of: for each concept, rows of `sentence_embedding`.
        siblings: (concepts, concepts) bool; True means "not a negative of each other"; the diagonal is False.
        pairs: (pairs, 2) concepts of joined captions.
        pair_embedding: (pairs, 384) of MiniLM, "a dog barking and rain falling".
    """

    concepts: tuple[str, ...]
    sentence_embedding: Tensor
    sentences_of: tuple[Tensor, ...]
    siblings: Tensor
    pairs: Tensor
    pair_embedding: Tensor

    def draw(self, generator: torch.Generator) -> Tensor:
        """One random sentence for every concept: (concepts, 384)."""
        return self.draw_of(torch.arange(len(self.concepts)), generator)

    def draw_of(self, concepts: Tensor, generator: torch.Generator) -> Tensor:
        """One random sentence for each of the concepts (count,): (count, 384)."""
        groups = [self.sentences_of[int(concept)] for concept in concepts]
        rows = [rows[int(torch.randint(len(rows), (), generator=generator))] for rows in groups]
        return self.sentence_embedding[torch.stack(rows)]


def embed(encoder: MiniLM, sentences: list[str], description: str) -> Tensor:
    """MiniLM embeddings in batches of similar length: (sentences, 384)."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
    result = torch.zeros(len(sentences), 384)
    for start in tqdm(range(0, len(order), 128), desc=description, unit="batch"):
        rows = order[start : start + 128]
        result[rows] = encoder([sentences[i] for i in rows])
    return result


def build_text_bank(
    clips: list[TrainingClip], weights: Tensor, num_pairs: int, generator: torch.Generator
) -> TextBank:
    """Collect and embed what the clips say.

    Args:
        clips: training clips.
        weights: (clips,) how often each is drawn; mixtures meet as often as their parts do alone.
        num_pairs: joined captions to prepare for mixtures.
        generator: source of the random pairs.
    """
    concepts = tuple(sorted({clip.concept for clip in clips}))
    texts: dict[str, dict[str, None]] = {concept: {} for concept in concepts}
    for clip in clips:
        texts[clip.concept].update(dict.fromkeys(clip.texts))
    encoder = MiniLM()
    sentences = [text for concept in concepts for text in texts[concept]]
    embedding = embed(encoder, sentences, "captions")
    sentences_of, start = [], 0
    for concept in concepts:
        sentences_of.append(torch.arange(start, start + len(texts[concept])))
        start += len(texts[concept])
    centre = torch.stack([embedding[rows].mean(0) for rows in sentences_of])
    centre = torch.nn.functional.normalize(centre, dim=-1)
    siblings = (centre @ centre.T) > SIBLING_COSINE
    index = {concept: i for i, concept in enumerate(concepts)}
    for first, second in SIBLINGS:
        if first in index and second in index:
            siblings[index[first], index[second]] = siblings[index[second], index[first]] = True
    siblings.fill_diagonal_(False)
    mass = torch.zeros(len(concepts)).index_add_(0, torch.tensor([index[c.concept] for c in clips]), weights)
    pairs = torch.multinomial(mass, 2 * num_pairs, replacement=True, generator=generator).view(-1, 2)
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & ~siblings[pairs[:, 0], pairs[:, 1]]]
    joined = []
    for first, second in pairs.tolist():
        a = list(texts[concepts[first]])
        b = list(texts[concepts[second]])
        a = a[int(torch.randint(len(a), (), generator=generator))]
        b = b[int(torch.randint(len(b), (), generator=generator))]
        joined.append(f"{a} and {b}")
    return TextBank(
        concepts, embedding, tuple(sentences_of), siblings, pairs, embed(encoder, joined, "joined captions")
    )


def load_text_bank(
    cache: Path, clips: list[TrainingClip], weights: Tensor, num_pairs: int, seed: int
) -> TextBank:
    """`build_text_bank`, computed once and kept in a file."""
    if not cache.exists():
        bank = build_text_bank(clips, weights, num_pairs, torch.Generator().manual_seed(seed))
        torch.save(vars(bank), cache)
    return TextBank(**torch.load(cache, weights_only=True))
