"""The second embedded CLAP: a MobileNet that heard AudioSet, and MiniLM; 32 kHz, 5 s; works without a network.

The joint space has two parts. One is learned: projections of the sound and of the sentence. The other compares classes:
how far each of AudioSet's 527 classes stands out in the sound, and which of them the sentence means. Both are one vector,
so that a cosine and a scale give the decision, as in every CLAP. Trained by `train/train_compact.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.class_text import ClassText
from lmaczs.clap.cnn14 import Projection
from lmaczs.clap.htk_mel import band_centres_hz, centred_window, htk_filterbank
from lmaczs.clap.minilm import MAX_TOKENS, TEXT_WIDTH, MiniLM
from lmaczs.clap.mobilenet import FEATURES, MobileNet
from lmaczs.clap.prompts import plain_prompt
from lmaczs.signal.spectral import SpectralConfig

FLOOR = 1e-5  # power that is added before the logarithm, as the start weights learned it
CLASS_INPUT = 0.3  # brings class scores to the spread of the features before the projection


@dataclass(frozen=True)
class Compact2Config:
    """Shape of the second compact CLAP; stored as config.json of its release.

    Attributes:
        sample_rate: Hz.
        n_fft: samples of a frame.
        hop_length: samples between frames.
        window_samples: of the Hann window in the middle of a frame.
        n_mels: mel bands.
        f_max: upper edge of the highest band, Hz; the lowest begins at 0.
        clip_seconds: window that the encoder sees, s.
        level_db: mean mel power to which the active frames of every window are brought, dB.
        silence_db: frames that far below the window's mean count half in means over time, dB > 0.
        learned_dim: width of the learned part.
        phrases: that name classes.
        phrase_temperature: of the look-up among them.
        radius: length of the class part that fills the joint vector.
        learned_share: of the squared joint vector that the learned part is, in (0, 1).
        scale: logit scale.
        match_limits: cosine from which a prompt matches weakly, and strongly; None: not calibrated.
    """

    sample_rate: int = 32000
    n_fft: int = 1024
    hop_length: int = 320
    window_samples: int = 800
    n_mels: int = 128
    f_max: float = 15000.0
    clip_seconds: float = 5.0
    level_db: float = -10.0
    silence_db: float = 30.0
    learned_dim: int = 256
    phrases: int = 0
    phrase_temperature: float = 0.045
    radius: float = 16.0
    learned_share: float = 0.3
    scale: float = 20.0
    match_limits: tuple[float, float] | None = None

    @property
    def spectral(self) -> SpectralConfig:
        """Grid of the front end."""
        window = centred_window(self.window_samples, self.n_fft)
        grid = (self.sample_rate, self.n_fft, self.hop_length, self.n_mels, 0.0, self.f_max)
        return SpectralConfig(*grid, window=window)


class Compact2CLAP(CLAPBackend):
    """Audio: level-free log-mel -> MobileNet -> class scores and a projection. Text: MiniLM -> classes and a projection.

    The level is taken out before the logarithm, so a louder or quieter copy of a sound has the same embedding.

    Attributes:
        class_mean: (527,) mean score of each class over everyday sounds; what is above it stands out.
        feature_mean: (512,) of the encoder's features, and so is `feature_deviation`.
    """

    name = "compact-2"
    max_tokens = MAX_TOKENS - 2
    class_mean: Tensor
    feature_mean: Tensor
    feature_deviation: Tensor

    def __init__(
        self,
        config: Compact2Config,
        sentence_encoder: nn.Module | None = None,
        encoder: MobileNet | None = None,
    ) -> None:
        """Build with fresh weights.

        Args:
            config: shape.
            sentence_encoder: maps sentences to (prompts, 384); None loads MiniLM at the first prompt.
            encoder: of another shape than the shipped one, for tests.
        """
        super().__init__()
        self.config = config
        self.spectral = config.spectral
        self.clip_samples = round(config.clip_seconds * config.sample_rate)
        self.match_limits = config.match_limits
        # Not persistent: they follow from the config.
        self.register_buffer("mel_filters", htk_filterbank(self.spectral), persistent=False)
        self.audio_encoder = encoder or MobileNet()
        classes = self.audio_encoder.classes.out_features
        self.embed_dim = classes + config.learned_dim + 2
        self.hidden_channels = self.audio_encoder.hidden_channels
        self.class_text = ClassText(config.phrases, TEXT_WIDTH, classes, config.phrase_temperature)
        self.audio_projection = Projection(FEATURES + classes, config.learned_dim, dropout=0.3)
        self.text_projection = Projection(TEXT_WIDTH, config.learned_dim, dropout=0.2)
        self.register_buffer("class_mean", torch.zeros(classes))
        self.register_buffer("feature_mean", torch.zeros(FEATURES))
        self.register_buffer("feature_deviation", torch.ones(FEATURES))
        self._sentence_encoder = [] if sentence_encoder is None else [sentence_encoder]

    @property
    def logit_scale(self) -> Tensor:
        """Inverse temperature of the release."""
        return torch.tensor(self.config.scale, device=self.mel_filters.device)

    @property
    def cam_layers(self) -> dict[str, nn.Module]:
        """Blocks 3, 6 and 12, and the last layer."""
        return self.audio_encoder.cam_layers

    @property
    def mel_frequencies_hz(self) -> Tensor:
        """Centre of each mel band: (n_mels,) Hz."""
        return band_centres_hz(self.spectral)

    def log_mel(self, mel_power: Tensor) -> Tensor:
        """Level-free log-mel map, scaled as the encoder learned it.

        Args:
            mel_power: (batch, n_mels, frames) >= 0.

        Returns:
            (batch, n_mels, frames), about -1.4 where there is nothing.
        """
        weight = self.activity(mel_power)
        level = (mel_power.mean(dim=1) * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1e-6)
        power = mel_power * (10 ** (self.config.level_db / 10) / level.clamp_min(1e-10))[:, None, None]
        return (torch.log(power + FLOOR) + 4.5) / 5

    def activity(self, mel_power: Tensor) -> Tensor:
        """How much each frame counts in the encoder's means over time, so that silence beside a sound says nothing.

        Args:
            mel_power: (batch, n_mels, frames) >= 0.

        Returns:
            (batch, frames) in [0, 1]; half for a frame `silence_db` below the window's mean.
        """
        energy = mel_power.sum(dim=1)
        least = energy.mean(dim=1, keepdim=True).clamp_min(1e-10) * 10 ** (-self.config.silence_db / 10)
        return energy / (energy + least)

    def encode(self, mel_power: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `CLAPBackend.encode`."""
        scores, features, hidden = self.audio_encoder(self.log_mel(mel_power), self.activity(mel_power))
        return self.join_sound(self.standing_out(scores), self.project_sound(scores, features)), hidden

    def standing_out(self, scores: Tensor) -> Tensor:
        """How far each class is above its mean: (batch, classes) -> the same, >= 0."""
        return F.softplus(scores - self.class_mean - 1)

    def project_sound(self, scores: Tensor, features: Tensor) -> Tensor:
        """Learned part of a sound: class scores and features -> (batch, learned_dim), unit norm."""
        standard = 0.5 * (features - self.feature_mean) / self.feature_deviation
        both = torch.cat([standard, CLASS_INPUT * (scores - self.class_mean)], dim=1)
        return F.normalize(self.audio_projection(both), dim=-1)

    def join_sound(self, classes: Tensor, learned: Tensor) -> Tensor:
        """Put both parts of a sound into one vector: (batch, embed_dim), unit norm.

        A class part longer than the radius is shortened to it; what a shorter one leaves goes into an element that no
        sentence has, so that a sound in which nothing stands out is near to no prompt.
        """
        part = classes / self.config.radius
        part = part / part.norm(dim=1, keepdim=True).clamp_min(1.0)
        rest = _rest(part)
        return self._join(part, learned, torch.cat([rest, torch.zeros_like(rest)], dim=1))

    def join_text(self, classes: Tensor, learned: Tensor) -> Tensor:
        """Put both parts of a sentence into one vector: (prompts, embed_dim), unit norm."""
        rest = _rest(classes)
        return self._join(classes, learned, torch.cat([torch.zeros_like(rest), rest], dim=1))

    def _join(self, classes: Tensor, learned: Tensor, rest: Tensor) -> Tensor:
        share = self.config.learned_share
        joined = torch.cat([classes, rest], dim=1) * (1 - share) ** 0.5
        return F.normalize(torch.cat([joined, learned * share**0.5], dim=1), dim=-1)

    @property
    def sentence_encoder(self) -> nn.Module:
        """MiniLM, loaded at the first prompt, or what stands in for it."""
        if not self._sentence_encoder:  # kept out of the module tree: its weights are not part of our release
            self._sentence_encoder.append(MiniLM().to(self.mel_filters.device))
        return self._sentence_encoder[0]

    def prompt_tokens(self, prompt: str) -> Sequence[int]:
        """See `CLAPBackend.prompt_tokens`: of the prompt's plain form, as that is what is read."""
        encoder, plain = self.sentence_encoder, plain_prompt(prompt)
        return encoder.tokens(plain) if isinstance(encoder, MiniLM) else super().prompt_tokens(plain)

    def sentence_features(self, prompts: Sequence[str]) -> Tensor:
        """See `CLAPBackend.sentence_features`: MiniLM embeddings of plain forms, (prompts, 384), unit norm."""
        features: Tensor = self.sentence_encoder([plain_prompt(prompt) for prompt in prompts])
        return features.to(self.mel_filters.device)

    def embed_sentences(self, prompts: Sequence[str]) -> Tensor:
        """See `CLAPBackend.embed_sentences`."""
        with torch.no_grad():
            return self.project_text(self.sentence_features(prompts))

    def project_text(self, features: Tensor) -> Tensor:
        """Map sentence embeddings (prompts, 384) to the joint space: (prompts, embed_dim), unit norm."""
        return self.join_text(self.class_text(features), F.normalize(self.text_projection(features), dim=-1))


def _rest(part: Tensor) -> Tensor:
    """What is missing from vectors (batch, width) to unit norm: (batch, 1) >= 0, with a finite gradient."""
    return (1 - part.square().sum(dim=1, keepdim=True)).clamp_min(1e-8).sqrt()
