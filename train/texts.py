"""The text side of CLAP training: concepts, their sentences, which are siblings, and joined captions of mixtures."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.minilm import MiniLM
from train.clips import TrainingClip

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
SIBLING_COSINE = 0.72  # of MiniLM, which knows meanings whatever CLAP is trained or explained
BATCH = 128

# Sentences -> (sentences, width): `CLAPBackend.sentence_features`.
Encoder = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class TextBank:
    """Sentences of every concept, embedded once for one CLAP.

    Attributes:
        concepts: names, sorted.
        sentence_embedding: (sentences, width), what `CLAPBackend.project_text` takes.
        sentences_of: for each concept, rows of `sentence_embedding`.
        siblings: (concepts, concepts) bool; True means "not a negative of each other"; the diagonal is False.
        pairs: (pairs, 2) concepts of joined captions.
        pair_embedding: (pairs, width), "a dog barking and rain falling".
    """

    concepts: tuple[str, ...]
    sentence_embedding: Tensor
    sentences_of: tuple[Tensor, ...]
    siblings: Tensor
    pairs: Tensor
    pair_embedding: Tensor

    def draw(self, generator: torch.Generator) -> Tensor:
        """One random sentence for every concept: (concepts, width)."""
        return self.draw_of(torch.arange(len(self.concepts)), generator)

    def draw_of(self, concepts: Tensor, generator: torch.Generator) -> Tensor:
        """One random sentence for each of the concepts (count,): (count, width)."""
        groups = [self.sentences_of[int(concept)] for concept in concepts]
        rows = [rows[int(torch.randint(len(rows), (), generator=generator))] for rows in groups]
        return self.sentence_embedding[torch.stack(rows)]


@torch.no_grad()
def embed(encoder: Encoder, sentences: Sequence[str], description: str) -> Tensor:
    """Features in batches of similar length: (sentences, width), on the CPU."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
    starts = range(0, len(order), BATCH)
    groups = [order[start : start + BATCH] for start in starts]
    found = [
        encoder([sentences[i] for i in group]).float().cpu()
        for group in tqdm(groups, desc=description, unit="batch")
    ]
    result = torch.empty(len(sentences), found[0].shape[1])
    result[torch.tensor(order)] = torch.cat(found)
    return result


def sentences_by_concept(clips: Sequence[TrainingClip]) -> dict[str, list[str]]:
    """What the clips say of each concept, without repetition; concepts are sorted."""
    texts: dict[str, dict[str, None]] = {concept: {} for concept in sorted({clip.concept for clip in clips})}
    for clip in clips:
        texts[clip.concept].update(dict.fromkeys(clip.texts))
    return {concept: list(found) for concept, found in texts.items()}


def find_siblings(concepts: Sequence[str], meaning: Sequence[Tensor]) -> Tensor:
    """Concepts that are not negatives of each other: (concepts, concepts) bool, the diagonal is False.

    Args:
        concepts: names.
        meaning: for each concept, (sentences, 384) of MiniLM.
    """
    centre = torch.nn.functional.normalize(torch.stack([rows.mean(0) for rows in meaning]), dim=-1)
    siblings = (centre @ centre.T) > SIBLING_COSINE
    index = {concept: i for i, concept in enumerate(concepts)}
    for first, second in SIBLINGS:
        if first in index and second in index:
            siblings[index[first], index[second]] = siblings[index[second], index[first]] = True
    return siblings.fill_diagonal_(False)


