"""LMAC-ZS that cannot ignore its classifier: relevance maps give the order, prompt and deep maps guide it by attention,
and the classifier itself says how many cells it needs (`sizes`).

The decoder of `lmac_any` reads where the decision changes with the sound. Here the maps of one classifier are added as
the paper reads them: the prompt meets the two deepest maps in cross-attention (Paissan et al. 2024, Figure 2), whose
centred scores are added at the coarsest level. A fresh guide adds nothing: training may start from the universal decoder.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.target import Target
from lmaczs.explainers.base import FORWARD_AND_BACKWARD
from lmaczs.explainers.lmac_any.explainer import LMACAny
from lmaczs.explainers.lmac_any.network import AnyConfig, AnyDecoder, CellDetails
from lmaczs.explainers.lmac_any.relevance import Relevance
from lmaczs.explainers.lmac_zs.entry import ENTRY
from lmaczs.explainers.lmac_zs.score_decoder import HEADS, Scores
from lmaczs.explainers.lmac_zs.sizes import HALVINGS, smallest_that_is_enough
from lmaczs.hub import Release, rebuild, trained_for, value_of
from lmaczs.types import AudioState, MaskDomain

# Deepest maps that the prompt meets.
GUIDING = 2


@dataclass(frozen=True)
class GuidedConfig:
    """Shape of a guided decoder; stored in config.json of its release.

    Attributes:
        guiding_channels: of the maps that the prompt meets, the deepest one last.
        text_dim: width of the joint space.
        widths: as in `AnyConfig`.
    """

    guiding_channels: tuple[int, ...]
    text_dim: int
    widths: tuple[int, ...] = AnyConfig.widths


class GuidedDecoder(nn.Module):
    """See the module's docstring."""

    def __init__(self, config: GuidedConfig) -> None:
        """Build with fresh weights; until the guide is trained, the order is that of the relevance maps alone."""
        super().__init__()
        self.config = config
        self.order = AnyDecoder(AnyConfig(config.widths))
        self.scores = nn.ModuleList(Scores(channels, config.text_dim) for channels in config.guiding_channels)
        self.enter = nn.Conv2d(HEADS * len(config.guiding_channels), config.widths[-1], 1)
        for parameter in self.enter.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, found: Relevance, cells: CellDetails, hidden: tuple[Tensor, ...], text: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Order the cells of windows.

        Args:
            found: relevance maps of windows and their prompts.
            cells: details on the grid of the mask.
            hidden: the classifier's maps, shallow to deep, each (windows, channels, time, freq).
            text: (windows, text_dim), unit norm, prompt of each window.

        Returns:
            logits and gains, as `AnyDecoder.forward`.
        """
        levels = hidden[-len(self.scores) :]
        size = levels[0].shape[-2:]
        scores = [
            F.interpolate(attend(level, text), size, mode="bilinear", align_corners=False)
            for attend, level in zip(self.scores, levels, strict=True)
        ]
        logits, gains = self.order(found, cells, self.enter(torch.cat(scores, dim=1)))
        return logits, gains


@dataclass(frozen=True, eq=False)
class GuidedLMACZS(LMACAny):
    """LMAC-ZS with a guided decoder; one serves both mask domains.

    Attributes:
        network: trained for the backend, in evaluation mode, on its device.
        needed_gain: that the best mask must promise, else nothing in the window speaks for the prompt.
    """

    entry = ENTRY
    network: GuidedDecoder = field(kw_only=True, repr=False)
    needed_gain: float = field(kw_only=True)

    @classmethod
    def read(cls, backend: CLAPBackend, domain: MaskDomain, found: Release) -> Self:
        """Build the method from a release that was found for this backend.

        Raises:
            CheckpointError: it is damaged.
        """
        shape: GuidedConfig = value_of(found, "guided", GuidedConfig)
        network = rebuild(lambda: GuidedDecoder(shape), found, "guided").to(backend.mel_filters.device)
        return cls(backend, domain, network=network.eval(), needed_gain=value_of(found, "needed_gain", float))

    def passes(self) -> float:
        """See `Method.passes`: at most, as what is removed is heard only where enough is kept of one of three sizes."""
        return FORWARD_AND_BACKWARD + 2 * HALVINGS

    @property
    def decoder(self) -> tuple[nn.Module, float]:
        """The network, and the gain that a mask must promise."""
        return self.network, self.needed_gain

    def _mask(
        self, audio: AudioState, target: Target, logits: Tensor, attribution: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        return smallest_that_is_enough(self.backend, audio, target, logits, self.domain)

    def _decode(
        self, audio: AudioState, target: Target, found: Relevance, cells: CellDetails
    ) -> tuple[Tensor, Tensor]:
        text = target.embedding.to(audio.waveform.device).expand(len(audio.embedding), -1)
        logits, gains = self.network(found, cells, found.hidden, text)
        return logits, gains


def guided_config(backend: CLAPBackend) -> GuidedConfig:
    """The shape that fits a backend."""
    return GuidedConfig(tuple(backend.hidden_channels[-GUIDING:]), backend.embed_dim)


def guided_release(backend: CLAPBackend, network: GuidedDecoder, needed: float) -> dict[str, Any]:
    """What a release folder says of a guided decoder."""
    return {**trained_for(backend), "needed_gain": needed, "guided": asdict(network.config)}
