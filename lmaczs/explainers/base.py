"""The contract of every method: a recording and a target -> one explanation.

A method says what each window's cells count for (`map_windows`). The template does the rest, once for all methods: the
maps of the windows become one map of the recording, and an attribution is scaled once over the whole recording, so that
windows can be compared with each other.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import Recording
from lmaczs.clap.target import Target
from lmaczs.errors import LMACError, PromptError
from lmaczs.signal.masking import masked_waveform
from lmaczs.signal.windows import stitch
from lmaczs.types import AudioState, Evidence, Explanation, MaskDomain, Progress, no_progress, part_of

# Copies of a window in one encoder pass: bounds the memory of methods that need many, without costing speed.
PASSES_AT_ONCE = 8
# A backward pass takes about twice as long as a forward pass.
FORWARD_AND_BACKWARD = 3.0


@dataclass(frozen=True)
class MethodEntry:
    """Everything that is said of a method anywhere.

    Attributes:
        name: key in `lmaczs.explainers.METHODS`.
        label: name for people.
        paper: authors and year.
        sentence: what it does, one plain sentence.
        domains: that it can have masks in.
        trained: whether it needs weights that were trained for one classifier.
    """

    name: str
    label: str
    paper: str
    sentence: str
    domains: tuple[MaskDomain, ...] = ("stft", "mel")
    trained: bool = False

    def check_domain(self, domain: MaskDomain) -> None:
        """Refuse a domain that the method has no masks in.

        Raises:
            LMACError: names both.
        """
        if domain not in self.domains:
            known = " or ".join(f"'{name}'" for name in self.domains)
            raise LMACError(
                f"{self.label} has no masks in the domain '{domain}': choose {known}, or another method."
            )


@dataclass(frozen=True)
class WindowMaps:
    """What a method found in a batch of windows.

    Attributes:
        values: (windows, freq, frames); masks in [0, 1], or attributions in the unit of the method.
        evidence: (windows,) bool, whether anything in the window speaks for the prompt; None if the method cannot tell.
        completeness_error: (windows,) >= 0, how far the sum of the values misses the change of the score that they
            should add up to, relative to that change; None for methods that promise no sum.
    """

    values: Tensor
    evidence: Tensor | None = None
    completeness_error: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Method(ABC):
    """Explains decisions of one classifier, which it never changes; the fields of a subclass are its options.

    Attributes:
        backend: the classifier.
        domain: of the masks.
        partwise: whether what is said of a window depends on no other one, so that a recording can be explained part by
            part.
        reads_maps: whether `map_windows` reads the hidden maps of the windows; of a long recording the encoder runs again
            for them.
    """

    entry: ClassVar[MethodEntry]
    partwise: ClassVar[bool] = False
    reads_maps: ClassVar[bool] = False
    backend: CLAPBackend = field(repr=False)
    domain: MaskDomain = "stft"

    @classmethod
    def load(cls, backend: CLAPBackend, domain: MaskDomain = "stft", **options: Any) -> Self:
        """Build the method for a classifier; one with weights reads them from its release.

        Raises:
            LMACError: an option cannot be used.
        """
        return cls(backend, domain, **options)

    @property
    def name(self) -> str:
        """Key in `lmaczs.explainers.METHODS`."""
        return self.entry.name

    @property
    def label(self) -> str:
        """Name for people."""
        return self.entry.label

    @property
    def prompts(self) -> tuple[str, ...] | None:
        """The closed set of prompts that it was trained for, or None for any prompt."""
        return None

    @abstractmethod
    def passes(self) -> float:
        """What one window costs, in forward passes of the encoder (a backward pass counts as two)."""

    @abstractmethod
    def explain(self, recording: Recording, target: Target, progress: Progress = no_progress) -> Explanation:
        """Explain a whole recording.

        Args:
            recording: that the backend has heard.
            target: what is explained.
            progress: called after each step; may raise to stop. Nothing is kept for the next call then.

        Raises:
            PromptError: the prompt is outside the method's closed set.
        """

    def play(self, waveform: Tensor, gain: Tensor) -> Tensor:
        """The sound that an amplitude mask leaves.

        Args:
            waveform: (samples,).
            gain: (bins, frames) in [0, 1].

        Returns:
            (samples,).
        """
        return masked_waveform(waveform, gain, self.backend.spectral)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Refuse what a closed set does not hold.

        Raises:
            PromptError: names the prompt, some of the set, and the way on.
        """
        known = self.prompts
        outside = [] if known is None else [text for text in prompts if text not in known]
        if known is not None and outside:
            shown = ", ".join(f"'{text}'" for text in known[:3]) + (" and so on" if len(known) > 3 else "")
            raise PromptError(
                f"{self.label} knows {len(known)} prompts ({shown}), and '{outside[0]}' is none of them: choose one "
                "of these, or a method that takes any prompt, such as 'l2i' or 'lmac-zs'."
            )


class WindowMethod(Method):
    """Explains window by window; a subclass writes `map_windows`, whose values are masks, and kept as they are."""

    partwise = True

    @abstractmethod
    def map_windows(self, audio: AudioState, target: Target, progress: Progress = no_progress) -> WindowMaps:
        """Explain a batch of windows of one recording.

        Args:
            audio: the windows.
            target: what is explained.
            progress: as in `explain`.
        """

    def explain(self, recording: Recording, target: Target, progress: Progress = no_progress) -> Explanation:
        """See `Method.explain`."""
        self.check_prompts((target.prompt,))
        evidence: list[Tensor] = []
        errors: list[float] = []

        def maps() -> Iterator[Tensor]:
            done, count = 0, len(recording.plan.windows)
            for audio in recording.batches(self.backend, self.reads_maps):
                share = part_of(progress, done / count, (done + len(audio.embedding)) / count)
                found = self.map_windows(audio, target, share)
                done += len(audio.embedding)
                if found.evidence is not None:
                    evidence.append(found.evidence)
                if found.completeness_error is not None:
                    errors.append(float(found.completeness_error.max()))
                yield from found.values

        values = stitch(maps(), recording.plan, self.backend.spectral)
        present: Evidence = "unknown"
        if evidence:
            present = "present" if bool(torch.cat(evidence).any()) else "absent"
        return self.explanation_of(values, target, present, max(errors, default=None))

    def explanation_of(
        self, values: Tensor, target: Target, evidence: Evidence, completeness_error: float | None
    ) -> Explanation:
        """Make an explanation of the recording's map.

        Args:
            values: (freq, frames) as `map_windows` gives them.
            target: what is explained.
            evidence: of the whole recording.
            completeness_error: of its worst window.
        """
        return Explanation(self.name, target.prompt, values, self.domain, evidence)


class AttributionMethod(WindowMethod):
    """Says what each cell did for the score; the mask is the positive part, scaled once over the recording."""

    partwise = False

    def explanation_of(
        self, values: Tensor, target: Target, evidence: Evidence, completeness_error: float | None
    ) -> Explanation:
        """See `WindowMethod.explanation_of`; without any positive value nothing speaks for the prompt."""
        mask = scale_once(values)
        evidence = "unknown" if mask.any() else "absent"
        return Explanation(self.name, target.prompt, mask, self.domain, evidence, values, completeness_error)


def scale_once(attribution: Tensor) -> Tensor:
    """Positive part of an attribution, divided by its largest value: (freq, frames) -> same shape, in [0, 1].

    All zero where nothing is positive.
    """
    positive = torch.relu(attribution)
    # In place: of ten minutes, each copy takes 123 MB.
    return positive.div_(positive.amax().clamp_min(torch.finfo(positive.dtype).tiny))
