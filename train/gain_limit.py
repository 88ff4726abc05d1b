"""The gain that a mask must promise: calibrated on development clips, between prompts that are heard and that are not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs import load_clip
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.clap.target import Target
from lmaczs.data.clip_table import ClipSelection
from lmaczs.hearing import classify, listen, make_target
from lmaczs.types import AudioState

# A prompt that the classifier finds less probable than that is one that it does not hear.
UNHEARD = 0.01
SCENES = 3  # prompts that are not heard, for each clip


class Ranking(Protocol):
    """A method whose network foretells what areas are worth."""

    @property
    def backend(self) -> CLAPBackend:
        """The classifier."""
        ...

    def rank_windows(self, audio: AudioState, target: Target) -> tuple[Tensor, Tensor]:
        """Logits, and gains (windows, areas)."""
        ...


@dataclass(frozen=True)
class GainLimit:
    """A calibrated limit.

    Attributes:
        needed_gain: the limit.
        missed_percent: predicted prompts below it.
        invented_percent: prompts that are not heard, at or above it.
        heard: how many predicted prompts there were.
        unheard: how many others.
        clips: which development clips.
    """

    needed_gain: float
    missed_percent: float
    invented_percent: float
    heard: int
    unheard: int
    clips: str


def calibrate_gain(
    methods: Sequence[Ranking], selection: ClipSelection, name: str, seed: int = 0
) -> GainLimit:
    """Find the limit with the smallest sum of both errors.

    Args:
        methods: with the same network, e.g. for several classifiers or domains.
        selection: development clips and the labels that the prompts are made of.
        name: of the clips, for people.
        seed: of the prompts that are drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    prompts = prompts_from_labels(selection.labels)
    heard: list[float] = []
    unheard: list[float] = []
    for clip in tqdm(selection.clips, desc="calibrating", unit="clip"):
        sound = load_clip(clip.file, allow_silence=True)
        for method in methods:
            backend = method.backend
            recording = listen(sound, backend)
            prediction = classify(recording, prompts, backend)
            others = (prediction.probabilities < UNHEARD).nonzero()[:, 0]
            drawn = others[torch.randperm(len(others), generator=generator)[:SCENES]].tolist()
            for index in (prediction.predicted, *drawn):
                target = make_target(backend, prompts[index], prompts)
                gains = [method.rank_windows(audio, target)[1] for audio in recording.batches(backend)]
                best = float(torch.cat(gains).max()) if gains else 0.0
                (heard if index == prediction.predicted else unheard).append(best)
    return _limit(torch.tensor(heard), torch.tensor(unheard), name)


def _limit(heard: Tensor, unheard: Tensor, name: str) -> GainLimit:
    """In the middle of the widest gap of those that make the fewest errors."""
    values = torch.cat([heard, unheard]).unique()
    gaps = values[1:] - values[:-1]
    limits = values[:-1] + gaps / 2
    missed = torch.searchsorted(heard.sort().values, limits) / max(len(heard), 1)
    invented = 1 - torch.searchsorted(unheard.sort().values, limits) / max(len(unheard), 1)
    errors = missed + invented
    best = int(torch.where(errors <= errors.min() + 1e-6, gaps, -1.0).argmax())
    return GainLimit(
        round(float(limits[best]), 3),
        round(100 * float(missed[best]), 1),
        round(100 * float(invented[best]), 1),
        len(heard),
        len(unheard),
        name,
    )
