"""The objective of LMAC-ZS fitted to one clip: a mask for any CLAP, without a trained decoder.

What is kept must be recognised as the prompt among rival sentences, what is removed must not, at a share of cells given
from outside (see `lmaczs.explainers.lmac_zs.loss.contrast_loss`). In the decoder's place stands what its last layer
puts out: smooth maps that say how much a cell's place, its loudness and its contrast with its neighbours count. They
are fitted by gradient descent, through the sound in the "stft" domain: judged is what can be heard.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lmaczs.clap.hooks import evaluation_mode
from lmaczs.clap.target import Target
from lmaczs.explainers.areas import AREAS, cut_at_area, mask_of_largest_gain
from lmaczs.explainers.base import FORWARD_AND_BACKWARD, MethodEntry, WindowMaps, WindowMethod
from lmaczs.explainers.details import DETAILS, details
from lmaczs.explainers.gradients import grid_power
from lmaczs.explainers.lmac_zs.loss import HOPELESS, encode_masked
from lmaczs.explainers.options import check_whole
from lmaczs.explainers.perturbing import to_grid
from lmaczs.signal.masking import resize_mask
from lmaczs.signal.spectral import power_to_db
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
STEP_AREAS = ((0.05, 0.2), (0.1, 0.3), (0.02, 0.1))
LEARNING_RATE = 0.15
# Mel bands and frames that share one value of a smooth map.
COARSE = (4, 8)
# Softness of the mask's edge when it is heard.
EDGE = 0.5
# Gain that the best mask must reach; measured here, and not as a decoder estimates it.
NEEDED_GAIN = 0.41


@dataclass(frozen=True, eq=False)
class OptimizedMask(WindowMethod):
    """Fits the mask that brings the prompt out of this one clip.

    Slower than a trained decoder by the number of steps, and free to find what moves this model for this clip, where a
    decoder has learned what holds for many. The prompt competes with the target's rivals; where it has none, with
    everyday sounds that the model does not take for the same.

    Attributes:
        steps: of gradient descent, 1 or more, each of them four encoder passes there and back.
    """

    entry = MethodEntry(
        "optimized-mask",
        "Optimised mask",
        "after Fong and Vedaldi 2017, with LMAC-ZS's objective",
        "Searches for the mask that brings the prompt out of this one sound.",
    )
    steps: int = 60

    def __post_init__(self) -> None:
        """Check the options."""
        check_whole("steps", self.steps)

    def passes(self) -> float:
        """See `Method.passes`: each step hears what is kept and what is removed at two areas."""
        return 4 * FORWARD_AND_BACKWARD * self.steps + 2 * len(AREAS)

    def map_windows(self, audio: AudioState, target: Target, progress: Progress = no_progress) -> WindowMaps:
        """See `WindowMethod.map_windows`."""
        masks, evidence, count = [], [], len(audio.waveform)
        with torch.inference_mode(False), torch.enable_grad(), evaluation_mode(self.backend):
            contest = self._contest(target)
            for row in range(count):
                report = part_of(progress, row / count, (row + 1) / count)
                mask, present = self._fit(_apart(audio[row : row + 1]), contest, report)
                masks.append(mask)
                evidence.append(present)
        return WindowMaps(torch.cat(masks), torch.cat(evidence))

    def _contest(self, target: Target) -> Tensor:
        """(1 + rivals, embed_dim): the prompt first, then what it competes with."""
        own, others = target.embedding.unsqueeze(0), target.rival_embeddings
        if not len(others):
            others = self.backend.encode_text(self.backend.labels or EVERYDAY).embedding
            alike = (others @ own.T)[:, 0]
            others = others[alike <= max(typical_neighbour(others), float(alike.min()))]
        return torch.cat([own, others]).detach().clone()

    def _fit(self, window: AudioState, contest: Tensor, progress: Progress) -> tuple[Tensor, Tensor]:
        """One window's mask (1, freq, frames), and whether anything speaks for the prompt (1,)."""
        cells = details(power_to_db(grid_power(window, self.domain)))
        _, rows, frames = window.mel_power.shape
        start = window.mel_power.new_zeros(1 + DETAILS, -(-rows // COARSE[0]), -(-frames // COARSE[1]))
        start[1] = 0.5  # loud cells first, until the model says otherwise
        maps = start.requires_grad_(True)
        optimiser = torch.optim.Adam([maps], lr=LEARNING_RATE)

        def logits() -> Tensor:
            parts = to_grid(self.backend, resize_mask(maps, rows, frames), self.domain)
            return parts[:1] + (parts[1:] * cells[0]).sum(0, keepdim=True)

        for step in range(self.steps):
            area = torch.tensor(STEP_AREAS[step % len(STEP_AREAS)], device=maps.device)
            log_kept, log_gone = self._judge(window, contest, logits(), area)
            loss = -(log_kept.exp() + HOPELESS).log().mean() - log_gone.mean()
            (maps.grad,) = torch.autograd.grad(loss, maps)
            optimiser.step()
            progress((step + 1) / self.steps, f"{self.label}: step {step + 1} of {self.steps}")
        with torch.no_grad():
            final = logits()
            log_kept, log_gone = self._judge(window, contest, final, torch.tensor(AREAS, device=maps.device))
            gains = log_kept.exp() - (1 - log_gone.exp())
            return mask_of_largest_gain(final, gains.unsqueeze(0), EDGE, NEEDED_GAIN)

    def _judge(
        self, window: AudioState, contest: Tensor, logits: Tensor, area: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log probability of the prompt in what is kept, and that it is none of what is removed, at each area.

        Args:
            window: a batch of one.
            contest: (1 + rivals, embed_dim), unit norm, the prompt first.
            logits: (1, freq, frames).
            area: (areas,) shares of cells.

        Returns:
            (areas,), (areas,).
        """
        mask = cut_at_area(logits.expand(len(area), -1, -1), area)
        rows = torch.zeros(2 * len(area), dtype=torch.long, device=area.device)
        both = torch.cat([mask, 1 - mask])
        embedding = encode_masked(self.backend, window, rows, both, self.domain)
        scores = self.backend.logit_scale.detach() * embedding @ contest.T
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
