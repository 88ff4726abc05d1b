"""What an interpreter imitates: CLAP's zero-shot decision over fixed prompts, or that of a head trained for fixed labels.

Heads sit on the frozen audio encoder, so that everything that a backend opens up (hidden maps, masks before the encoder)
serves them too. They are single-label (softmax) or multi-label (sigmoid).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.similarity import prompts_from_labels, similarities
from lmaczs.hub import load_release, rebuild, refuse_other_backend, save_release, trained_for, value_of
from lmaczs.types import AudioState

KIND = "closed-set"


class Decision(ABC):
    """A classifier with fixed labels on a backend.

    Attributes:
        labels: in the order of the logits.
        multi_label: whether each label is decided on its own.
    """

    labels: tuple[str, ...]
    multi_label: bool

    @abstractmethod
    def logits_of(self, embedding: Tensor, hidden: tuple[Tensor, ...]) -> Tensor:
        """From what the encoder made of windows, as in `AudioState`: (batch, labels)."""

    def logits(self, audio: AudioState) -> Tensor:
        """Windows -> (batch, labels)."""
        return self.logits_of(audio.embedding, audio.hidden)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(batch, labels) in [0, 1]; rows sum to 1 unless multi-label."""
        return torch.sigmoid(logits) if self.multi_label else torch.softmax(logits, dim=-1)


class ZeroShotDecision(Decision):
    """Softmax of logit_scale * cosine over one prompt for each label."""

    multi_label = False

    def __init__(self, backend: CLAPBackend, labels: Sequence[str]) -> None:
        """Embed the prompts of the labels."""
        self.labels = tuple(labels)
        with torch.no_grad():
            self.scale = backend.logit_scale.detach()
            self.text = backend.encode_text(prompts_from_labels(self.labels))

    def logits_of(self, embedding: Tensor, hidden: tuple[Tensor, ...]) -> Tensor:
        """See `Decision.logits_of`."""
        return self.scale * similarities(embedding, self.text.embedding)


@dataclass(frozen=True)
class HeadConfig:
    """Shape of a head; stored as config.json of its release.

    Attributes:
        labels: in the order of the logits.
        channels: of the encoder's deepest map.
        multi_label: sigmoid instead of softmax.
        thresholds: of a multi-label head, probability from which each label is given; empty for single-label.
        dropout: before each layer in training.
    """

    labels: tuple[str, ...]
    channels: int
    multi_label: bool = False
    thresholds: tuple[float, ...] = ()
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what no head can have.

        Raises:
            ValueError: a value is out of range.
        """
        if len(self.thresholds) not in ((0, len(self.labels)) if self.multi_label else (0,)):
            raise ValueError(f"{len(self.thresholds)} thresholds do not fit {len(self.labels)} labels")
        if not self.labels or self.channels < 1 or not 0 <= self.dropout < 1:
            raise ValueError("a head needs labels, channels and a dropout from 0 to below 1")


class Head(nn.Module):
    """CNN14's own head (Kong et al. 2020): mean over frequency, mean plus maximum over time, one hidden layer."""

    def __init__(self, config: HeadConfig) -> None:
        """Build with fresh weights."""
        super().__init__()
        self.config = config
        self.fc1 = nn.Linear(config.channels, config.channels)
        self.fc2 = nn.Linear(config.channels, len(config.labels))

    @staticmethod
    def pool(deepest: Tensor) -> Tensor:
        """(batch, channels, time, freq) -> (batch, channels); all that a head sees of a sound."""
        rows = deepest.mean(dim=3)
        return rows.amax(dim=2) + rows.mean(dim=2)

    def forward(self, pooled: Tensor) -> Tensor:
        """(batch, channels) from `pool` -> logits (batch, labels)."""
        share = self.config.dropout
        hidden = F.relu(self.fc1(F.dropout(pooled, share, self.training)))
        logits: Tensor = self.fc2(F.dropout(hidden, share, self.training))
        return logits


class HeadDecision(Decision):
    """A trained head on the backend's deepest hidden map."""

    def __init__(self, head: Head) -> None:
        """Wrap a head.

        Args:
            head: in eval mode, on the backend's device.
        """
        self.head = head
        self.labels, self.multi_label = head.config.labels, head.config.multi_label
        self.thresholds = torch.tensor(head.config.thresholds)

    def logits_of(self, embedding: Tensor, hidden: tuple[Tensor, ...]) -> Tensor:
        """See `Decision.logits_of`."""
        logits: Tensor = self.head(Head.pool(hidden[-1]))
        return logits

    def given(self, probabilities: Tensor) -> Tensor:
        """Labels that a multi-label head gives: (batch, labels) bool."""
        return probabilities >= self.thresholds.to(probabilities)


def save_head(folder: str | Path, backend: CLAPBackend, head: Head, **contents: Any) -> Path:
    """Write a head as a release; `contents` as in `lmaczs.hub.save_release`."""
    config = {**trained_for(backend), "head": asdict(head.config)}
    return save_release(folder, KIND, config, head.state_dict(), **contents)


def load_head(name: str | Path, backend: CLAPBackend) -> HeadDecision:
    """Read a head that was trained for this backend, in eval mode.

    Raises:
        BackendUnavailableError: there is no such release.
        CheckpointError: it is damaged, or was trained for other weights of a CLAP.
    """
    release = load_release(name, kind=KIND)
    refuse_other_backend(release.config, backend, "classifier", "train_classifier.py")
    config: HeadConfig = value_of(release, "head", HeadConfig)
    head = rebuild(lambda: Head(config), release, "classifier", again="train")
    return HeadDecision(head.to(backend.mel_filters.device))
