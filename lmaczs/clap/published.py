"""A CLAP that others trained and published, opened up like ours: dB front end, encoder, projection; text tower."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.cnn14 import CNN14
from lmaczs.clap.dasheng import Dasheng
from lmaczs.clap.htsat import HTSAT
from lmaczs.clap.text_towers import TextTower
from lmaczs.signal.spectral import SpectralConfig, filter_centres_hz, power_to_db


class PublishedCLAP(CLAPBackend):
    """Audio: mel power in dB -> encoder -> projection. Text: tower -> projection. Both to unit norm.

    On a GPU the encoder runs in half precision; front end, hidden maps and embeddings are always float32.
    """

    def __init__(
        self,
        name: str,
        spectral: SpectralConfig,
        clip_samples: int,
        embed_dim: int,
        encoder: CNN14 | HTSAT | Dasheng,
        audio_projection: nn.Module,
        text_tower: TextTower,
        text_projection: nn.Module,
        mel_filters: Tensor,
    ) -> None:
        """Put the parts together.

        Args:
            name: key in `lmaczs.clap.BACKENDS`.
            spectral: grid of the front end.
            clip_samples: window that the encoder sees, samples.
            embed_dim: width of the joint space.
            encoder: log-mel -> (features, hidden maps).
            audio_projection: features -> (batch, embed_dim).
            text_tower: sentences -> features.
            text_projection: features -> (prompts, embed_dim).
            mel_filters: (n_mels, n_fft // 2 + 1), the checkpoint's own.
        """
        super().__init__()
        self.name = name
        self.spectral = spectral
        self.clip_samples = clip_samples
        self.embed_dim = embed_dim
        self.hidden_channels = encoder.hidden_channels
        self.encoder = encoder
        self.audio_projection = audio_projection
        self.text_tower = text_tower
        self.max_tokens = text_tower.max_prompt_tokens
        self.text_projection = text_projection
        self.log_logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        # Not persistent: they belong to the front end of a checkpoint and are given here, not loaded with the weights.
        self.register_buffer("mel_filters", mel_filters.float().contiguous(), persistent=False)

    def train(self, mode: bool = True) -> "PublishedCLAP":
        """Stay in evaluation mode: a framework that switches a whole script to training must not wake the dropout."""
        return super().train(False)

    @property
    def logit_scale(self) -> Tensor:
        """Learned inverse temperature."""
        return self.log_logit_scale.exp()

    @property
    def cam_layers(self) -> dict[str, nn.Module]:
        """The four deepest stages of the encoder."""
        return self.encoder.cam_layers

    @property
    def mel_frequencies_hz(self) -> Tensor:
        """See `CLAPBackend.mel_frequencies_hz`: of the filters as they are, whatever they were designed for."""
        return filter_centres_hz(self.mel_filters.cpu(), self.spectral)

    @property
    def encoder_dtype(self) -> torch.dtype:
        """Precision of the encoder's matrix products: half on a GPU, full elsewhere."""
        if self.mel_filters.device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16

    def encode(self, mel_power: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `CLAPBackend.encode`."""
        log_mel = power_to_db(mel_power.float())
        with self._precision():
            features, hidden = self.encoder(log_mel)
            projected = self.audio_projection(features)
        return F.normalize(projected.float(), dim=-1), hidden

    def _precision(self) -> AbstractContextManager[None]:
        dtype = self.encoder_dtype
        return torch.autocast(self.mel_filters.device.type, dtype, enabled=dtype != torch.float32)

    def prompt_tokens(self, prompt: str) -> Sequence[int]:
        """See `CLAPBackend.prompt_tokens`."""
        return self.text_tower.prompt_tokens(prompt)

    @torch.no_grad()
    def embed_sentences(self, prompts: Sequence[str]) -> Tensor:
        """See `CLAPBackend.embed_sentences`."""
        return F.normalize(self.text_projection(self.text_tower(prompts)), dim=-1)
