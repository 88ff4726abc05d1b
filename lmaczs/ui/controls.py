"""Masks that no method made, on the visitor's own recording: a method that does no better explains nothing."""

from typing import ClassVar

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.evaluation.masks import control_mask
from lmaczs.explainers.base import Explainer
from lmaczs.types import AudioState, MaskDomain, TextState

CONTROLS = {
    "random": "Random cells",
    "energy": "The loudest cells",
}  # key in lmaczs.evaluation.masks -> label


class Control(Explainer):
    """Goes the way of every method, from the mask over what is heard to the numbers."""

    name: ClassVar[str] = "control"
    label: ClassVar[str] = "controls"

    def __init__(self, backend: CLAPBackend, domain: MaskDomain, control: str) -> None:
        """Choose the control.

        Args:
            backend: the CLAP whose grid the masks lie on.
            domain: of the masks.
            control: key in `CONTROLS`.
        """
        super().__init__(backend, domain)
        self.control = control

    def masks(self, audio: AudioState, text: TextState) -> Tensor:
        """See `Explainer.masks`; the prompt makes no difference."""
        return torch.stack(
            [
                control_mask(self.control, window, self.backend, self.domain, "page")
                for window in audio.waveform
            ]
        )
