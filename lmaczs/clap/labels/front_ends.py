"""What a classifier of one's own hears: mel power, STFT power or the waveform.

A front end turns a masked window into the module's input, differentiably. Masks always lie on an STFT of the sound (or on
mel bands of it); where the module takes a waveform they go through the waveform.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lmaczs.errors import LMACError
from lmaczs.signal.masking import amplitude_of, spread_over_bins
from lmaczs.signal.spectral import SpectralConfig, istft, power_of
from lmaczs.types import AudioState, MaskDomain

Transform = Callable[[Tensor], Tensor]
# Of the grid that masks of waveform classifiers lie on.
WINDOW_S, HOP_S, BANDS = 0.064, 0.02, 64


def as_it_is(values: Tensor) -> Tensor:
    """No change."""
    return values


def waveform_grid(sample_rate: int) -> SpectralConfig:
    """The grid of masks for a classifier that has none of its own: about 64 ms windows, 20 ms hops, 64 mel bands."""
    n_fft = 2 ** round(torch.tensor(WINDOW_S * sample_rate).log2().item())
    hop, top = max(round(HOP_S * sample_rate), 1), sample_rate / 2
    return SpectralConfig(sample_rate, n_fft, hop, BANDS, min(50.0, top / 10), top)


@dataclass(frozen=True)
class FrontEnd(ABC):
    """From windows to the input of a module.

    Attributes:
        spectral: grid of the masks.
        clip_seconds: length of a window; longer recordings are cut into several.
        transform: applied to the power or waveform before the module gets it, e.g. the module's own logarithm;
            differentiable.
    """

    spectral: SpectralConfig
    clip_seconds: float
    transform: Transform = field(default=as_it_is)

    def __post_init__(self) -> None:
        """Check the grid.

        Raises:
            LMACError: it is none, as where a rate stands in its place.
        """
        if not isinstance(self.spectral, SpectralConfig):
            name, found = type(self).__name__, str(self.spectral)[:40]
            known = (
                "Waveform.at(16000)" if name == "Waveform" else f"{name}(SpectralConfig(...), clip_seconds)"
            )
            raise LMACError(
                f"{name} takes the grid of the spectrogram first, and '{found}' is none: give {known}."
            )

    @abstractmethod
    def original(self, audio: AudioState) -> Tensor:
        """The module's input for windows as they are."""

    @abstractmethod
    def changed(self, power: Tensor, audio: AudioState, domain: MaskDomain, mel_filters: Tensor) -> Tensor:
        """The module's input for windows whose power was changed; arguments as `CLAPBackend.encode_changed`."""


@dataclass(frozen=True)
class MelPower(FrontEnd):
    """The module takes mel power, (batch, n_mels, frames) >= 0, linear.

    Attributes:
        mel_filters: (n_mels, n_fft // 2 + 1) of the module's own; None: Slaney's, as librosa makes them.
    """

    mel_filters: Tensor | None = None

    def original(self, audio: AudioState) -> Tensor:
        """See `FrontEnd.original`."""
        return self.transform(audio.mel_power)

    def changed(self, power: Tensor, audio: AudioState, domain: MaskDomain, mel_filters: Tensor) -> Tensor:
        """See `FrontEnd.changed`."""
        return self.transform(mel_filters @ power if domain == "stft" else power)


@dataclass(frozen=True)
class StftPower(FrontEnd):
    """The module takes STFT power, (batch, n_fft // 2 + 1, frames) >= 0, linear."""

    def original(self, audio: AudioState) -> Tensor:
        """See `FrontEnd.original`."""
        return self.transform(power_of(audio.stft))

    def changed(self, power: Tensor, audio: AudioState, domain: MaskDomain, mel_filters: Tensor) -> Tensor:
        """See `FrontEnd.changed`."""
        if domain == "mel":
            power = power_of(audio.stft) * gain_on_power(power, audio, domain, mel_filters)
        return self.transform(power)


@dataclass(frozen=True)
class Waveform(FrontEnd):
    """The module takes the waveform, (batch, samples), full scale ±1. A short recording has a short window.

    Attributes:
        least_samples: that the module can read; a recording that is shorter, or shorter than a window of the STFT, is
            repeated up to there.
    """

    least_samples: int = 1600

    @classmethod
    def at(cls, sample_rate: int, clip_seconds: float = 10.0, transform: Transform = as_it_is) -> "Waveform":
        """A front end with the usual grid of masks.

        Args:
            sample_rate: that the module was trained with, Hz.
            clip_seconds: see `FrontEnd`.
            transform: see `FrontEnd`.
        """
        return cls(waveform_grid(sample_rate), clip_seconds, transform)

    def original(self, audio: AudioState) -> Tensor:
        """See `FrontEnd.original`."""
        return self.transform(audio.waveform)

    def changed(self, power: Tensor, audio: AudioState, domain: MaskDomain, mel_filters: Tensor) -> Tensor:
        """See `FrontEnd.changed`."""
        gain = amplitude_of(gain_on_power(power, audio, domain, mel_filters))
        samples = audio.waveform.shape[-1]
        return self.transform(istft(audio.stft * gain, self.spectral, samples))


def gain_on_power(power: Tensor, audio: AudioState, domain: MaskDomain, mel_filters: Tensor) -> Tensor:
    """Factor on the power of each STFT bin that makes windows have the given power: (batch, bins, frames) >= 0."""
    before = power_of(audio.stft) if domain == "stft" else audio.mel_power
    factor = power / before.clamp_min(torch.finfo(before.dtype).tiny)
    return factor if domain == "stft" else spread_over_bins(factor, mel_filters)
