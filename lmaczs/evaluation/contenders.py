"""Who takes part in an evaluation: methods and controls, each in its mask domain."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from lmaczs.evaluation.hearing import HeardClips
from lmaczs.evaluation.masks import CONTROLS, FORMS, SOFT_ONLY, control_mask
from lmaczs.explainers.base import Explainer
from lmaczs.types import MaskDomain, TextState

SLOW = ("occlusion", "rise", "slime", "optimized-mask")  # hundreds of encoder passes a clip


@dataclass(frozen=True)
class Contender:
    """A method or a control in one mask domain.

    Attributes:
        name: in the tables.
        domain: of its masks.
        explainer: None for a control.
        shared: stands in the tables of both domains, since its masks are the same sound in either.
    """

    name: str
    domain: MaskDomain
    explainer: Explainer | None = None
    shared: bool = False

    @property
    def key(self) -> str:
        """Prefix of its columns in result files."""
        return f"{'both' if self.shared else self.domain}/{self.name}"

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms in which its masks are scored."""
        return ("soft",) if self.explainer is None and self.name in SOFT_ONLY else tuple(FORMS)

    def stands_in(self, domain: MaskDomain) -> bool:
        """Whether it belongs into the tables of a domain."""
        return self.shared or self.domain == domain


def contenders(
    explainers: Iterable[tuple[str, Explainer]], domains: Sequence[MaskDomain]
) -> tuple[Contender, ...]:
    """Methods first, then the controls.

    Args:
        explainers: (name, explainer), each in its own domain.
        domains: of the tables.
    """
    methods = [Contender(name, explainer.domain, explainer) for name, explainer in explainers]
    controls = [
        Contender(name, domain, shared=name in SOFT_ONLY)
        for name in CONTROLS
        for domain in (("stft",) if name in SOFT_ONLY else domains)
    ]
    return (*methods, *controls)


def find_masks(
    contender: Contender,
    heard: HeardClips,
    prompts: TextState,
    seeds: Sequence[str],
    parts: Sequence[tuple[Tensor, Tensor] | None],
) -> list[Tensor]:
    """Masks of one contender for some clips.

    Args:
        contender: the ideal ratio mask only where no entry of `parts` is None.
        heard: the clips, encoded.
        prompts: one per clip, on the backend's device.
        seeds: one text per clip, of the random masks.
        parts: for each clip, the sound that is explained and the rest; None where they are not known.

    Returns:
        (freq, frames) for each clip, on the backend's device; those of methods divided by their maximum.
    """
    if contender.explainer is not None:
        return heard.masks(contender.explainer, prompts)
    return [
        control_mask(contender.name, waveform, heard.backend, contender.domain, seed, both)
        for waveform, seed, both in zip(heard.waveforms, seeds, parts, strict=True)
    ]
