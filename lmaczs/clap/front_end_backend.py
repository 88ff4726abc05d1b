"""A model that has a front end of its own behind the contract of a CLAP: it gives logits, not cosines."""

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend, full_precision
from lmaczs.clap.labels.front_ends import FrontEnd, MelPower
from lmaczs.clap.labels.layers import MapLayer
from lmaczs.errors import LMACError
from lmaczs.signal.spectral import filter_centres_hz, mel_filterbank, power_of, stft
from lmaczs.types import AudioState, MaskDomain


class FrontEndBackend(CLAPBackend):
    """A frozen model behind a `FrontEnd`: masks lie on an STFT of the sound, whatever the model itself reads.

    The similarity of a sound and a prompt is the model's logit for both, and the logit scale is 1.

    Attributes:
        front_end: what the model hears.
        layers: layers with maps, shallow to deep, by name; may be none.
    """

    unit = "logit"

    def __init__(self, front_end: FrontEnd, embed_dim: int, name: str, source: str = "") -> None:
        """Set up the grid of the masks.

        Args:
            front_end: what the model hears.
            embed_dim: width of the embedding.
            name: in result files.
            source: what `load_backend` takes, if it came from there.
        """
        super().__init__()
        self.name, self.source, self.front_end = name, source, front_end
        self.spectral = front_end.spectral
        self.clip_samples = round(front_end.clip_seconds * self.spectral.sample_rate)
        self.embed_dim = embed_dim
        self.hidden_channels = ()
        # A plain dictionary: as modules of their own their weights would stand in the state twice.
        self.layers: dict[str, MapLayer] = {}
        own = front_end.mel_filters if isinstance(front_end, MelPower) else None
        filters = mel_filterbank(self.spectral) if own is None else own
        self.register_buffer("mel_filters", filters.float().contiguous(), persistent=False)

    @abstractmethod
    def embed_heard(self, heard: Tensor) -> Tensor:
        """Embed what the front end gives: (batch, ...) -> (batch, embed_dim) float32; differentiable."""

    def train(self, mode: bool = True) -> "FrontEndBackend":
        """Stay in evaluation mode: it is explained as it decides."""
        return super().train(False)

    @property
    def logit_scale(self) -> Tensor:
        """1: the similarity is the logit."""
        return self.mel_filters.new_ones(())

    @property
    def cam_layers(self) -> dict[str, nn.Module]:
        """Layers with maps; none where none was found or named."""
        return {name: layer.module for name, layer in self.layers.items()}

    def layer_map(self, layer: str, output: Tensor) -> Tensor:
        """See `CLAPBackend.layer_map`."""
        return self.layers[layer].to_map(output)

    @property
    def mel_frequencies_hz(self) -> Tensor:
        """See `CLAPBackend.mel_frequencies_hz`: of the filters as they are."""
        return filter_centres_hz(self.mel_filters.cpu(), self.spectral)

    def analyze(self, waveform: Tensor, valid_samples: Tensor | None = None) -> AudioState:
        """See `CLAPBackend.analyze`."""
        audio = self.spectra(waveform, valid_samples)
        embedding = audio.embedding
        # Recordings of different lengths may share a batch, and a waveform is heard as long as it is.
        for length in audio.valid_samples.unique():
            rows = torch.nonzero(audio.valid_samples == length)[:, 0]
            found = self.embed_heard(self.front_end.original(audio[rows]))
            embedding = embedding.index_copy(0, rows, found)
        return replace(audio, embedding=embedding)

    def spectra(self, waveform: Tensor, valid_samples: Tensor | None = None) -> AudioState:
        """What `analyze` gives, without a run of the model: the embedding is 0."""
        with full_precision(waveform):
            spectrum = stft(waveform, self.spectral)
            mel = self.mel_power(power_of(spectrum))
        if valid_samples is None:
            valid_samples = torch.full((len(waveform),), waveform.shape[-1], device=waveform.device)
        embedding = waveform.new_zeros(len(waveform), self.embed_dim)
        return AudioState(waveform, spectrum, mel, (), embedding, valid_samples)

    def encode(self, mel_power: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `CLAPBackend.encode`; only a model that takes mel power can do it.

        Raises:
            LMACError: the model takes something else, and mel power alone does not tell what.
        """
        if not isinstance(self.front_end, MelPower):
            raise LMACError(
                f"The classifier '{self.name}' does not take mel power: give the windows too, with encode_changed."
            )
        return self.embed_heard(self.front_end.transform(mel_power)), ()

    def encode_changed(
        self, power: Tensor, audio: AudioState, domain: MaskDomain
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `CLAPBackend.encode_changed`."""
        with full_precision(power):
            heard = self.front_end.changed(power, audio, domain, self.mel_filters)
        return self.embed_heard(heard), ()

    def pool(self, embeddings: Tensor, votes: Tensor) -> Tensor:
        """Mean logits of the windows, by their votes; see `CLAPBackend.pool`."""
        return votes @ embeddings
