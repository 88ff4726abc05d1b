"""Which of a tagger's classes a sentence means: a soft look-up among phrases that name the classes."""

import torch
from torch import Tensor, nn


class ClassText(nn.Module):
    """Sentence embedding -> share of every class (Nadaraya 1964, Watson 1964, on the unit sphere).

    It is a table and not a network, so that what a prompt was taken for can be read: the phrases nearest to it.

    Attributes:
        keys: (phrases, width), unit norm, embeddings of the phrases.
        classes: (phrases,) int64, the class that each phrase names; a phrase of two classes stands there twice.
        temperature: of the cosine similarities.
    """

    keys: Tensor
    classes: Tensor

    def __init__(self, phrases: int, width: int, num_classes: int, temperature: float) -> None:
        """Build an empty table.

        Args:
            phrases: rows of the table.
            width: of a sentence embedding.
            num_classes: of the tagger.
            temperature: > 0; smaller follows the nearest phrase alone.
        """
        super().__init__()
        self.num_classes, self.temperature = num_classes, temperature
        self.register_buffer("keys", torch.zeros(phrases, width))
        self.register_buffer("classes", torch.zeros(phrases, dtype=torch.int64))

    def forward(self, sentences: Tensor) -> Tensor:
        """(sentences, width), unit norm -> (sentences, num_classes) >= 0, rows sum to 1."""
        weight = (sentences @ self.keys.T / self.temperature).softmax(dim=-1)
        shares = weight.new_zeros(len(sentences), self.num_classes)
        return shares.index_add(1, self.classes, weight)
