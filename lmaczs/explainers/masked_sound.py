"""What a classifier hears of masked windows: the sound that a mask leaves, differentiable in the mask."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.signal.masking import heard_spectrum, mel_mask_to_stft
from lmaczs.signal.spectral import power_of
from lmaczs.types import AudioState


def encode_masked(backend: CLAPBackend, audio: AudioState, rows: Tensor, mask: Tensor, domain: str) -> Tensor:
    """Embeddings of what is heard of masked windows, (pairs, embed_dim).

    The gradient reaches the mask through the frozen encoder; a mel mask is heard by way of the STFT bins.
    """
    windows = replace(audio, hidden=())[rows]
    return _encode(backend, windows, power_of(_sounding(backend, windows, mask, domain)))


def encode_parts(
    backend: CLAPBackend, audio: AudioState, rows: Tensor, mask: Tensor, domain: str
) -> tuple[Tensor, Tensor]:
    """Embeddings of what masks keep of windows and of what they remove, as `encode_masked` of a mask and of 1 - mask.

    Args:
        backend: frozen.
        audio: windows.
        rows: (pairs,) int64, the window of each mask.
        mask: (pairs, freq, frames) in [0, 1].
        domain: of the masks.

    Returns:
        (pairs, embed_dim), (pairs, embed_dim).
    """
    kept, removed = encode_kept(backend, audio, rows, mask, domain)
    return kept, removed(slice(None))


def encode_kept(
    backend: CLAPBackend, audio: AudioState, rows: Tensor, mask: Tensor, domain: str
) -> tuple[Tensor, Callable[[Tensor | slice], Tensor]]:
    """`encode_parts` for a caller that does not need to hear everything that is removed.

    Args:
        backend: as in `encode_parts`, and so are the other arguments.

    Returns:
        (pairs, embed_dim) of what is kept; and a function from an index into the pairs to the embeddings of what these
        remove.
    """
    windows = replace(audio, hidden=())[rows]
    kept = _sounding(backend, windows, mask, domain)

    def removed(pairs: Tensor | slice) -> Tensor:
        some = windows[pairs]
        # Both STFT masks add up to 1, and so do their sounds: the second one is had without its way through the waveform.
        rest = (
            some.stft - kept[pairs] if domain == "stft" else _sounding(backend, some, 1 - mask[pairs], domain)
        )
        return _encode(backend, some, power_of(rest))

    return _encode(backend, windows, power_of(kept)), removed


def _sounding(backend: CLAPBackend, windows: AudioState, mask: Tensor, domain: str) -> Tensor:
    """STFT of the sound that each mask leaves of its window: (pairs, bins, frames)."""
    if domain == "mel":
        # At 0 the root of a power is infinitely steep, and the power that is heard is flat in that root. Their product is
        # an ordinary slope, which is found only a little above 0: at 0 itself nothing would ever be learnt.
        mask = mel_mask_to_stft(mask.clamp_min(1e-6), backend.mel_filters)
    return heard_spectrum(windows.stft, mask, backend.spectral, windows.waveform.shape[-1])


def _encode(backend: CLAPBackend, windows: AudioState, power: Tensor) -> Tensor:
    return backend.encode_changed(power, windows, "stft")[0].float()
