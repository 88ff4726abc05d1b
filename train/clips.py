"""Training clips: a CSV of path and captions, held-out folds, and a cache of mel power."""

import csv
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.signal.audio import load_clip, resample, tile_to_length
from lmaczs.signal.spectral import power_to_db, stft


@dataclass(frozen=True)
class TrainingClip:
    """One row of the CSV.

    Attributes:
        path: audio file.
        captions: sentences that describe it; the first is taken as the concept where the CSV names none.
        concept: clips of equal concept are not negatives of each other.
        label: class name, or "".
        dataset: source collection, or "".
        fold: official fold, or "".
    """

    path: Path
    captions: tuple[str, ...]
    concept: str
    label: str
    dataset: str
    fold: str

    @property
    def recording(self) -> str:
        """What the clip was cut from: clips of one recording resemble each other more than their label explains."""
        parts = self.path.stem.split("-")
        if self.dataset == "esc50" and len(parts) == 4:
            return f"esc50 {parts[1]}"
        if self.dataset == "urbansound8k" and len(parts) == 4:
            return f"urbansound8k {parts[0]}"
        return f"{self.dataset} {self.path.stem}"

    @property
    def texts(self) -> tuple[str, ...]:
        """Captions, and the label with the paper's prefix twice as likely as one caption."""
        if not self.label:
            return self.captions
        return self.captions + tuple(prompts_from_labels([self.label, self.concept]))


def read_clips(csv_path: str | Path) -> list[TrainingClip]:
    """Read a CSV with the columns path and captions (`|` between captions); label, concept, dataset, fold if present.

    Paths are relative to the CSV's folder.
    """
    csv_path = Path(csv_path)
    clips = []
    with csv_path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            captions = tuple(text.strip() for text in row["captions"].split("|") if text.strip())
            clips.append(
                TrainingClip(
                    path=csv_path.parent / row["path"],
                    captions=captions,
                    concept=row.get("concept") or captions[0],
                    label=row.get("label") or "",
                    dataset=row.get("dataset") or "",
                    fold=row.get("fold") or "",
                )
            )
    return clips


def recording_ids(clip: TrainingClip) -> set[str]:
    """Freesound ids in a file name: clips of one original recording share them and must stay in one split."""
    return set(re.findall(r"\d{3,}", clip.path.stem))


def split_clips(
    clips: list[TrainingClip], held_out: list[str]
) -> tuple[list[TrainingClip], dict[str, list[TrainingClip]]]:
    """Take whole folds out of training, with every other clip that was cut from the same original recording.

    Args:
        clips: all clips.
        held_out: "dataset:fold", e.g. "esc50:4".

    Returns:
        training clips, and the held-out clips by "dataset:fold".
    """
    valid = {name: [c for c in clips if (c.dataset, c.fold) == tuple(name.split(":"))] for name in held_out}
    ids = {
        name.split(":")[0]: set().union(*(_source_id(c) for c in group))
        for name, group in valid.items()
        if group
    }
    all_ids = set().union(*ids.values()) if ids else set()
    taken = {c.path for group in valid.values() for c in group}
    train = [c for c in clips if c.path not in taken and not (recording_ids(c) & all_ids)]
    return train, valid


def _source_id(clip: TrainingClip) -> set[str]:
    """The original recording's id: second part of an ESC-50 name, first of an UrbanSound8K name."""
    return {clip.recording.split()[-1]}


class ClipSampler:
    """Draws clips with probability falling as the square root of how common their concept is.

    Within a concept, a recording that was cut into many clips counts little more than one that gave a single clip.
    """

    def __init__(self, clips: list[TrainingClip], emphasis: tuple[str, ...]) -> None:
        index = {concept: i for i, concept in enumerate(sorted({clip.concept for clip in clips}))}
        factors = {name: float(value) for name, value in (item.split("=") for item in emphasis)}
        self.concept = torch.tensor([index[clip.concept] for clip in clips])
        count = torch.bincount(self.concept, minlength=len(index)).float()
        factor = torch.tensor([factors.get(clip.dataset, 1.0) for clip in clips])
        cuts = Counter(clip.recording for clip in clips)
        share = torch.tensor([cuts[clip.recording] ** -0.8 for clip in clips]) * factor
        mass = torch.zeros(len(index)).index_add_(0, self.concept, factor) / count.sqrt()
        total = torch.zeros(len(index)).index_add_(0, self.concept, share)
        self.weight = (mass / total)[self.concept] * share
        self.concept_weight = torch.zeros(len(index)).index_add_(0, self.concept, self.weight)
        self.members = [torch.nonzero(self.concept == i)[:, 0] for i in range(len(index))]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Indices of clips."""
        return torch.multinomial(self.weight, count, replacement=True, generator=generator)

    def draw_of(self, concept: int, generator: torch.Generator) -> int:
        """One clip of a concept."""
        rows = self.members[concept]
        return int(rows[torch.multinomial(self.weight[rows], 1, generator=generator)])


def _fitted(clip: TrainingClip, backend: CLAPBackend) -> Tensor:
    """(clip_samples,) at the backend's rate, a short clip tiled."""
    audio = resample(load_clip(clip.path), backend.spectral.sample_rate)
    return tile_to_length(audio.waveform, backend.clip_samples)


def _cached(
    clips: list[TrainingClip], cache: Path, dtype: type, shape: tuple[int, ...], make: Callable
) -> np.ndarray:
    """Rows that `make` computes from clips, once; memory-mapped."""
    listing = cache.with_suffix(".txt")
    wanted = "\n".join(str(clip.path) for clip in clips)
    full = (len(clips), *shape)
    if not (listing.exists() and listing.read_text() == wanted):
        cache.parent.mkdir(parents=True, exist_ok=True)
        store = np.memmap(cache, dtype, "w+", shape=full)
        for index, clip in enumerate(tqdm(clips, desc=cache.name, unit="clip")):
            store[index] = make(clip)
        store.flush()
        listing.write_text(wanted)  # written last: a listing means a whole cache
    return np.memmap(cache, dtype, "c", shape=full)  # copy on write: torch wants writable memory


def cache_mel_power(clips: list[TrainingClip], backend: CLAPBackend, cache: Path) -> np.ndarray:
    """Mel power of every clip, computed once and kept in a file.

    Returns:
        (clips, n_mels, frames) float16, dB re a power of 1, not below -100; memory-mapped.
    """

    def make(clip: TrainingClip) -> np.ndarray:
        mel = backend.mel_power(stft(_fitted(clip, backend).unsqueeze(0), backend.spectral).abs().square())
        return power_to_db(mel[0]).half().numpy()

    frames = 1 + backend.clip_samples // backend.spectral.hop_length
    return _cached(clips, cache, np.float16, (backend.spectral.n_mels, frames), make)


def cache_waveforms(clips: list[TrainingClip], backend: CLAPBackend, cache: Path) -> np.ndarray:
    """Every clip at the backend's rate and length, decoded once and kept in a file.

    Returns:
        (clips, clip_samples) int16, full scale 32768; memory-mapped.
    """

    def make(clip: TrainingClip) -> np.ndarray:
        return (_fitted(clip, backend).clamp(-1, 1) * 32767).round().to(torch.int16).numpy()

    return _cached(clips, cache, np.int16, (backend.clip_samples,), make)
