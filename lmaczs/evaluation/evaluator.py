"""Scores one mask of one recording in all its forms; evaluations, mixtures and benchmarks all use it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import Recording, embed, listen
from lmaczs.clap.similarity import probabilities, prompts_from_labels
from lmaczs.clap.target import Target, make_target
from lmaczs.evaluation.masks import FORMS
from lmaczs.explainers.base import Method
from lmaczs.hearing.explaining import audible
from lmaczs.hearing.measuring import contest, logits_of
from lmaczs.metrics.curves import SHARES, deletion_insertion
from lmaczs.metrics.registry import MaskSample, entries_of, measure, measure_at_equal_area
from lmaczs.metrics.shape import top_masks
from lmaczs.signal.masking import masked_waveform
from lmaczs.types import AudioClip, Explanation

CURVES = ("deletion", "insertion")


def curve_points(shares: Sequence[float]) -> list[str]:
    """Names of the measured points: "deletion_10" is what is left of the probability without the top 10 %."""
    return [f"{curve}_{100 * share:g}" for curve in CURVES for share in shares]


@dataclass(frozen=True, eq=False)
class MaskEvaluator:
    """A classifier with its labels, and how masks of its decisions are scored.

    Attributes:
        backend: the classifier.
        labels: of all classes to choose between.
        shares: of the cells, in (0, 1) and rising: points of the deletion and insertion curves.
    """

    backend: CLAPBackend
    labels: tuple[str, ...]
    shares: tuple[float, ...] = SHARES
    _targets: dict[int, Target] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse labels that the model cannot read or tell apart, before anything is heard.

        Raises:
            PromptError: see `CLAPBackend.check_prompts`.
        """
        self.backend.check_prompts(self.prompts)

    @cached_property
    def prompts(self) -> tuple[str, ...]:
        """One sentence for each label."""
        return tuple(prompts_from_labels(self.labels))

    @cached_property
    def silence(self) -> Tensor:
        """(1, labels): logits of silence."""
        return self.logits(embed([torch.zeros(self.backend.clip_samples)], self.backend))

    def logits(self, embedding: Tensor) -> Tensor:
        """(sounds, embed_dim) -> (sounds, labels), logit_scale * cosine, on the CPU."""
        return logits_of(embedding, self.prompts, self.backend)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(sounds, labels) of `logits` -> the same shape, float64, as the classifier decides."""
        one = logits.new_ones(())
        return probabilities(logits.double(), one.double(), self.backend.multi_label)

    def target(self, index: int) -> Target:
        """The prompt of a label, which competes with all others."""
        if index not in self._targets:
            self._targets[index] = make_target(self.backend, self.prompts[index], self.prompts)
        return self._targets[index]

    @torch.no_grad()
    def kept_sounds(
        self, method: Method, recording: Recording, explanation: Explanation, shares: Sequence[float] = ()
    ) -> list[Tensor]:
        """What is heard of a recording through a mask as it is, and through its top cells alone.

        Args:
            method: that made the mask, and plays it.
            recording: that was explained.
            explanation: of it.
            shares: of the cells, rising; an empty mask names no cells, and nothing is heard of it.

        Returns:
            (samples,) each, on the CPU: through the mask as it comes, then through each share of its cells.
        """
        waveform, mask = recording.clip.waveform, explanation.mask
        top = top_masks(mask.unsqueeze(0), shares)[0] * bool(mask.max() > 0) if shares else mask[:0]
        heard = audible(
            torch.cat([mask.unsqueeze(0), top]) if shares else mask.unsqueeze(0),
            explanation.domain,
            self.backend,
        )
        kept = [method.play(waveform, heard[0])]
        return [*kept, *(masked_waveform(waveform, gain, self.backend.spectral) for gain in heard[1:])]

    @torch.no_grad()
    def score(
        self,
        method: Method,
        recording: Recording,
        explanation: Explanation,
        target: int,
        forms: Sequence[str] = tuple(FORMS),
    ) -> dict[str, float]:
        """All numbers of one mask: as it comes, at equal area, and along the curves.

        Numbers of the form "soft" are those of `lmaczs.hearing`, to the bit: the same sounds are heard the same way.

        Args:
            method: that made the mask.
            recording: that was explained.
            explanation: of it.
            target: index of the label that is explained.
            forms: keys of `FORMS`, "soft" first; curves are measured where there are others.

        Returns:
            "form/metric" -> number; without those that this recording does not have.
        """
        areas = [share for form in forms if (share := FORMS[form]) is not None]
        shares = sorted({*self.shares, *areas}) if areas else []
        kept = self.kept_sounds(method, recording, explanation, shares)
        sounds = self._logits_of_parts(recording, kept[0])
        whole = sounds[0]
        evidence = explanation.evidence

        def sample_of(three: Tensor) -> MaskSample:
            (original, kept_part, removed_part), among = contest(three, target, self.backend)
            return MaskSample(original, kept_part, removed_part, among, explanation.mask, evidence)

        sample = sample_of(sounds)
        found = {
            f"soft/{key}": value for key, value in (measure(sample) | measure(sample, "evaluation")).items()
        }
        if shares:
            waveform = recording.clip.waveform
            heard = embed([*kept[1:], *(waveform - part for part in kept[1:])], self.backend)
            parts = dict(zip(shares, zip(*self.logits(heard).chunk(2), strict=True), strict=True))
            for form in forms:
                if (share := FORMS[form]) is not None:
                    at = sample_of(torch.stack([whole, *parts[share]]))
                    found |= {f"{form}/{key}": value for key, value in measure_at_equal_area(at).items()}
            found |= self._curves(whole, parts, target, empty=not bool(explanation.mask.max() > 0))
        return {key: value for key, value in found.items() if value == value}

    def _logits_of_parts(self, recording: Recording, kept: Tensor) -> Tensor:
        """(3, labels): of the whole, of what is kept and of what is removed; as `lmaczs.hearing.logits_of_parts` does."""
        clip = recording.clip
        heard = [
            listen(AudioClip(part, clip.sample_rate, clip.name), self.backend).embedding
            for part in (kept, clip.waveform - kept)
        ]
        return self.logits(torch.stack([recording.embedding, *heard]))

    def _curves(
        self, whole: Tensor, parts: dict[float, tuple[Tensor, Tensor]], target: int, empty: bool
    ) -> dict[str, float]:
        """Areas and points of both curves."""

        def probability(logits: Sequence[Tensor]) -> Tensor:
            return self.probabilities(torch.stack(list(logits)))[:, target]

        kept, removed = (probability([parts[share][side] for share in self.shares]) for side in (0, 1))
        curves = deletion_insertion(
            probability([whole]),
            probability([self.silence[0]]),
            kept[None],
            removed[None],
            self.shares,
            torch.tensor([empty]),
        )
        points = dict(zip(curve_points(self.shares), [*removed.tolist(), *kept.tolist()], strict=True))
        points |= {entry.key: float(curves[entry.key]) for entry in entries_of("curve")}
        return {f"curve/{key}": value for key, value in points.items()}
