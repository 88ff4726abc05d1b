"""A model that has a front end of its own behind the contract of a CLAP: it gives logits, not cosines."""

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend, full_precision
from lmaczs.clap.hooks import outputs_of
from lmaczs.clap.labels.front_ends import FrontEnd, MelPower, Waveform
from lmaczs.clap.labels.layers import MapLayer
from lmaczs.errors import LMACError
from lmaczs.signal.spectral import filter_centres_hz, mel_filterbank
from lmaczs.types import AudioState, MaskDomain

# That decoders and interpreters read.
MAPS = 4


class FrontEndBackend(CLAPBackend):
    """A frozen model behind a `FrontEnd`: masks lie on an STFT of the sound, whatever the model itself reads.

    The similarity of a sound and a prompt is the model's logit for both, and the logit scale is 1. Its hidden maps are
    what its `layers` put out; where there are fewer than four, the shallowest stands for those that are missing.

    Attributes:
        front_end: what the model hears.
        layers: layers with maps, shallow to deep, by name; may be none, and then there are no hidden maps.
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
        self._channels: tuple[int, ...] | None = None
        # A plain dictionary: as modules of their own their weights would stand in the state twice.
        self.layers: dict[str, MapLayer] = {}
        own = front_end.mel_filters if isinstance(front_end, MelPower) else None
        filters = mel_filterbank(self.spectral) if own is None else own
        self.register_buffer("mel_filters", filters.float().contiguous(), persistent=False)

    @abstractmethod
    def embed_heard(self, heard: Tensor) -> Tensor:
        """Embed what the front end gives: (batch, ...) -> (batch, embed_dim) float32; differentiable."""

    @property
    def hidden_channels(self) -> tuple[int, ...]:
        """Channels of the hidden maps; found when they are asked for first, by a run on silence."""
        if self._channels is None:
            with torch.inference_mode(False), torch.no_grad():
                silence = self.spectra(torch.zeros(1, self.clip_samples, device=self.mel_filters.device))
                _, hidden = self._run(self.front_end.original(silence), self.clip_samples)
            self._channels = tuple(level.shape[1] for level in hidden)
        return self._channels

    @hidden_channels.setter
    def hidden_channels(self, channels: tuple[int, ...]) -> None:
        self._channels = channels

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

    def window_samples(self, num_samples: int) -> int:
        """See `CLAPBackend.window_samples`: a model that takes waveforms hears a short recording as long as it is."""
        if not isinstance(self.front_end, Waveform):
            return self.clip_samples
        # An STFT needs a little more than half of its window, and the model some samples, too.
        return min(max(num_samples, self.front_end.least_samples, self.spectral.n_fft), self.clip_samples)

    def layer_map(self, layer: str, output: Tensor, samples: int) -> Tensor:
        """See `CLAPBackend.layer_map`: without what a model that pads what it hears makes of the padding."""
        found = self.layers[layer]
        level, share = found.to_map(output), samples / self.clip_samples
        padded = level.shape[2] == found.cells and share < 1
        return level[:, :, : max(round(found.cells * share), 1)] if padded else level

    @property
    def mel_frequencies_hz(self) -> Tensor:
        """See `CLAPBackend.mel_frequencies_hz`: of the filters as they are."""
        return filter_centres_hz(self.mel_filters.cpu(), self.spectral)

    def analyze(self, waveform: Tensor, valid_samples: Tensor | None = None) -> AudioState:
        """See `CLAPBackend.analyze`."""
        audio = self.spectra(waveform, valid_samples)
        embedding, hidden = self._run(self.front_end.original(audio), waveform.shape[-1])
        return replace(audio, embedding=embedding, hidden=hidden)

    def _run(self, heard: Tensor, samples: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Embedding and hidden maps of what the front end gave for windows of so many samples."""
        layers = self.cam_layers
        with outputs_of(list(layers.values())) as outputs:
            embedding = self.embed_heard(heard)
        maps = [self.layer_map(*pair, samples).float() for pair in zip(layers, outputs, strict=True)]
        missing = MAPS - len(maps) if maps else 0
        return embedding, (*maps[:1] * missing, *maps)

    def encode(self, mel_power: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `CLAPBackend.encode`; only a model that takes mel power can do it.

        Raises:
            LMACError: the model takes something else, and mel power alone does not tell what.
        """
        if not isinstance(self.front_end, MelPower):
            raise LMACError(
                f"The classifier '{self.name}' does not take mel power: give the windows too, with encode_changed."
            )
        return self._run(self.front_end.transform(mel_power), self.clip_samples)

    def encode_changed(
        self, power: Tensor, audio: AudioState, domain: MaskDomain
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `CLAPBackend.encode_changed`."""
        with full_precision(power):
            heard = self.front_end.changed(power, audio, domain, self.mel_filters)
        return self._run(heard, audio.waveform.shape[-1])

    def pool(self, embeddings: Tensor, votes: Tensor) -> Tensor:
        """Mean logits of the windows, by their votes; see `CLAPBackend.pool`."""
        return votes @ embeddings
