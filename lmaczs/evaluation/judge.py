"""What all clips are judged with: the classifier, its labels, and who takes part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.similarity import prompts_from_labels, similarities
from lmaczs.errors import LMACError
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.hearing import HeardClips, embed
from lmaczs.metrics.curves import SHARES
from lmaczs.types import TextState


@dataclass(frozen=True)
class Judge:
    """What all clips are judged with.

    Attributes:
        backend: the CLAP.
        labels: of all classes to choose between.
        contenders: in the order of the tables.
        limits: contender's name -> paths of the only clips that it is scored on.
        seed: of the random control.
        shares: of the cells, in (0, 1) and rising: points of the deletion and insertion curves.
    """

    backend: CLAPBackend
    labels: tuple[str, ...]
    contenders: tuple[Contender, ...] = ()
    limits: dict[str, frozenset[str]] = field(default_factory=dict)
    seed: int = 0
    shares: tuple[float, ...] = SHARES

    @cached_property
    def text(self) -> TextState:
        """One prompt for each label, on the CPU."""
        text = self.backend.encode_text(prompts_from_labels(self.labels))
        return TextState(text.prompts, text.embedding.cpu())

    @cached_property
    def silence(self) -> Tensor:
        """(1, labels): logits of silence."""
        return self.logits(embed([torch.zeros(self.backend.clip_samples)], self.backend))

    def logits(self, embedding: Tensor) -> Tensor:
        """(clips, embed_dim) -> (clips, labels), logit_scale * cosine."""
        return self.backend.logit_scale.detach().cpu() * similarities(embedding, self.text.embedding)

    def prompts(self, indices: Sequence[int]) -> TextState:
        """The prompts of these labels, in order, on the backend's device."""
        rows = torch.tensor(list(indices), dtype=torch.int64)
        embedding = self.text.embedding[rows].to(self.backend.mel_filters.device)
        return TextState(tuple(self.text.prompts[index] for index in indices), embedding)

    def takes(self, contender: Contender, path: str) -> bool:
        """Whether a contender is scored on a clip."""
        return contender.name not in self.limits or path in self.limits[contender.name]


Masks = list[Tensor]


def masks_or_reasons(
    find: Callable[[HeardClips, Sequence[int]], Masks], heard: HeardClips, chosen: Sequence[int]
) -> tuple[dict[int, Tensor], dict[int, str]]:
    """Explain some of the clips together; where that fails, one by one, so that one clip cannot fail others.

    Args:
        find: (clips, their places in the group) -> a mask for each.
        heard: all clips of the group.
        chosen: places of the clips to explain.

    Returns:
        Masks and reasons of failures, by place.
    """
    part = heard if len(chosen) == len(heard.waveforms) else heard.only(chosen)
    try:
        return dict(zip(chosen, find(part, chosen), strict=True)), {}
    except LMACError as error:
        if len(chosen) == 1:
            return {}, {chosen[0]: str(error)}
    masks: dict[int, Tensor] = {}
    reasons: dict[int, str] = {}
    for place in chosen:
        found, failed = masks_or_reasons(find, heard, [place])
        masks |= found
        reasons |= failed
    return masks, reasons
