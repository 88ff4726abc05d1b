"""The embedded CLAP: slim CNN14 and MiniLM, 16 kHz, 5 s; trained by `train/train_clap.py`, works without a network."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.cnn14 import CNN14, Projection
from lmaczs.clap.minilm import MAX_TOKENS, TEXT_WIDTH, MiniLM
from lmaczs.signal.spectral import SpectralConfig, mel_filterbank


@dataclass(frozen=True)
class CompactConfig:
    """Shape of a compact CLAP; stored as config.json of its release.

    Attributes:
        spectral: front end grid.
        clip_seconds: window that the encoder sees, s.
        widths: channels of the CNN14 blocks.
        embed_dim: width of the joint space.
        floor_db: cells quieter than this below the window's mean power look the same, dB > 0.
    """

    spectral: SpectralConfig = field(default_factory=SpectralConfig)
    clip_seconds: float = 5.0
    widths: tuple[int, ...] = (16, 32, 96, 192, 384)
    embed_dim: int = 384
    floor_db: float = 60.0


class CompactCLAP(CLAPBackend):
    """Audio: log-mel relative to the window's own mean power -> CNN14 -> projection. Text: MiniLM -> projection.

    The level is taken out before the logarithm, so a louder or quieter copy of a sound has the same embedding; a
    uniformly faint mask therefore changes nothing, and cannot pass for an explanation.
    """

    name = "compact"
    max_tokens = MAX_TOKENS - 2

    def __init__(
        self, config: CompactConfig | None = None, sentence_encoder: nn.Module | None = None
    ) -> None:
        """Build with fresh weights.

        Args:
            config: shape; None is the shipped one.
            sentence_encoder: maps sentences to (prompts, 384); None loads MiniLM at the first prompt.
        """
        super().__init__()
        self.config = config or CompactConfig()
        self.spectral = self.config.spectral
        self.clip_samples = round(self.config.clip_seconds * self.spectral.sample_rate)
        self.embed_dim = self.config.embed_dim
        self.register_buffer("mel_filters", mel_filterbank(self.spectral))
        self.audio_encoder = CNN14(
            self.config.widths, self.spectral.n_mels, dropout=(0.0, 0.3), embed_width=self.config.widths[-1]
        )
        self.hidden_channels = self.audio_encoder.hidden_channels
        self.audio_projection = Projection(self.config.widths[-1], self.embed_dim, dropout=0.2)
        self.text_projection = Projection(TEXT_WIDTH, self.embed_dim, dropout=0.2)
        self.log_logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self._sentence_encoder = [] if sentence_encoder is None else [sentence_encoder]

    @property
    def logit_scale(self) -> Tensor:
        """Learned inverse temperature, at most 100."""
        return self.log_logit_scale.exp().clamp_max(100.0)

    @property
    def cam_layers(self) -> dict[str, nn.Module]:
        """The four deepest convolution blocks."""
        return self.audio_encoder.cam_layers

    def log_mel(self, mel_power: Tensor) -> Tensor:
        """Level-free log-mel map.

        Args:
            mel_power: (batch, n_mels, frames) >= 0.

        Returns:
            (batch, n_mels, frames) dB re the window's mean mel power, not below -floor_db.
        """
        level = mel_power.mean(dim=(1, 2), keepdim=True).clamp_min(1e-10)
        return 10.0 * torch.log10(mel_power / level + 10 ** (-self.config.floor_db / 10))

    def encode(self, mel_power: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `CLAPBackend.encode`."""
        features, hidden = self.audio_encoder(self.log_mel(mel_power))
        return F.normalize(self.audio_projection(features), dim=-1), hidden

    @property
    def sentence_encoder(self) -> nn.Module:
        """MiniLM, loaded at the first prompt, or what stands in for it."""
        if not self._sentence_encoder:  # kept out of the module tree: its weights are not part of our release
            self._sentence_encoder.append(MiniLM().to(self.mel_filters.device))
        return self._sentence_encoder[0]

    def prompt_tokens(self, prompt: str) -> Sequence[int]:
        """See `CLAPBackend.prompt_tokens`."""
        encoder = self.sentence_encoder
        return encoder.tokens(prompt) if isinstance(encoder, MiniLM) else super().prompt_tokens(prompt)

    def sentence_features(self, prompts: Sequence[str]) -> Tensor:
        """See `CLAPBackend.sentence_features`: MiniLM embeddings, (prompts, 384), unit norm."""
        vectors: Tensor = self.sentence_encoder(prompts)
        return vectors.to(self.mel_filters.device)

    def embed_sentences(self, prompts: Sequence[str]) -> Tensor:
        """See `CLAPBackend.embed_sentences`."""
        with torch.no_grad():
            return self.project_text(self.sentence_features(prompts))

    def project_text(self, sentence_embedding: Tensor) -> Tensor:
        """Map sentence embeddings (prompts, 384) to the joint space: (prompts, embed_dim), unit norm."""
        return F.normalize(self.text_projection(sentence_embedding), dim=-1)
