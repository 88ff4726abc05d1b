"""What explanations are compared with: masks that know nothing of the classifier, or everything of the sounds."""

import hashlib

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.signal.masking import mel_mask_to_stft
from lmaczs.signal.spectral import stft
from lmaczs.types import MaskDomain

IDEAL = "ideal ratio mask"
CONTROLS = {
    "full": "every cell 1: the recording itself is kept, and nothing is removed",
    "constant": "every cell one half: the recording 6 dB quieter is kept, and the same is removed",
    "random": "uniform noise, another one for each clip",
    "energy": "the magnitude of each cell: louder cells first, whatever the prompt",
    IDEAL: "share of the clip (in mixtures: of the sound prompted for) in each cell's power, from the separate "
    "sounds; about the best separation that a mask can do, and an explanation only of decisions about that sound",
}
FORMS = {"soft": None, "top10": 0.1, "top20": 0.2}  # share of cells that a binary form keeps
SOFT_ONLY = ("full", "constant", IDEAL)  # without an order of cells, or not in competition with any method


def control_mask(
    name: str,
    waveform: Tensor,
    backend: CLAPBackend,
    domain: MaskDomain,
    seed: str,
    parts: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """A mask that no explainer made.

    Args:
        name: key in `CONTROLS`.
        waveform: (samples,) of the clip.
        backend: whose grid the mask lies on.
        domain: "stft" or "mel".
        seed: any text; with it the random mask is the same in every run and whatever else is evaluated.
        parts: the first sound and the rest, (samples,) each, that make up the waveform; for the ideal ratio
            mask.

    Returns:
        (freq, frames) in [0, 1]; the largest cell of "random" and "energy" is 1 (0 for the energy of silence).

    Raises:
        ValueError: the ideal ratio mask is asked for without the parts.
    """
    power = _power(waveform, backend, domain)
    if name == "full":
        return torch.ones_like(power)
    if name == "constant":
        return torch.full_like(power, 0.5)
    if name == "energy":
        # In the mel domain masks multiply power: there the power itself is what a magnitude is to amplitudes.
        level = power.sqrt() if domain == "stft" else power
        return level / level.max().clamp_min(torch.finfo(level.dtype).tiny)
    if name == "random":
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big")
        noise = torch.rand(power.shape, generator=torch.Generator().manual_seed(number)).to(power.device)
        return noise / noise.max()
    if parts is None:
        raise ValueError(f"'{name}' needs the separate sounds.")
    return ideal_ratio_mask(*(_power(part, backend, domain) for part in parts))


def ideal_ratio_mask(source_power: Tensor, other_power: Tensor) -> Tensor:
    """The share of a source's power in each cell.

    Args:
        source_power: (..., freq, frames) >= 0.
        other_power: same shape, of the rest of the mixture.

    Returns:
        Same shape, in [0, 1]; 0 where there is nothing.
    """
    return source_power / (source_power + other_power).clamp_min(torch.finfo(source_power.dtype).tiny)


def audible(mask: Tensor, domain: MaskDomain, backend: CLAPBackend) -> Tensor:
    """The amplitude mask over STFT bins that makes a mask heard: (..., freq, frames) -> (..., bins, frames)."""
    return mask if domain == "stft" else mel_mask_to_stft(mask, backend.mel_filters)


def _power(waveform: Tensor, backend: CLAPBackend, domain: MaskDomain) -> Tensor:
    power = stft(waveform.unsqueeze(0), backend.spectral).abs().square()
    return (power if domain == "stft" else backend.mel_power(power))[0]
