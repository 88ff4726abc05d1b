"""The contract of every explainer: (audio, prompt) -> a mask."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.types import AudioState, MaskDomain, TextState


class Explainer(ABC):
    """Maps (audio, prompt) to a mask. Subclasses hold a backend and never change it.

    Attributes:
        name: key in `lmaczs.explainers.EXPLAINERS`.
        label: name for people.
        domain: of the masks that `masks` returns.
        prompts: the closed set that it was trained for, or None for any prompt.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    prompts: tuple[str, ...] | None = None

    def __init__(self, backend: CLAPBackend, domain: MaskDomain = "stft") -> None:
        self.backend = backend
        self.domain: MaskDomain = domain

    @abstractmethod
    def masks(self, audio: AudioState, text: TextState) -> Tensor:
        """Explain one prompt per window.

        Args:
            audio: (batch) windows.
            text: (batch) prompts, one for each window, in order.

        Returns:
            (batch, freq, frames) float32 in [0, 1], 1 = kept; freq as `domain` says. The largest value of a mask is 1
            unless nothing speaks for the prompt.
        """


def attribution_to_mask(attribution: Tensor) -> Tensor:
    """Positive evidence, each map divided by its own maximum.

    Args:
        attribution: (batch, freq, frames), signed.

    Returns:
        (batch, freq, frames) in [0, 1]; all zero where nothing is positive.
    """
    positive = torch.relu(attribution)
    return positive / positive.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(positive.dtype).tiny)
