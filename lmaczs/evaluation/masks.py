"""What explanations are compared with: masks that know nothing of the classifier, or everything of the sounds."""

import hashlib
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import Recording
from lmaczs.clap.target import Target
from lmaczs.explainers.base import Method, MethodEntry
from lmaczs.signal.spectral import stft
from lmaczs.types import Explanation, MaskDomain, Progress, no_progress

IDEAL = "ideal ratio mask"
CONTROLS = {
    "full": "every cell 1: the recording itself is kept, and nothing is removed",
    "constant": "every cell one half: the recording 6 dB quieter is kept, and the same is removed; it shows what a "
    "faint mask earns",
    "random": "uniform noise, another one for each clip",
    "energy": "the magnitude of each cell: louder cells first, whatever the prompt",
    IDEAL: "share of the clip (in mixtures: of the sound prompted for) in each cell's power, from the separate "
    "sounds; about the best separation that a mask can do, and an explanation only of decisions about that sound",
}
# Share of cells that a form of equal area keeps; None: the mask as it comes from the method.
FORMS = {"soft": None, "top10": 0.1, "top20": 0.2}
# Without an order of cells, or not in competition with any method.
SOFT_ONLY = ("full", "constant", IDEAL)


@dataclass(frozen=True, eq=False)
class Control(Method):
    """A mask that no method made, in the place of a method.

    Attributes:
        control: key in `CONTROLS`.
        seed: any text; with it the random mask is the same in every run and whatever else is evaluated.
        parts: the first sound and the rest, (samples,) each, that make up the recording; for the ideal ratio mask.
    """

    entry: ClassVar[MethodEntry] = MethodEntry(
        "control", "Controls", "", "Knows neither the model nor the prompt."
    )
    control: str = "random"
    seed: str = "0"
    parts: tuple[Tensor, Tensor] | None = None

    @property
    def name(self) -> str:
        """Key in `CONTROLS`."""
        return self.control

    def passes(self) -> float:
        """See `Method.passes`: the encoder is not asked."""
        return 0.0

    def of_clip(self, name: str, parts: tuple[Tensor, Tensor] | None) -> "Control":
        """The same control for one clip, with a random mask of its own.

        Args:
            name: of the clip.
            parts: see the class.
        """
        return replace(self, seed=f"{self.seed} {name}", parts=parts)

    @torch.no_grad()
    def explain(self, recording: Recording, target: Target, progress: Progress = no_progress) -> Explanation:
        """See `Method.explain`; the prompt makes no difference."""
        waveform = recording.clip.waveform
        mask = control_mask(self.control, waveform, self.backend, self.domain, self.seed, self.parts)
        return Explanation(self.name, target.prompt, mask, self.domain)


def control_mask(
    name: str,
    waveform: Tensor,
    backend: CLAPBackend,
    domain: MaskDomain,
    seed: str,
    parts: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """A mask that no method made.

    Args:
        name: key in `CONTROLS`.
        waveform: (samples,) of the clip, on the CPU.
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


def _power(waveform: Tensor, backend: CLAPBackend, domain: MaskDomain) -> Tensor:
    power = stft(waveform.unsqueeze(0), backend.spectral).abs().square()
    return (power if domain == "stft" else backend.mel_filters.to(power) @ power)[0]
