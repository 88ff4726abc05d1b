"""The objective of LMAC-ZS fitted to one clip: a mask for any classifier, without a decoder that was trained for it.

What is kept must be recognised as the prompt among rival sentences, what is removed must not, at a share of cells given
from outside (see `lmaczs.explainers.lmac_zs.loss.contrast_loss`). The cells start in the order of Universal LMAC. Then
the classifier hears masks of that order, and the slope of the objective in each cell moves it up or down: at masks of
several sizes, as a slope holds only near the mask that it was taken at. Judged is what can be heard.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from lmaczs.clap.hooks import evaluation_mode
from lmaczs.clap.target import Target
from lmaczs.explainers.areas import AREAS, as_normal, cut_at_area, mask_of_largest_gain
from lmaczs.explainers.base import FORWARD_AND_BACKWARD, MethodEntry, WindowMaps, WindowMethod
from lmaczs.explainers.lmac_any.explainer import LMACAny
from lmaczs.explainers.lmac_zs.loss import HOPELESS
from lmaczs.explainers.masked_sound import encode_parts
from lmaczs.explainers.options import check_whole
from lmaczs.types import AudioState, Progress, no_progress, part_of

# What a prompt competes with when the caller names no rivals: everyday sounds of many kinds. A classifier with labels has
# its own.
EVERYDAY = tuple(
    f"this is the sound of {label}"
    for label in (
        "rain", "wind", "thunder", "water flowing", "a dog barking", "a cat meowing", "birds singing", "crickets",
        "a person speaking", "a crying baby", "a crowd", "laughter", "footsteps", "a door knock", "keyboard typing",
        "an alarm clock", "a siren", "a car horn", "an engine idling", "a helicopter", "church bells", "music",
        "fireworks", "hammering",
    )
)  # fmt: skip
# Shares of cells that steps take in turn.
STEP_AREAS = (0.3, 0.2, 0.1, 0.05)
# Frequencies and frames over which slopes are averaged: single cells can be found that move any classifier, and nobody
# hears them.
SMOOTH = (3, 5)
# Of the slopes against the first order, in standard deviations. It, SMOOTH and the number of steps were chosen on 16
# development clips.
WEIGHT = 2.0
# Softness of the mask's edge when it is heard.
EDGE = 0.5
# Below, a slope is none.
TINY = 1e-12
# Gain that the best mask must reach; measured here, and not as a decoder estimates it.
NEEDED_GAIN = 0.41


@dataclass(frozen=True, eq=False)
class OptimizedMask(WindowMethod):
    """Fits the mask that brings the prompt out of this one clip.

    Slower than a trained decoder by the number of steps, and free to find what moves this model for this clip, where a
    decoder has learned what holds for many. The prompt competes with the target's rivals; where it has none, with
    everyday sounds that the model does not take for the same.

    Attributes:
        steps: 1 or more, each of them two encoder passes there and back.
    """

    entry = MethodEntry(
        "optimized-mask",
        "Optimised mask",
        "after Fong and Vedaldi 2017, with LMAC-ZS's objective",
        "Searches for the mask that brings the prompt out of this one sound.",
    )
    steps: int = 7

    def __post_init__(self) -> None:
        """Check the options."""
        check_whole("steps", self.steps)

    @cached_property
    def _first(self) -> LMACAny:
        return LMACAny.load(self.backend, self.domain)

    def passes(self) -> float:
        """See `Method.passes`: each step hears what is kept and what is removed; so do masks of all sizes at the end."""
        return self._first.passes() + 2 * FORWARD_AND_BACKWARD * self.steps + 2 * len(AREAS)

    def map_windows(self, audio: AudioState, target: Target, progress: Progress = no_progress) -> WindowMaps:
        """See `WindowMethod.map_windows`."""
        masks, evidence, count = [], [], len(audio.waveform)
        with torch.inference_mode(False), torch.enable_grad(), evaluation_mode(self.backend):
            contest = self._contest(target)
            sentences = torch.cat([contest.embedding[None], contest.rival_embeddings]).detach().clone()
            for row in range(count):
                report = part_of(progress, row / count, (row + 1) / count)
                window = audio[row : row + 1]
                logits, speaks = self._first.order_windows(window, contest)
                mask, gained = self._fit(_apart(window), sentences, as_normal(logits).clone(), report)
                # Fitted long enough, a mask brings almost any prompt out: that alone is no evidence.
                masks.append(mask * speaks[:, None, None])
                evidence.append(gained & speaks)
        return WindowMaps(torch.cat(masks), torch.cat(evidence))

    def _contest(self, target: Target) -> Target:
        """The target with what it competes with."""
        if target.rivals:
            return target
        sentences = tuple(self.backend.labels or EVERYDAY)
        others = self.backend.encode_text(sentences).embedding
        alike = others @ target.embedding
        kept = alike <= max(typical_neighbour(others), float(alike.min()))
        rivals = tuple(one for one, stays in zip(sentences, kept.tolist(), strict=True) if stays)
        return replace(target, rivals=rivals, rival_embeddings=others[kept])

    def _fit(
        self, window: AudioState, contest: Tensor, first: Tensor, progress: Progress
    ) -> tuple[Tensor, Tensor]:
        """One window's mask (1, freq, frames), and whether anything speaks for the prompt (1,)."""
        order, slopes = first, torch.zeros_like(first)
        for step in range(self.steps):
            area = order.new_tensor([STEP_AREAS[step % len(STEP_AREAS)]])
            mask = cut_at_area(order, area, EDGE).requires_grad_(True)
            log_kept, log_gone = self._judge(window, contest, mask)
            loss = -(log_kept.exp() + HOPELESS).log().mean() - log_gone.mean()
            (slope,) = torch.autograd.grad(loss, mask)
            slope = F.avg_pool2d(-slope, SMOOTH, 1, (SMOOTH[0] // 2, SMOOTH[1] // 2))
            # Each mask has one vote, however sure the classifier is of it.
            slopes = slopes + slope / slope.abs().mean().clamp_min(TINY)
            order = as_normal(first + WEIGHT * slopes / slopes.std().clamp_min(TINY))
            progress((step + 1) / self.steps, f"{self.label}: step {step + 1} of {self.steps}")
        with torch.no_grad():
            masks = cut_at_area(order.expand(len(AREAS), -1, -1), order.new_tensor(AREAS))
            log_kept, log_gone = self._judge(window, contest, masks)
            gains = log_kept.exp() - (1 - log_gone.exp())
            return mask_of_largest_gain(order, gains.unsqueeze(0), EDGE, NEEDED_GAIN)

    def _judge(self, window: AudioState, contest: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Log probability of the prompt in what each mask keeps, and that it is none of what the mask removes.

        Args:
            window: a batch of one.
            contest: (1 + rivals, embed_dim), unit norm, the prompt first.
            mask: (masks, freq, frames).

        Returns:
            (masks,), (masks,).
        """
        rows = torch.zeros(len(mask), dtype=torch.long, device=mask.device)
        parts = encode_parts(self.backend, window, rows, mask, self.domain)
        scores = self.backend.logit_scale.detach() * torch.cat(parts) @ contest.T
        own, others = scores[:, 0], scores[:, 1:].logsumexp(1)
        kept, removed = (own - others).chunk(2)
        return F.logsigmoid(kept), F.logsigmoid(-removed)


def typical_neighbour(embedding: Tensor) -> float:
    """How alike a sentence and its nearest neighbour are, on average: what is more alike counts as the same.

    Models differ in how close they put any two sentences, so no fixed cosine would do.

    Args:
        embedding: (sentences, embed_dim), unit norm.
    """
    alike = embedding @ embedding.T - 2 * torch.eye(len(embedding), device=embedding.device)
    return float(alike.amax(1).mean())


def _apart(window: AudioState) -> AudioState:
    """A copy whose spectra are ordinary tensors, also where the original was made in inference mode."""
    return replace(window, stft=window.stft.detach().clone(), mel_power=window.mel_power.detach().clone())
