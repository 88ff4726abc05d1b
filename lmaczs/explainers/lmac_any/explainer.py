"""Universal LMAC: one decoder, trained once, masks the spectrogram for any prompt of any differentiable classifier.

LMAC-ZS (Paissan et al. 2024) reads the channels of one encoder's maps and so belongs to that encoder. Here they are first
contracted with the gradient of the decision (`relevance`): what is left can be had from every classifier, and the mask
depends on the classifier by construction.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.target import Target
from lmaczs.explainers.areas import EDGES, mask_of_largest_gain
from lmaczs.explainers.base import FORWARD_AND_BACKWARD, MethodEntry, WindowMaps, WindowMethod
from lmaczs.explainers.gradients import grid_power
from lmaczs.explainers.lmac_any.network import AnyConfig, AnyDecoder, cell_details
from lmaczs.explainers.lmac_any.relevance import relevance
from lmaczs.hub import load_release, rebuild, save_release, value_of
from lmaczs.signal.spectral import mel_to_bins
from lmaczs.types import AudioState, MaskDomain, Progress, no_progress

KIND, RELEASE = "lmac-any", "lmac-any"


@dataclass(frozen=True, eq=False)
class LMACAny(WindowMethod):
    """Ranks cells by what the classifier's own gradients say, and keeps as many as promise the largest gain.

    Attributes:
        release: folder, embedded name or hub id of the decoder; None is the embedded one, for all classifiers.
    """

    entry = MethodEntry(
        "lmac-any",
        "Universal LMAC",
        "this project, after Paissan et al. 2024",
        "A decoder for every classifier: it reads the classifier's gradients and masks the spectrogram.",
    )
    release: str | None = None

    @classmethod
    def load(cls, backend: CLAPBackend, domain: MaskDomain = "stft", **options: Any) -> Self:
        """Build the method; its release is read at once, so that a damaged one is refused before any work.

        Raises:
            BackendUnavailableError: there is no such release.
            CheckpointError: it is damaged.
        """
        method = cls(backend, domain, **options)
        _ = method.decoder
        return method

    @cached_property
    def decoder(self) -> tuple[AnyDecoder, float]:
        """The network on the backend's device, and the gain that a mask must promise.

        Raises:
            BackendUnavailableError: there is no such release.
            CheckpointError: it is damaged.
        """
        return load_decoder(self.release or RELEASE, self.backend.mel_filters.device)

    @cached_property
    def _spread(self) -> Tensor | None:
        return mel_to_bins(self.backend.mel_filters) if self.domain == "stft" else None

    def passes(self) -> float:
        """See `Method.passes`: the network costs about a pass of a small encoder."""
        return FORWARD_AND_BACKWARD + 1

    @torch.no_grad()
    def rank_windows(self, audio: AudioState, target: Target) -> tuple[Tensor, Tensor]:
        """The network's output: logits (windows, freq, frames), and expected gains (windows, len(AREAS))."""
        compared = len(target.rivals) > 0
        found = relevance(self.backend, target.margin, audio.mel_power, target.scale, compared)
        filters = self.backend.mel_filters if self.domain == "stft" else None
        cells = cell_details(grid_power(audio, self.domain), found, filters, self._spread)
        logits, gains = self.decoder[0](found, cells)
        return logits, gains

    @torch.no_grad()
    def map_windows(self, audio: AudioState, target: Target, progress: Progress = no_progress) -> WindowMaps:
        """See `WindowMethod.map_windows`."""
        logits, gains = self.rank_windows(audio, target)
        mask, present = mask_of_largest_gain(logits, gains, EDGES[self.domain], self.decoder[1])
        progress(1.0, f"explaining with {self.label}")
        return WindowMaps(mask, present)


def load_decoder(name: str, device: torch.device) -> tuple[AnyDecoder, float]:
    """Read a release: the network in evaluation mode, and the gain that a mask must promise.

    Raises:
        BackendUnavailableError: there is no such release.
        CheckpointError: it is damaged.
    """
    found = load_release(name, kind=KIND)
    shape: AnyConfig = value_of(found, "decoder", AnyConfig)
    needed: float = value_of(found, "needed_gain", float)
    network = rebuild(lambda: AnyDecoder(shape), found, "decoder").to(device)
    return network.eval(), needed


def save_decoder(folder: Any, network: AnyDecoder, needed: float, **contents: Any) -> None:
    """Write a release; `contents` as `lmaczs.hub.save_release` takes them."""
    config = {"decoder": asdict(network.config), "needed_gain": needed}
    save_release(folder, KIND, config, network.state_dict(), **contents)
