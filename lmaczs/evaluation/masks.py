"""What explanations are compared with, and the forms in which all of them are scored."""

import hashlib

import torch
from torch import Tensor

from lmaczs.metrics.shape import binarise_top
from lmaczs.signal.spectral import SpectralConfig, stft

CONTROLS = {
    "constant": "all cells the same: the full mask, once it is divided by its maximum; it has no top cells",
    "random": "uniform noise, another one for each clip",
    "energy": "the magnitude of the STFT: louder cells first, whatever the prompt",
}
FORMS = {"soft": None, "top10": 0.1, "top20": 0.2}  # share of cells that a binary form keeps


def control_mask(name: str, waveform: Tensor, grid: SpectralConfig, seed: str) -> Tensor:
    """A mask that knows nothing of the classifier.

    Args:
        name: key in `CONTROLS`.
        waveform: (samples,) of the clip.
        grid: of the mask.
        seed: any text; with it the random mask is the same in every run and whatever else is evaluated.

    Returns:
        (bins, frames) in [0, 1], largest cell 1 (0 for the energy of silence).
    """
    magnitude = stft(waveform.unsqueeze(0), grid)[0].abs()
    if name == "constant":
        return torch.ones_like(magnitude)
    if name == "energy":
        return magnitude / magnitude.max().clamp_min(torch.finfo(magnitude.dtype).tiny)
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big")
    noise = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(number))
    return noise / noise.max()


def in_form(mask: Tensor, form: str) -> Tensor:
    """A mask as it is, or its largest cells only.

    Args:
        mask: (freq, frames) in [0, 1].
        form: key in `FORMS`.

    Returns:
        (freq, frames) in [0, 1]. An empty mask stays empty: it names no cells that could be kept.
    """
    share = FORMS[form]
    if share is None or mask.max() <= 0:
        return mask
    return binarise_top(mask.unsqueeze(0), share)[0]
