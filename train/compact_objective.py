"""What the second compact CLAP learns from: contrast of clips and captions, class phrases, and its own start."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.compact2 import Compact2CLAP
from train.compact_data import Mixture
from train.compact_texts import ConceptTexts


class Scales(nn.Module):
    """How much both parts of the joint space count in training: positive factors of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.log_classes = nn.Parameter(torch.tensor(0.0))
        self.log_learned = nn.Parameter(torch.tensor(math.log(10.0)))


@dataclass(frozen=True)
class Weights:
    """Shares of the losses.

    Attributes:
        phrases: of the class phrases that stand for what the start network heard.
        start: of staying with the start network's class probabilities.
        text_noise: deviation of the noise that is added to sentence embeddings.
    """

    phrases: float = 0.5
    start: float = 0.3
    text_noise: float = 0.03


class Objective:
    """The losses of a step; both stages share them."""

    def __init__(
        self, model: Compact2CLAP, texts: ConceptTexts, concept_of: Tensor, sampling: Tensor, weights: Weights
    ) -> None:
        """Prepare what stays the same.

        Args:
            model: its class text and class means are fixed from here on.
            texts: sentences of the concepts and phrases of the classes.
            concept_of: (clips,) concept of every clip.
            sampling: (clips,) how often each clip is drawn.
            weights: of the losses.
        """
        self.model, self.texts, self.concept_of, self.weights = model, texts, concept_of, weights
        with torch.no_grad():
            self.shares = model.class_text(texts.sentences)
        mass = sampling.new_zeros(len(texts.concepts)).index_add_(0, concept_of, sampling)
        self.log_prior = (mass / mass.sum()).log()

    def __call__(
        self,
        scores: Tensor,
        learned: Tensor,
        start: Tensor,
        mixture: Mixture,
        scales: Scales,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            scores: (batch, classes) of the network that learns.
            learned: (batch, learned_dim) its learned part, unit norm.
            start: (batch, classes) scores of the start network for the clean clips.
            mixture: what is heard.
            scales: of both parts.
            generator: source of what is drawn.
        """
        target = self.target(mixture)
        # Equal and sibling concepts are neither right nor wrong.
        excluded = ((target > 0).float() @ self.texts.siblings.float() > 0) & (target == 0)
        drawn = self.texts.draw(generator)
        learned_scale = scales.log_learned.exp()
        logits = scales.log_classes.exp() * self.model.standing_out(scores) @ self.shares[drawn].T
        logits = logits + learned_scale * learned @ self._project(self.texts.sentences[drawn], generator).T
        # Logit adjustment (Menon et al. 2021): how common a concept is in the collection shall not be learned.
        logits = (logits + self.log_prior).masked_fill(excluded, -1e4)
        phrases = self._project(self.texts.phrases[self.texts.draw_phrases(generator)], generator)
        heard = (start - self.model.class_mean).softmax(dim=1)
        named = (learned_scale * learned @ phrases.T).log_softmax(dim=1)
        return {
            "loss/captions": -(target * logits.log_softmax(dim=1)).sum(1).mean(),
            "loss/phrases": -self.weights.phrases * (heard * named).sum(1).mean(),
            "loss/start": self.weights.start * divergence(scores, start),
        }

    def target(self, mixture: Mixture) -> Tensor:
        """(batch, concepts), rows sum to 1."""
        size = len(mixture.first)
        target = mixture.share.new_zeros(size, len(self.texts.concepts))
        row = torch.arange(size, device=target.device)
        target[row, self.concept_of[mixture.first]] += mixture.share
        mixed = mixture.second >= 0
        target[row[mixed], self.concept_of[mixture.second[mixed]]] += 1 - mixture.share[mixed]
        return target

    def _project(self, sentences: Tensor, generator: torch.Generator) -> Tensor:
        """Learned part of sentences with noise, so that a meaning is a region and not a point."""
        noise = self.weights.text_noise * torch.randn(
            sentences.shape, generator=generator, device=generator.device
        )
        return F.normalize(self.model.text_projection(F.normalize(sentences + noise, dim=1)), dim=1)


def divergence(scores: Tensor, start: Tensor) -> Tensor:
    """Kullback-Leibler divergence of independent class probabilities, summed over classes: () >= 0, nats."""
    probability = torch.sigmoid(start)
    learns = F.binary_cross_entropy_with_logits(scores, probability, reduction="none")
    least = F.binary_cross_entropy_with_logits(start, probability, reduction="none")
    return (learns - least).sum(1).mean()
