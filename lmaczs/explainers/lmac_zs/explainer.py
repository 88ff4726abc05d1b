"""LMAC-ZS (Paissan et al. 2024): a decoder, trained once for a CLAP, masks the spectrogram for any prompt."""

import weakref
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.target import Target
from lmaczs.errors import LMACError
from lmaczs.explainers.areas import EDGES, NEEDED_GAIN, mask_of_largest_gain
from lmaczs.explainers.base import WindowMaps, WindowMethod
from lmaczs.explainers.lmac_zs.decoder import DecoderConfig
from lmaczs.explainers.lmac_zs.entry import ENTRY
from lmaczs.explainers.lmac_zs.guided import GuidedLMACZS
from lmaczs.explainers.lmac_zs.loss import SpectrogramView, decode_pairs, view_spectrogram
from lmaczs.explainers.lmac_zs.score_decoder import Decoder, new_decoder
from lmaczs.hub import load_release, rebuild, refuse_other_backend, trained_for, value_of
from lmaczs.release_names import decoder_release
from lmaczs.signal.spectral import mel_to_bins
from lmaczs.types import AudioState, MaskDomain, Progress, no_progress

# Amplitude that a mask of the paper's objectives must leave of some cell (-26 dB): below, it is shut off.
FAINTEST = 0.05


@dataclass(frozen=True, eq=False)
class LMACZS(WindowMethod):
    """Ranks the cells of the spectrogram for a prompt, and keeps as many as promise the largest gain.

    A decoder trained with the paper's objective, or with that of L-MAC over fixed labels, gives its sigmoid output as the
    mask.

    Attributes:
        decoder: trained for the backend, in eval mode, on its device, of the same domain.
        objective: that it was trained with, "contrast", "paper" or "labels".
        needed_gain: that the best mask must promise, else nothing in the window speaks for the prompt.
    """

    entry = ENTRY
    reads_maps = True
    decoder: Decoder = field(kw_only=True, repr=False)
    objective: str = field(default="contrast", kw_only=True)
    needed_gain: float = field(default=NEEDED_GAIN, kw_only=True)
    _last_view: list[Any] = field(default_factory=lambda: [None, None], init=False, repr=False)

    @classmethod
    def wrap(
        cls,
        backend: CLAPBackend,
        decoder: Decoder,
        objective: str = "contrast",
        needed_gain: float = NEEDED_GAIN,
    ) -> Self:
        """The method with this decoder, in the decoder's own domain."""
        domain: MaskDomain = "mel" if decoder.config.domain == "mel" else "stft"
        return cls(backend, domain, decoder=decoder, objective=objective, needed_gain=needed_gain)

    @classmethod
    def load(  # type: ignore[override]
        cls, backend: CLAPBackend, domain: MaskDomain = "stft", release: str | Path | None = None
    ) -> "LMACZS | GuidedLMACZS":
        """Load the decoder that was trained for this backend.

        Args:
            backend: the classifier.
            domain: of the masks.
            release: folder, embedded name or hub id; None takes the embedded one, see
                `lmaczs.release_names.decoder_release`.

        Raises:
            BackendUnavailableError: there is no such decoder.
            CheckpointError: it is damaged, or belongs to another classifier.
            LMACError: its masks lie in another domain.
        """
        found = load_release(release or decoder_release(backend.name, domain), kind="lmac-zs")
        refuse_other_backend(found.config, backend, "LMAC-ZS decoder", "train_lmac_zs.py")
        if "guided" in found.config:
            return GuidedLMACZS.read(backend, domain, found)
        shape: DecoderConfig = value_of(found, "decoder", DecoderConfig)
        if shape.domain != domain:
            raise LMACError(
                f"This LMAC-ZS decoder makes masks in the domain '{shape.domain}', and '{domain}' was asked for: choose "
                f"'{shape.domain}', or another decoder."
            )
        spread = _spread(backend, shape)
        decoder = _placed(rebuild(lambda: new_decoder(shape, spread), found, "decoder"), backend)
        objective = value_of(found, "objective", Literal["contrast", "paper", "labels"])
        # Releases from before it was calibrated do not say.
        needed = value_of(found, "needed_gain", float) if "needed_gain" in found.config else NEEDED_GAIN
        return cls.wrap(backend, decoder, objective, needed)

    def passes(self) -> float:
        """See `Method.passes`: the decoder is about as large as the encoder."""
        return 1.0

    def _view(self, audio: AudioState) -> SpectrogramView:
        """What the decoder sees of the windows; kept for the next prompt about the same ones."""
        view: SpectrogramView
        windows, view = self._last_view
        if windows is None or windows() is not audio:
            view = view_spectrogram(audio, self.domain)
            self._last_view[:] = [weakref.ref(audio), view]
        return view

    @torch.no_grad()
    def rank_windows(self, audio: AudioState, target: Target) -> tuple[Tensor, Tensor]:
        """The decoder's output: logits (windows, freq, frames), and expected gains (windows, len(AREAS))."""
        prompts = target.embedding.to(audio.waveform.device).expand(len(audio.embedding), -1)
        output = decode_pairs(self.decoder, audio, self._view(audio), slice(None), prompts)
        return output.logits, output.values

    @torch.no_grad()
    def map_windows(self, audio: AudioState, target: Target, progress: Progress = no_progress) -> WindowMaps:
        """See `WindowMethod.map_windows`."""
        logits, gains = self.rank_windows(audio, target)
        if self.objective != "contrast":
            mask = torch.sigmoid(logits)
            evidence = mask.amax(dim=(1, 2)) >= FAINTEST
            mask = mask * evidence[:, None, None]
        else:
            mask, evidence = mask_of_largest_gain(logits, gains, EDGES[self.domain], self.needed_gain)
        progress(1.0, f"explaining with {self.label}")
        return WindowMaps(mask, evidence)


def build_decoder(backend: CLAPBackend, config: DecoderConfig) -> Decoder:
    """A decoder with fresh weights on the backend's device."""
    return _placed(new_decoder(config, _spread(backend, config)), backend)


def _spread(backend: CLAPBackend, config: DecoderConfig) -> Tensor | None:
    return mel_to_bins(backend.mel_filters) if config.domain == "stft" else None


def _placed(decoder: Decoder, backend: CLAPBackend) -> Decoder:
    """On the backend's device, in the order that the encoder's maps come in."""
    decoder = decoder.to(backend.mel_filters.device)
    # torch's stubs do not know the argument.
    return decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def decoder_config(backend: CLAPBackend, domain: MaskDomain, prompt: str = "values") -> DecoderConfig:
    """The shape that fits a backend; `prompt` as in `DecoderConfig`.

    Raises:
        LMACError: the backend has no hidden maps.
    """
    spectral = backend.spectral
    if not backend.hidden_channels:
        raise LMACError(
            f"No layer of '{backend.name}' has a map over time that a decoder could read: name some with "
            "wrap_classifier(..., layers=...), or use lmac-any."
        )
    return DecoderConfig(
        hidden_channels=tuple(backend.hidden_channels),
        text_dim=backend.embed_dim,
        n_mels=spectral.n_mels,
        mask_bins=spectral.n_bins if domain == "stft" else spectral.n_mels,
        domain=domain,
        prompt=prompt,
    )


def release_config(
    backend: CLAPBackend, decoder: Decoder, objective: str, needed_gain: float = NEEDED_GAIN
) -> dict[str, Any]:
    """What a release folder says of a decoder."""
    stated = {"objective": objective, "needed_gain": needed_gain, "decoder": asdict(decoder.config)}
    return {**trained_for(backend), **stated}
