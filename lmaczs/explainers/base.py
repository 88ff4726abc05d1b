"""The contract of every explainer: (audio, prompt) -> a mask; for most by way of an attribution."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import LMACError, PromptError
from lmaczs.explainers.scores import Score
from lmaczs.types import AudioState, MaskDomain, Progress, TextState

PASSES_AT_ONCE = (
    8  # windows in one encoder pass: bounds the memory of methods that need many, without costing speed
)


def no_progress(share: float, text: str) -> None:
    """Tell nobody."""


def part_of(progress: Progress, index: int, count: int) -> Progress:
    """Progress of one of several equal parts of the work, as a share of the whole."""
    return lambda share, text: progress((index + share) / count, text)


class Explainer(ABC):
    """Maps (audio, prompt) to a mask. Subclasses hold a backend and never change it.

    Attributes:
        name: key in `lmaczs.explainers.EXPLAINERS`.
        label: name for people.
        domain: of the masks that `masks` returns.
        prompts: the closed set that it was trained for, or None for any prompt.
        open_method: key of the method to offer for prompts outside the closed set.
        domains: that the method can have masks in.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    domains: ClassVar[tuple[MaskDomain, ...]] = ("stft", "mel")
    prompts: tuple[str, ...] | None = None
    open_method: ClassVar[str] = "lmac-zs"

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
            unless nothing speaks for the prompt, or the mask is a sum of components.

        Raises:
            PromptError: a prompt is outside the closed set.
        """

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Refuse what a closed set does not hold.

        Raises:
            PromptError: names the prompt, some of the set, and the way on.
        """
        outside = [] if self.prompts is None else [text for text in prompts if text not in self.prompts]
        if self.prompts is not None and outside:
            known = ", ".join(f"'{text}'" for text in self.prompts[:3])
            known += " and so on" if len(self.prompts) > 3 else ""
            raise PromptError(
                f"{self.label} knows {len(self.prompts)} prompts ({known}), and '{outside[0]}' is none of "
                f"them: choose one of these, or the method '{self.open_method}', which takes any prompt."
            )


class SteppedExplainer(Explainer):
    """Works in steps that it reports, and can be stopped between them: whatever `progress` raises ends it.

    Hooks and evaluation modes are undone on the way out, and nothing is kept for the next call.
    """

    @abstractmethod
    def masks(self, audio: AudioState, text: TextState, progress: Progress = no_progress) -> Tensor:
        """See `Explainer.masks`.

        Args:
            audio: (batch) windows.
            text: (batch) prompts, one for each window, in order.
            progress: called after each step with the share done in [0, 1] and what is being done; may raise to stop.
        """


@dataclass(frozen=True)
class Attribution:
    """What each cell did for the score of a window.

    Attributes:
        values: (batch, freq, frames) in the unit of the method, signed where the method tells for from against.
        completeness_error: (batch,) >= 0, how far the values' sum misses the change of the score that they should add
            up to, relative to that change; None for methods that promise no sum.
    """

    values: Tensor
    completeness_error: Tensor | None = None


class AttributionExplainer(SteppedExplainer):
    """Finds what each cell did for a score; the mask is the positive part, divided by its maximum."""

    def __init__(
        self,
        backend: CLAPBackend,
        domain: MaskDomain = "stft",
        *,
        score: str = "logit",
        rivals: Sequence[str] = (),
    ) -> None:
        """Choose what is explained.

        Args:
            backend: the CLAP; never changed.
            domain: of the masks.
            score: key in `lmaczs.explainers.scores.SCORES`.
            rivals: the sentences that the prompt competes with, for the scores that compare; the prompt may be one
                of them.

        Raises:
            LMACError: no such score, or one that compares without rivals.
            PromptError: a rival is empty.
        """
        super().__init__(backend, domain)
        self.score = Score(backend, score, rivals)

    @abstractmethod
    def attribute(self, audio: AudioState, text: TextState, progress: Progress = no_progress) -> Attribution:
        """Say what each cell did for each window's score; arguments as in `masks`."""

    def masks(self, audio: AudioState, text: TextState, progress: Progress = no_progress) -> Tensor:
        """See `SteppedExplainer.masks`."""
        return attribution_to_mask(self.attribute(audio, text, progress).values)


@dataclass(frozen=True)
class Decomposition:
    """Windows taken apart into sound objects.

    Attributes:
        activations: (batch, components, frames) >= 0, how strong each is when.
        contribution: (batch, components), what each adds to the score of the window's prompt; signed.
    """

    activations: Tensor
    contribution: Tensor


class ComponentExplainer(Explainer):
    """Explains by a handful of sound objects, which play together what the mask keeps; "stft" only.

    Attributes:
        patterns: (freq, components) >= 0, the spectrum of each component.
        relevance_threshold: relevance above which a component is part of the mask.
        griffin_lim_steps: rounds that make the phase of what is heard fit its magnitude; 0 keeps the recording's phase.
    """

    domains = ("stft",)
    patterns: Tensor
    relevance_threshold: float
    griffin_lim_steps: int = 0

    @abstractmethod
    def decompose(self, audio: AudioState, text: TextState) -> Decomposition:
        """Find the components of each window and what they add to its prompt; arguments as in `masks`.

        Raises:
            PromptError: a prompt is outside the closed set.
        """

    @abstractmethod
    def relevance(self, contribution: Tensor) -> Tensor:
        """Bring contributions (batch, components) to [-1, 1], relative to the largest."""

    @abstractmethod
    def chosen(self, relevance: Tensor) -> Tensor:
        """Say which components are part of the mask: (batch, components) -> bool."""

    @abstractmethod
    def lane_gains(self, spectrum: Tensor, activations: Tensor, order: Tensor) -> Tensor:
        """Factors on the magnitude of one window that play its components; each adds to those before it.

        Args:
            spectrum: (freq, frames) complex.
            activations: (components, frames).
            order: (lanes,) component numbers.

        Returns:
            (lanes, freq, frames) in [0, 1]; their sum is 1 at most.
        """


def check_whole(name: str, value: object, least: int = 1) -> int:
    """An option that counts something.

    Raises:
        LMACError: it is no whole number, or too small; names the option, its value and what is accepted.
    """
    if not isinstance(value, int) or value < least:
        raise LMACError(f"The option {name} is {value}: choose a whole number, {least} or more.")
    return value


def check_number(name: str, value: object, least: float, most: float = math.inf) -> float:
    """An option that measures something.

    Raises:
        LMACError: it is no number, or out of range; names the option, its value and what is accepted.
    """
    if not isinstance(value, int | float) or not least <= value <= most or math.isinf(value):
        accepted = f"{least:g} or more" if math.isinf(most) else f"{least:g} to {most:g}"
        raise LMACError(f"The option {name} is {value}: choose a number, {accepted}.")
    return float(value)


def attribution_to_mask(attribution: Tensor) -> Tensor:
    """Positive evidence, each map divided by its own maximum.

    Args:
        attribution: (batch, freq, frames), signed.

    Returns:
        (batch, freq, frames) in [0, 1]; all zero where nothing is positive.
    """
    positive = torch.relu(attribution)
    return positive / positive.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(positive.dtype).tiny)
