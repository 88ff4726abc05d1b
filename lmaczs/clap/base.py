"""The contract of every classifier: front end and encoder are two differentiable calls, and a mask fits between them.

It is written for CLAPs. A classifier with labels of its own (`lmaczs.clap.labels`) fits in with its logits as the
embedding, unit vectors as those of its labels, and a logit scale of 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.prompts import checked_prompts
from lmaczs.signal.spectral import SpectralConfig, mel_frequencies_hz, power_of, stft
from lmaczs.types import AudioState, MaskDomain, TextState

# Whose embeddings and tokens a model keeps.
PROMPTS_KEPT = 4096


def full_precision(like: Tensor) -> torch.autocast:
    """Switch autocast off for the front end: decibels of a half-precision power lose what is quiet.

    Args:
        like: tensor on the device that is meant.
    """
    return torch.autocast(like.device.type, enabled=False)


class CLAPBackend(nn.Module, ABC):
    """A frozen CLAP model, opened up so that a mask can be put before its audio encoder.

    Attributes:
        name: key in `lmaczs.clap.BACKENDS`, e.g. "compact".
        spectral: grid of the front end.
        clip_samples: audio length that the encoder sees, in samples.
        embed_dim: width of the joint space; embeddings have unit norm where similarities are cosines.
        hidden_channels: channels of the four hidden maps, shallow to deep.
        mel_filters: (n_mels, n_fft // 2 + 1) buffer; the model's own filterbank.
        max_tokens: of one prompt, as `prompt_tokens` counts them.
        unit: what the similarity of a sound and a prompt is: "similarity" (a cosine) or "logit".
        match_limits: cosine similarity from which a prompt matches weakly, and strongly; None: not calibrated.
        source: what `load_backend` takes to load it again, where that is not its name.
        frame_s: of one embedding of `frame_embeddings`, s; None: the model embeds whole windows only.
        labels: that it was trained for, if it takes no other prompts; None: it takes any.
        multi_label: whether each prompt is decided on its own, by a sigmoid; only with labels.
    """

    name: str
    spectral: SpectralConfig
    clip_samples: int
    embed_dim: int
    hidden_channels: tuple[int, ...]
    mel_filters: Tensor
    max_tokens: int = 2000
    unit: str = "similarity"
    frame_s: float | None = None
    match_limits: tuple[float, float] | None = None
    source: str = ""
    labels: tuple[str, ...] | None = None
    multi_label: bool = False

    def __init__(self) -> None:
        super().__init__()
        self._text_cache: dict[str, Tensor] = {}
        self._token_cache: dict[str, Sequence[int]] = {}

    @property
    @abstractmethod
    def logit_scale(self) -> Tensor:
        """() float32, multiplies cosine similarities before the softmax (1 / temperature)."""

    @property
    @abstractmethod
    def cam_layers(self) -> dict[str, nn.Module]:
        """Modules whose output GradCAM can use, by name; the last one is the default."""

    def mel_power(self, power: Tensor) -> Tensor:
        """Map STFT power to mel power.

        Args:
            power: (batch, n_fft // 2 + 1, frames) >= 0.

        Returns:
            (batch, n_mels, frames) >= 0.
        """
        with full_precision(power):
            return self.mel_filters @ power

    @property
    def mel_frequencies_hz(self) -> Tensor:
        """Centre of each mel band: (n_mels,) Hz."""
        return mel_frequencies_hz(self.spectral)

    def analyze(self, waveform: Tensor, valid_samples: Tensor | None = None) -> AudioState:
        """Run front end and encoder once.

        Args:
            waveform: (batch, samples) at `spectral.sample_rate`, as long as `window_samples` says.
            valid_samples: (batch,) int64; None means that every sample belongs to the recording.

        Returns:
            AudioState whose tensors keep the autograd graph of `waveform`.
        """
        audio = self.spectra(waveform, valid_samples)
        embedding, hidden = self.encode(audio.mel_power)
        return replace(audio, embedding=embedding, hidden=hidden)

    def spectra(self, waveform: Tensor, valid_samples: Tensor | None = None) -> AudioState:
        """What `analyze` gives, without a run of the encoder: there are no hidden maps, and the embedding is 0."""
        with full_precision(waveform):
            spectrum = stft(waveform, self.spectral)
            mel = self.mel_power(power_of(spectrum))
        if valid_samples is None:
            valid_samples = torch.full((len(waveform),), waveform.shape[-1], device=waveform.device)
        embedding = waveform.new_zeros(len(waveform), self.embed_dim)
        return AudioState(waveform, spectrum, mel, (), embedding, valid_samples)

    @abstractmethod
    def encode(self, mel_power: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Embed a (possibly masked) mel spectrogram.

        Args:
            mel_power: (batch, n_mels, frames) float32 >= 0, linear power; the log is taken inside.

        Returns:
            embedding: (batch, embed_dim), unit norm.
            hidden: four maps, shallow to deep, each (batch, channels, time, freq).
        """

    def encode_changed(
        self, power: Tensor, audio: AudioState, domain: MaskDomain
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Embed windows whose power was changed, by a mask or by noise; differentiable in the power.

        Args:
            power: (batch, freq, frames) float32 >= 0, linear; freq as `domain` says.
            audio: the windows as they were, (batch) or one for all; a classifier that hears waveforms takes the phases
                from them.
            domain: whether freq is STFT bins or mel bands.

        Returns:
            As `encode`.
        """
        return self.encode(self.mel_power(power) if domain == "stft" else power)

    def frame_embeddings(self, audio: AudioState) -> Tensor | None:
        """Embeddings over time, of a model that has them; the encoder runs once more.

        Args:
            audio: windows of the same number of valid samples.

        Returns:
            (batch, frames, embed_dim), a frame every `frame_s`; None where the model embeds whole windows only.
        """
        return None

    def pool(self, embeddings: Tensor, votes: Tensor) -> Tensor:
        """One embedding for a recording: the mean of those of its windows, by their votes.

        Args:
            embeddings: (windows, embed_dim).
            votes: (windows,), sum 1.

        Returns:
            (embed_dim,), unit norm.
        """
        return F.normalize(votes @ embeddings, dim=0)

    def window_samples(self, num_samples: int) -> int:
        """Length of the windows of a recording that has so many samples: a shorter one is repeated up to there."""
        return self.clip_samples

    def layer_map(self, layer: str, output: Tensor, samples: int) -> Tensor:
        """What a layer puts out, as a map: (batch, channels, time, freq), its time the whole window.

        Args:
            layer: key in `cam_layers`.
            output: of that layer, or a gradient with respect to it.
            samples: of the windows that were heard.
        """
        return output

    @abstractmethod
    def embed_sentences(self, prompts: Sequence[str]) -> Tensor:
        """Embed sentences without a cache: (prompts, embed_dim), unit norm."""

    def prompt_tokens(self, prompt: str) -> Sequence[int]:
        """What the text encoder reads of a prompt, uncut and without marks of its own; here its code points."""
        return [ord(character) for character in prompt]

    def sentence_features(self, prompts: Sequence[str]) -> Tensor:
        """What a training script computes once for each sentence: (prompts, width); `project_text` does the rest."""
        return self.embed_sentences(prompts)

    def project_text(self, features: Tensor) -> Tensor:
        """Map sentence features (prompts, width) to the joint space: (prompts, embed_dim), unit norm."""
        return features

    def _tokens_once(self, prompt: str) -> Sequence[int]:
        """Tokens of a prompt; the same prompts are asked for with every explanation."""
        if prompt in self._token_cache:
            return self._token_cache[prompt]
        tokens = self.prompt_tokens(prompt)
        if len(tokens) <= self.max_tokens:
            if len(self._token_cache) > PROMPTS_KEPT:
                self._token_cache.clear()
            self._token_cache[prompt] = tokens
        return tokens

    def check_prompts(self, prompts: Sequence[str]) -> tuple[str, ...]:
        """Refuse at once what `encode_text` would refuse; only the tokenizer is asked.

        Returns:
            The prompts without space around them.

        Raises:
            PromptError: see `lmaczs.clap.prompts.checked_prompts`.
        """
        return checked_prompts(prompts, self._tokens_once, self.max_tokens)

    def encode_text(self, prompts: Sequence[str]) -> TextState:
        """Embed prompts; a sentence seen before comes from a cache.

        Args:
            prompts: full sentences ("this is the sound of rain"), not bare labels.

        Raises:
            PromptError: see `lmaczs.clap.prompts.checked_prompts`.
        """
        cleaned = self.check_prompts(prompts)
        missing = [prompt for prompt in dict.fromkeys(cleaned) if prompt not in self._text_cache]
        if missing:
            # Bounded: a public page sees any number of prompts.
            if len(self._text_cache) > PROMPTS_KEPT:
                self._text_cache.clear()
                missing = list(dict.fromkeys(cleaned))
            # One sentence per call: padding in a batch changes the last bits, and a cached prompt must equal a fresh one.
            for prompt in missing:
                self._text_cache[prompt] = self.embed_sentences([prompt])[0]
        # The model may have moved to another device since a prompt was cached.
        device = self.mel_filters.device
        return TextState(cleaned, torch.stack([self._text_cache[prompt].to(device) for prompt in cleaned]))
