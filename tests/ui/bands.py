"""A method whose components are known: four bands of frequency, each of them kept by nine tenths.

Run as a program, the page with it as "l2i" on the debug backend, whose weights are made on the spot.
"""

from typing import ClassVar

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.base import ComponentExplainer, Decomposition
from lmaczs.signal.spectral import frequencies_hz
from lmaczs.types import AudioState, MaskDomain, TextState

EDGES_HZ = (0, 500, 1200, 2500, 8001)  # band k lies between edges k and k + 1
RELEVANCE = (0.35, 1.0, 0.12, 0.62, -0.4)  # of the bands, and of a component that speaks against every prompt
ORDER = (1, 3, 0, 2)  # of the lanes
SHARE = 0.9  # of a band that its component plays; the rest plays the other tenth
THRESHOLD = 0.3


class Bands(ComponentExplainer):
    """See above."""

    name: ClassVar[str] = "l2i"
    label: ClassVar[str] = "L2I"

    def __init__(self, backend: CLAPBackend, domain: MaskDomain = "stft") -> None:
        super().__init__(backend, domain)
        hertz = frequencies_hz(backend.spectral)
        bands = [
            ((low <= hertz) & (hertz < high)).float()
            for low, high in zip(EDGES_HZ, EDGES_HZ[1:], strict=False)
        ]
        self.patterns = torch.stack([*bands, torch.zeros_like(hertz)], dim=1)
        self.relevance_threshold = THRESHOLD

    def decompose(self, audio: AudioState, text: TextState) -> Decomposition:
        activations = self.patterns.T @ audio.stft.abs()
        return Decomposition(activations, torch.tensor([RELEVANCE]).expand(len(activations), -1))

    def relevance(self, contribution: Tensor) -> Tensor:
        return contribution / contribution.abs().amax(dim=1, keepdim=True)

    def chosen(self, relevance: Tensor) -> Tensor:
        return relevance > self.relevance_threshold

    def lane_gains(self, spectrum: Tensor, activations: Tensor, order: Tensor) -> Tensor:
        return SHARE * self.patterns.T[order, :, None].expand(-1, -1, spectrum.shape[1])

    def masks(self, audio: AudioState, text: TextState) -> Tensor:
        parts = self.decompose(audio, text)
        order = torch.nonzero(self.chosen(self.relevance(parts.contribution))[0])[:, 0]
        return torch.stack(
            [self.lane_gains(spectrum, parts.activations[0], order).sum(0) for spectrum in audio.stft]
        )


def main() -> None:
    """Serve the page."""
    from lmaczs.explainers import EXPLAINERS
    from lmaczs.ui.layout import build_demo
    from lmaczs.ui.settings import Settings

    EXPLAINERS.clear()
    EXPLAINERS.update({"l2i": "bands:Bands", "grad-cam": "lmaczs.explainers.gradcam:GradCAM"})
    build_demo(Settings(backend="debug")).serve()


if __name__ == "__main__":
    main()
