"""LMAC-ZS (Paissan et al. 2024): a decoder, trained once for a CLAP, masks the spectrogram for any prompt."""

import weakref
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.base import Explainer
from lmaczs.explainers.lmac_zs.decoder import AREAS, DecoderConfig, LMACZSDecoder, cut_at_area
from lmaczs.explainers.lmac_zs.loss import SpectrogramView, decode_pairs, view_spectrogram
from lmaczs.hub import load_release, rebuild, refuse_other_backend, trained_for, value_of
from lmaczs.signal.spectral import mel_to_bins
from lmaczs.types import AudioState, MaskDomain, TextState

AREA_PRICE = 0.05  # worth that a larger mask must add per unit of area; larger prefers smaller masks
SMALLEST = 0.003  # share of cells that is kept where the prompt names nothing in the sound
PRESENCE = 0.45  # worth that the best mask must have before anything is kept at all
PRESENCE_WIDTH = 0.08  # of the passage around it
# Softness of the mask's edge when it is heard, by domain; softer than in training, where it must be sharp.
EDGES: dict[MaskDomain, float] = {"stft": 0.35, "mel": 0.5}
SHARP_EDGE = 0.1  # where nothing is kept: the foot of a soft edge would be most of such a mask


class LMACZS(Explainer):
    """Ranks the cells of the spectrogram for a prompt, and keeps as many as are worth it.

    A decoder trained with the paper's objective gives its sigmoid output as the mask.
    """

    name = "lmac-zs"
    label = "LMAC-ZS"

    def __init__(self, backend: CLAPBackend, decoder: LMACZSDecoder, objective: str = "contrast") -> None:
        """Wrap a trained decoder.

        Args:
            backend: the CLAP that it was trained for.
            decoder: in eval mode, on the backend's device.
            objective: that it was trained with, "contrast" or "paper".
        """
        super().__init__(backend, domain=decoder.config.domain)  # type: ignore[arg-type]
        self.decoder = decoder
        self.objective = objective
        self._last_view: tuple = (None, None)

    @classmethod
    def from_release(
        cls, backend: CLAPBackend, domain: MaskDomain = "stft", release: str | Path | None = None
    ) -> "LMACZS":
        """Load the decoder that was trained for this backend.

        Args:
            backend: the CLAP.
            domain: of the masks.
            release: folder, embedded name or hub id; None takes the embedded `lmac-zs-<backend>-<domain>`.

        Raises:
            CheckpointError: there is no such decoder, or it belongs to another backend.
        """
        found = load_release(release or f"lmac-zs-{backend.name}-{domain}", kind="lmac-zs")
        refuse_other_backend(found.config, backend, "LMAC-ZS decoder", "train_lmac_zs.py")
        shape: DecoderConfig = value_of(found, "decoder", DecoderConfig)
        spread = _spread(backend, shape)
        decoder = _placed(rebuild(lambda: LMACZSDecoder(shape, spread), found, "decoder"), backend)
        return cls(backend, decoder, value_of(found, "objective", Literal["contrast", "paper"]))

    def _view(self, audio: AudioState) -> SpectrogramView:
        """What the decoder sees of the windows; kept for the next prompt about the same ones."""
        windows, view = self._last_view
        if windows is None or windows() is not audio:
            view = view_spectrogram(audio, self.domain)
            self._last_view = (weakref.ref(audio), view)
        return view

    @torch.no_grad()
    def masks(self, audio: AudioState, text: TextState) -> Tensor:
        """See `Explainer.masks`."""
        prompts = text.embedding.to(audio.waveform.device)
        output = decode_pairs(self.decoder, audio, self._view(audio), slice(None), prompts)
        if self.objective == "paper":
            mask = torch.sigmoid(output.logits)
        else:
            mask = worthwhile_mask(output.logits, output.values, EDGES[self.domain])
        return mask / mask.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)


def worthwhile_mask(logits: Tensor, values: Tensor, edge: float, needed: float = PRESENCE) -> Tensor:
    """Keep the cells that come first, as many as are worth it.

    Where no mask is worth anything, the prompt names nothing that the CLAP hears in the window, and next to nothing
    is kept.

    Args:
        logits: (pairs, freq, frames); a higher cell speaks more for the prompt.
        values: (pairs, len(AREAS)); the worth of keeping that share of the cells.
        edge: softness of the edge, in standard deviations of the logits.
        needed: worth that the best mask must have before anything is kept at all.

    Returns:
        (pairs, freq, frames) in (0, 1).
    """
    presence = torch.sigmoid((values.amax(dim=1) - needed) / PRESENCE_WIDTH)
    area = (presence * choose_area(values)).clamp_min(SMALLEST)
    return cut_at_area(logits, area, SHARP_EDGE + presence * (edge - SHARP_EDGE))


def choose_area(values: Tensor) -> Tensor:
    """The share of cells whose worth, less its price, is largest; refined between neighbours.

    Args:
        values: (pairs, len(AREAS)).

    Returns:
        (pairs,) in [AREAS[0], AREAS[-1]]: a soft choice, so that close calls do not jump.
    """
    areas = torch.tensor(AREAS, device=values.device)
    share = torch.softmax((values - AREA_PRICE * areas) / 0.03, dim=1)
    return share @ areas


def build_decoder(backend: CLAPBackend, config: DecoderConfig) -> LMACZSDecoder:
    """A decoder with fresh weights on the backend's device."""
    return _placed(LMACZSDecoder(config, _spread(backend, config)), backend)


def _spread(backend: CLAPBackend, config: DecoderConfig) -> Tensor | None:
    return mel_to_bins(backend.mel_filters) if config.domain == "stft" else None


def _placed(decoder: LMACZSDecoder, backend: CLAPBackend) -> LMACZSDecoder:
    """On the backend's device, in the order that the encoder's maps come in."""
    # torch's stubs do not know the argument.
    placed: LMACZSDecoder = decoder.to(backend.mel_filters.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def decoder_config(backend: CLAPBackend, domain: MaskDomain) -> DecoderConfig:
    """The shape that fits a backend."""
    spectral = backend.spectral
    return DecoderConfig(
        hidden_channels=tuple(backend.hidden_channels),
        text_dim=backend.embed_dim,
        n_mels=spectral.n_mels,
        mask_bins=spectral.n_bins if domain == "stft" else spectral.n_mels,
        domain=domain,
    )


def release_config(backend: CLAPBackend, decoder: LMACZSDecoder, objective: str) -> dict:
    """What a release folder says of a decoder."""
    return {**trained_for(backend), "objective": objective, "decoder": asdict(decoder.config)}
