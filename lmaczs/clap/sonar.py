"""SONAR's text encoder (Duquenne et al. 2023), that of GLAP: a transformer whose mean state stands for the sentence.

Names of modules follow the reference (package glap-model), so that its weights load by name.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.text_towers import TextTower
from lmaczs.errors import BackendUnavailableError, CheckpointError

# Of the vocabulary: padding comes before the marks of SentencePiece, so all its pieces stand one place later.
SHIFT, END, ENGLISH = 1, 3, 256047
# Language and end.
MARKS = 2
# Position 0 has the place 2, as in fairseq.
FIRST_POSITION = 2


@dataclass(frozen=True)
class SonarConfig:
    """Shape of the encoder.

    Attributes:
        vocabulary: tokens, languages among them.
        width: channels.
        layers: blocks.
        heads: of the attention.
        inner: width within a block's second half.
        positions: tokens of a sentence at most.
        language: token that begins a sentence.
    """

    vocabulary: int = 256206
    width: int = 1024
    layers: int = 24
    heads: int = 16
    inner: int = 8192
    positions: int = 514
    language: int = ENGLISH


class SentencePieces:
    """The vocabulary, read by the package sentencepiece."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            BackendUnavailableError: the file or the package is not there.
            CheckpointError: the file is damaged.
        """
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise BackendUnavailableError(
                "GLAP's sentences are cut up by the package sentencepiece, which is not installed: pip install "
                "sentencepiece."
            ) from error
        if not path.is_file():
            raise BackendUnavailableError(
                f"There is no '{path.name}' beside GLAP's weights: put the vocabulary of SONAR there under this name."
            )
        try:
            self.pieces: Any = SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise CheckpointError(f"'{path.name}' is no SentencePiece vocabulary: fetch it again.") from error

    def ids(self, text: str) -> list[int]:
        """Tokens of a sentence, without marks."""
        return [number + SHIFT for number in self.pieces.encode(text, out_type=int)]


class Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.output_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time, channels), the same shape."""
        parts = [
            layer(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        ]
        mixed: Tensor = self.output_proj(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        return mixed


class FeedForward(nn.Module):
    """Two layers with a ReLU between."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.inner_proj, self.output_proj = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time, channels), the same shape."""
        found: Tensor = self.output_proj(F.relu(self.inner_proj(tokens)))
        return found


class Layer(nn.Module):
    """A block that normalises first."""

    def __init__(self, config: SonarConfig) -> None:
        super().__init__()
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.self_attn = Attention(config.width, config.heads)
        self.ffn_layer_norm = nn.LayerNorm(config.width)
        self.ffn = FeedForward(config.width, config.inner)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time, channels), the same shape."""
        tokens = tokens + self.self_attn(self.self_attn_layer_norm(tokens))
        found: Tensor = tokens + self.ffn(self.ffn_layer_norm(tokens))
        return found


class SonarTower(TextTower):
    """Sentences, one at a time, so that nothing is padded -> the mean of their states."""

    def __init__(self, config: SonarConfig, pieces: SentencePieces) -> None:
        """Build with fresh weights.

        Args:
            config: shape.
            pieces: the vocabulary.
        """
        nn.Module.__init__(self)
        self.config, self.pieces = config, pieces
        self.width, self.max_tokens = config.width, config.positions
        self.embed = nn.Embedding(config.vocabulary, config.width, padding_idx=0)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(config.width)
        self.places: Tensor
        self.register_buffer("places", _places(config.positions, config.width), persistent=False)

    @property
    def max_prompt_tokens(self) -> int:
        """See `TextTower.max_prompt_tokens`."""
        return self.max_tokens - MARKS

    def prompt_tokens(self, prompt: str) -> list[int]:
        """See `TextTower.prompt_tokens`."""
        return self.pieces.ids(prompt)

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """See `TextTower.forward`."""
        rows = []
        for prompt in prompts:
            ids = [self.config.language, *self.pieces.ids(prompt)[: self.max_prompt_tokens], END]
            tokens = self.embed(torch.tensor([ids], device=self.embed.weight.device))
            tokens = tokens * math.sqrt(self.width) + self.places[: len(ids)]
            for layer in self.layers:
                tokens = layer(tokens)
            rows.append(self.layer_norm(tokens).mean(1))
        return torch.cat(rows)


def _places(count: int, width: int) -> Tensor:
    """Sines, then cosines, of every position: (count, width)."""
    half = width // 2
    slowness = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000.0) / (half - 1)))
    angle = torch.outer(torch.arange(count, dtype=torch.float32) + FIRST_POSITION, slowness)
    return torch.cat([angle.sin(), angle.cos()], dim=1)
