"""Sentences for the second compact CLAP: phrases that name AudioSet's classes, and what the clips' captions say."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lmaczs.clap.prompts import plain_prompt
from lmaczs.errors import DatasetError
from train.compact_data import CollectionClip

SIBLING_COSINE = 0.72  # of MiniLM: concepts nearer than that are not negatives of each other
BATCH = 64

Encoder = Callable[[Sequence[str]], Tensor]  # sentences -> (sentences, 384), unit norm


def class_phrases(table: Path, left_out: set[str]) -> list[list[str]]:
    """Plain phrases of every class, its name first.

    Args:
        table: CSV of index, name and phrases with "|" between.
        left_out: plain sentences that are measured with, and so not learned.

    Raises:
        DatasetError: the table cannot be read.
    """
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        phrases = [[row["name"], *row["phrases"].split("|")] for row in rows]
    except (OSError, KeyError):
        raise DatasetError(
            f"The phrases '{table.name}' cannot be read: give a CSV of index, name and phrases."
        ) from None
    plain = [list(dict.fromkeys(plain_prompt(phrase) for phrase in group)) for group in phrases]
    return [[phrase for phrase in group if phrase not in left_out] or group[:1] for group in plain]


def measured_wordings(table: Path) -> set[str]:
    """Plain forms of the wordings that the benchmark asks with; the labels themselves are not among them.

    Raises:
        DatasetError: the table cannot be read.
    """
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
    except OSError:
        raise DatasetError(f"The wordings '{table.name}' cannot be read: give the benchmark's CSV.") from None
    return {plain_prompt(wording) for _, *wordings in rows for wording in wordings}


@torch.no_grad()
def embed(encoder: Encoder, sentences: Sequence[str]) -> Tensor:
    """(sentences, 384) in batches of similar length."""
    order = sorted(range(len(sentences)), key=lambda index: len(sentences[index]))
    found = torch.empty(len(sentences), 384)
    for first in range(0, len(order), BATCH):
        group = order[first : first + BATCH]
        found[torch.tensor(group)] = encoder([sentences[index] for index in group]).float().cpu()
    return found


@dataclass(frozen=True)
class ConceptTexts:
    """What is said of every concept, and of every class.

    Attributes:
        concepts: names, sorted.
        sentences: (sentences, 384) of all captions.
        counts: (concepts,) how many of `sentences` each concept has; they stand together.
        siblings: (concepts, concepts) bool, the diagonal too: not negatives of each other.
        phrases: (phrases, 384) of all classes.
        classes: (phrases,) class of each.
    """

    concepts: tuple[str, ...]
    sentences: Tensor
    counts: Tensor
    siblings: Tensor
    phrases: Tensor
    classes: Tensor

    def draw(self, generator: torch.Generator) -> Tensor:
        """Row of one sentence for every concept: (concepts,)."""
        return _one_of_each(self.counts, generator)

    def draw_phrases(self, generator: torch.Generator) -> Tensor:
        """Row of one phrase for every class: (classes,); rows of one class stand together."""
        return _one_of_each(torch.bincount(self.classes), generator)


def _one_of_each(counts: Tensor, generator: torch.Generator) -> Tensor:
    """A random row of every group, whose rows stand together: (groups,) sizes -> (groups,) rows."""
    draws = torch.rand(len(counts), generator=generator, device=generator.device)
    return counts.cumsum(0) - counts + (draws * counts).long()


def concept_texts(
    clips: Sequence[CollectionClip], phrases: Sequence[Sequence[str]], left_out: set[str], encoder: Encoder
) -> ConceptTexts:
    """Collect and embed sentences.

    Args:
        clips: training clips.
        phrases: of every class, see `class_phrases`.
        left_out: plain sentences that are not learned; a concept that nothing else describes keeps its name.
        encoder: of sentences.
    """
    said: dict[str, dict[str, None]] = {concept: {} for concept in sorted({clip.concept for clip in clips})}
    for clip in clips:
        said[clip.concept].update(dict.fromkeys(plain_prompt(sentence) for sentence in clip.sentences))
    kept = {
        concept: [sentence for sentence in found if sentence not in left_out] or [plain_prompt(concept)]
        for concept, found in said.items()
    }
    sentences = embed(encoder, [sentence for found in kept.values() for sentence in found])
    counts = [len(found) for found in kept.values()]
    centre = F.normalize(torch.stack([own.mean(0) for own in sentences.split(counts)]), dim=1)
    flat = [phrase for group in phrases for phrase in group]
    classes = torch.tensor([number for number, group in enumerate(phrases) for _ in group])
    return ConceptTexts(
        tuple(kept),
        sentences,
        torch.tensor(counts),
        centre @ centre.T > SIBLING_COSINE,
        embed(encoder, flat),
        classes,
    )
