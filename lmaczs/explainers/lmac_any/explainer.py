"""Universal LMAC: one decoder, trained once, masks the spectrogram for any prompt of any differentiable classifier.

LMAC-ZS (Paissan et al. 2024) reads the channels of one encoder's maps and so belongs to that encoder. Here they are first
contracted with the gradient of the decision (`relevance`): what is left can be had from every classifier, and the mask
depends on the classifier by construction.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.target import Target
from lmaczs.explainers.areas import AREAS, as_normal, cut_at_area
from lmaczs.explainers.base import FORWARD_AND_BACKWARD, MethodEntry, WindowMaps, WindowMethod
from lmaczs.explainers.gradients import grid_power
from lmaczs.explainers.lmac_any.network import AnyConfig, AnyDecoder, CellDetails, cell_details
from lmaczs.explainers.lmac_any.relevance import Relevance, grid_attribution, relevance
from lmaczs.hub import load_release, rebuild, save_release, value_of
from lmaczs.signal.spectral import mel_to_bins
from lmaczs.sorting import descending_places
from lmaczs.types import AudioState, MaskDomain, Progress, no_progress

KIND, RELEASE = "lmac-any", "lmac-any"
# The mask keeps as many cells as hold this share of what speaks for the prompt (positive gradient x power), with an edge
# of this softness. Of .75 to .95 and of .25 to .6: with these AD is below 5 % and a fifth of the cells is kept, on 60
# development clips.
SHARE, EDGE = 0.8, 0.35
# Windows in one pass of the network: its maps of more of them outgrow a processor's cache, and take a quarter longer.
DECODED_AT_ONCE = 2


@dataclass(frozen=True, eq=False)
class LMACAny(WindowMethod):
    """Ranks cells by what the classifier's gradients say, and keeps as many as hold most of what speaks for the prompt.

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
    def decoder(self) -> tuple[nn.Module, float]:
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
        """See `Method.passes`; the network comes on top.

        It takes as long as some ten passes of compact-2, and a fraction of one of a published CLAP: benchmarks/speed.md
        and benchmarks/backends.md.
        """
        return FORWARD_AND_BACKWARD

    @torch.no_grad()
    def rank_windows(self, audio: AudioState, target: Target) -> tuple[Tensor, Tensor]:
        """The network's output: logits (windows, freq, frames), and expected gains (windows, len(AREAS))."""
        logits, gains, _ = self._ranked(audio, target, self._relevance(audio, target))
        return logits, gains

    @torch.no_grad()
    def order_windows(self, audio: AudioState, target: Target) -> tuple[Tensor, Tensor]:
        """The order of the cells, for a method that goes on from it.

        Returns:
            (windows, freq, frames), a higher cell speaks more for the prompt; and (windows,) bool, whether anything does.
        """
        found = self._relevance(audio, target)
        logits, gains, _ = self._ranked(audio, target, found)
        return logits, self._present(audio, target, found, gains)

    def _present(self, audio: AudioState, target: Target, found: Relevance, gains: Tensor) -> Tensor:
        """Whether anything speaks for the prompt: (windows,) bool."""
        # A decision for the prompt needs no foretelling. Without rivals nothing says how much a similarity is.
        heard = (gains.amax(dim=1) >= self.decoder[1]) | self._leads(audio, target)
        # Maps are divided by their deviation: where the decision depends on no cell, they are enlarged rounding errors.
        return heard & found.depends

    def _leads(self, audio: AudioState, target: Target) -> Tensor:
        """Whether the classifier says this prompt of windows, more than any of its rivals: (windows,) bool."""
        if not target.rivals:
            return audio.embedding.new_ones(len(audio.embedding), dtype=torch.bool)
        own = audio.embedding @ target.embedding
        return own >= (audio.embedding @ target.rival_embeddings.T).amax(dim=1)

    def _relevance(self, audio: AudioState, target: Target) -> Relevance:
        compared = len(target.rivals) > 0
        return relevance(self.backend, target.margin, audio, target.scale, compared)

    def _ranked(self, audio: AudioState, target: Target, found: Relevance) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, gains, and gradient x power on the grid of the mask, (windows, freq, frames)."""
        firsts = range(0, len(audio.embedding), DECODED_AT_ONCE)
        some = [slice(first, first + DECODED_AT_ONCE) for first in firsts]
        parts = [self._ranked_at_once(audio[rows], target, found[rows]) for rows in some]
        logits, gains, attribution = map(torch.cat, zip(*parts, strict=True))
        return logits, gains, attribution

    def _ranked_at_once(
        self, audio: AudioState, target: Target, found: Relevance
    ) -> tuple[Tensor, Tensor, Tensor]:
        power = grid_power(audio, self.domain)
        filters = self.backend.mel_filters if self.domain == "stft" else None
        attribution = grid_attribution(power, found, filters)
        cells = cell_details(power, attribution, self._spread)
        logits, gains = self._decode(audio, target, found, cells)
        return logits, gains, attribution

    def _decode(
        self, audio: AudioState, target: Target, found: Relevance, cells: CellDetails
    ) -> tuple[Tensor, Tensor]:
        """Run the network: logits and gains, as `AnyDecoder.forward`."""
        logits, gains = self.decoder[0](found, cells)
        return logits, gains

    def _mask(
        self, audio: AudioState, target: Target, logits: Tensor, attribution: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """How many of the cells are kept.

        Returns:
            (windows, freq, frames) in (0, 1); and (windows,) bool, whether the classifier says the prompt of what a mask
            keeps, or None if it was not asked.
        """
        return mask_that_holds(logits, attribution), None

    @torch.no_grad()
    def map_windows(self, audio: AudioState, target: Target, progress: Progress = no_progress) -> WindowMaps:
        """See `WindowMethod.map_windows`."""
        found = self._relevance(audio, target)
        logits, gains, attribution = self._ranked(audio, target, found)
        mask, said = self._mask(audio, target, logits, attribution)
        present = self._present(audio, target, found, gains)
        present = present if said is None else present | (said & found.depends)
        mask = mask * present[:, None, None]
        progress(1.0, f"explaining with {self.label}")
        return WindowMaps(mask, present if target.rivals or not present.all() else None)


def mask_that_holds(logits: Tensor, attribution: Tensor) -> Tensor:
    """Keep the cells that come first, as many as hold SHARE of the positive attribution.

    Args:
        logits: (windows, freq, frames).
        attribution: same shape.

    Returns:
        (windows, freq, frames) in (0, 1).
    """
    order = descending_places(logits.flatten(1))
    held = attribution.clamp_min(0).flatten(1).gather(1, order).cumsum(1)
    area = (held < SHARE * held[:, -1:]).float().mean(1).clamp(AREAS[0], AREAS[-1])
    return cut_at_area(as_normal(logits, order), area, EDGE)


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
