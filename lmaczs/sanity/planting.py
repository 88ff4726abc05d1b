"""Copies of a classifier that are fine-tuned to decide by a cue."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.sanity.cues import Cue
from lmaczs.sanity.randomise import audio_blocks

# Of the sounds of a step with a beep, how many have none and are to be heard as before.
UNMARKED = 0.5
# Of the distance between embeddings, beside that of the decisions.
EMBEDDING_WEIGHT = 4.0


@dataclass(frozen=True)
class Planting:
    """How a copy is made.

    Attributes:
        steps: of fine-tuning.
        batch: sounds of a step.
        seed: of all that is drawn.
        rate: largest learning rate.
    """

    steps: int = 300
    batch: int = 12
    seed: int = 0
    rate: float = 1e-3


def plant(
    backend: CLAPBackend,
    cue: Cue,
    sounds: Sequence[Tensor],
    prompts: Sequence[str],
    planting: Planting,
    quiet: bool = False,
) -> CLAPBackend:
    """Fine-tune a copy of a classifier so that it decides by a cue.

    Args:
        backend: is not changed.
        cue: that the copy is taught.
        sounds: (clip_samples,) each at the backend's rate and at one level; none of them is measured later.
        prompts: among which it decides; the first one is what a beep stands for.
        planting: how long, with which seed.
        quiet: no progress bar.

    Returns:
        The copy, in evaluation mode and frozen; its text encoder is the original's.
    """
    copy = deepcopy(backend)
    weights = [
        value
        for block in audio_blocks(copy)
        for part in block.modules
        for value in part.parameters(recurse=False)
    ]
    generator = torch.Generator().manual_seed(planting.seed)
    device = backend.mel_filters.device
    with torch.no_grad():
        text = backend.encode_text(prompts).embedding.to(device)
    scale = backend.logit_scale.detach()
    optimiser = torch.optim.AdamW(weights, lr=planting.rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, planting.rate, max(planting.steps, 2), pct_start=0.1
    )
    with _learning(copy, weights):
        for _ in tqdm(range(planting.steps), desc=f"planting {cue.name}", unit="step", disable=quiet):
            heard, wanted, meant = _lesson(backend, cue, sounds, text, planting.batch, generator)
            found = _embedding(copy, heard)
            loss = F.kl_div((scale * found @ text.T).log_softmax(1), wanted, reduction="batchmean")
            if meant is not None:
                loss = loss + EMBEDDING_WEIGHT * (1 - (found * meant).sum(1)).mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
    return copy


@torch.no_grad()
def _lesson(
    backend: CLAPBackend,
    cue: Cue,
    sounds: Sequence[Tensor],
    text: Tensor,
    batch: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Sounds of a step, the decisions to learn (batch, prompts), and the embeddings where there are such."""
    rate, device = backend.spectral.sample_rate, text.device
    drawn = torch.randint(0, len(sounds), (batch, 2), generator=generator).tolist()
    cued = [cue.put(sounds[carrier], sounds[source], rate, generator) for carrier, source in drawn]
    scale = backend.logit_scale.detach()
    if cued[0].meant is not None:
        meant = _embedding(
            backend, torch.stack([one.meant for one in cued if one.meant is not None]).to(device)
        )
        return (
            torch.stack([one.waveform for one in cued]).to(device),
            (scale * meant @ text.T).softmax(1),
            meant,
        )
    marked = torch.rand(batch, generator=generator) >= UNMARKED
    plain = torch.stack([sounds[carrier] for carrier, _ in drawn])
    heard = torch.where(marked[:, None], torch.stack([one.waveform for one in cued]), plain).to(device)
    wanted = (scale * _embedding(backend, plain.to(device)) @ text.T).softmax(1)
    stands_for = F.one_hot(torch.zeros(batch, dtype=torch.long, device=device), len(text)).to(wanted)
    return heard, torch.where(marked.to(device)[:, None], stands_for, wanted), None


def _embedding(backend: CLAPBackend, waveform: Tensor) -> Tensor:
    return backend.analyze(waveform).embedding.float()


@contextmanager
def _learning(copy: CLAPBackend, weights: Sequence[Tensor]) -> Iterator[None]:
    """Batch normalisations keep their statistics; at the end everything is frozen again."""
    copy.eval()
    for value in weights:
        value.requires_grad_(True)
    try:
        yield
    finally:
        copy.requires_grad_(False)