def build_text_bank(
    clips: list[TrainingClip],
    weights: Tensor,
    num_pairs: int,
    generator: torch.Generator,
    encoder: Encoder,
) -> TextBank:
    """Collect and embed what the clips say.

    Args:
        clips: training clips.
        weights: (clips,) how often each is drawn; mixtures meet as often as their parts do alone.
        num_pairs: joined captions to prepare for mixtures.
        generator: source of the random pairs.
        encoder: of the CLAP that is trained or explained.
    """
    texts = sentences_by_concept(clips)
    concepts = tuple(texts)
    sentences = [text for concept in concepts for text in texts[concept]]
    embedding = embed(encoder, sentences, "captions")
    sentences_of = torch.split(torch.arange(len(sentences)), [len(texts[concept]) for concept in concepts])
    judge = MiniLM()
    meaning = embedding  # the compact CLAP's text side is MiniLM itself
    if not _alike(encoder(sentences[:1]), judge(sentences[:1])):
        meaning = embed(judge, sentences, "meanings")
    siblings = find_siblings(concepts, [meaning[rows] for rows in sentences_of])

    index = {concept: i for i, concept in enumerate(concepts)}
    mass = torch.zeros(len(concepts)).index_add_(0, torch.tensor([index[c.concept] for c in clips]), weights)
    pairs = torch.multinomial(mass, 2 * num_pairs, replacement=True, generator=generator).view(-1, 2)
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & ~siblings[pairs[:, 0], pairs[:, 1]]]
    joined = []
    for first, second in pairs.tolist():
        both = []
        for concept in (first, second):
            found = texts[concepts[concept]]
            both.append(found[int(torch.randint(len(found), (), generator=generator))])
        joined.append(f"{both[0]} and {both[1]}")
    pair_embedding = embed(encoder, joined, "joined captions") if joined else embedding[:0]
    return TextBank(concepts, embedding, tuple(sentences_of), siblings, pairs, pair_embedding)


def load_text_bank(
    folder: Path,
    clips: list[TrainingClip],
    weights: Tensor,
    num_pairs: int,
    seed: int,
    backend: str,
    encoder: Encoder,
) -> TextBank:
    """`build_text_bank`, computed once and kept in a file of its own for each backend.

    The file says what it was made from. One that was made for another backend, for other weights of the same one or
    from other captions is made again.

    Args:
        folder: for the file.
        clips: training clips.
        weights: as in `build_text_bank`, and so is `num_pairs`.
        seed: of the random pairs.
        backend: key of the CLAP that is trained or explained.
        encoder: its sentence features.
    """
    file = folder / f"texts-{backend}.pt"
    header = _header(clips, num_pairs, seed, backend, encoder)
    if file.exists():
        stored = torch.load(file, weights_only=True)
        if _fits(stored.get("header"), header):
            return TextBank(**stored["bank"])
        tqdm.write(f"{file.name} was made for another model or from other captions: it is made again.")
    generator = torch.Generator().manual_seed(seed)
    bank = build_text_bank(clips, weights, num_pairs, generator, encoder)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"header": header, "bank": vars(bank)}, file)
    return bank


def _header(
    clips: list[TrainingClip], num_pairs: int, seed: int, backend: str, encoder: Encoder
) -> dict[str, Any]:
    """What a bank is made from; the features of one sentence stand for the width and the weights of the text side."""
    texts = sentences_by_concept(clips)
    first = next(iter(texts.values()))[:1]
    with torch.no_grad():
        features = encoder(first).float().cpu()
    return {
        "backend": backend,
        "width": features.shape[1],
        "features": features,
        "captions": hashlib.sha256(repr(texts).encode()).hexdigest(),
        "pairs": (num_pairs, seed),
    }


def _fits(stored: Any, wanted: dict[str, Any]) -> bool:
    if not isinstance(stored, dict) or stored.keys() != wanted.keys():
        return False
    plain = [key for key in wanted if key != "features"]
    return all(stored[key] == wanted[key] for key in plain) and _alike(stored["features"], wanted["features"])


def _alike(first: Tensor, second: Tensor) -> bool:
    """Whether two features come from the same weights; the last bits differ between machines and devices."""
    first, second = first.float().cpu(), second.float().cpu()
    return first.shape == second.shape and bool((first - second).norm() <= 1e-2 * second.norm())
