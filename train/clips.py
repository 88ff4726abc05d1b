"""Training clips: from datasets, a CSV or shards; held-out folds; and caches of what is computed from them once."""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.data.clip_csv import list_csv
from lmaczs.data.clips import Clip, Listing
from lmaczs.data.registry import list_selection
from lmaczs.data.shards import list_shards, load_dataset_clip
from lmaczs.data.tables import read_table
from lmaczs.errors import DatasetError
from lmaczs.signal.audio import resample, tile_to_length
from lmaczs.signal.spectral import power_to_db, stft

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class TrainingClip:
    """A recording and what is said of it.

    Attributes:
        path: audio file; unique.
        captions: sentences that describe it; the first is taken as the concept where the CSV names none.
        concept: clips of equal concept are not negatives of each other.
        label: class name, or "".
        dataset: source collection, or "".
        fold: official fold or split, or "".
        source: where the recording lies, and what it was cut from.
    """

    path: Path
    captions: tuple[str, ...]
    concept: str
    label: str
    dataset: str
    fold: str
    source: Clip

    @property
    def recording(self) -> str:
        """What the clip was cut from: clips of one recording resemble each other more than their label explains."""
        return (
            f"{self.dataset} {self.source.original.split()[-1] if self.source.original else self.path.stem}"
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """Captions, and the label with the paper's prefix twice as likely as one caption."""
        if not self.label:
            return self.captions
        return self.captions + tuple(prompts_from_labels([self.label, self.concept]))


def read_clips(source: str | Path) -> list[TrainingClip]:
    """Clips of a CSV (`lmaczs.data.clip_csv`), or of WebDataset shards: a .tar file, or a folder of some.

    Raises:
        DatasetError: it cannot be read, or names no recording that is there.
    """
    source = Path(source)
    shards = source.suffix == ".tar" or source.is_dir()
    return _usable(list_shards(source) if shards else list_csv(source), source.name)


def training_clips(clips: str, datasets: str = "", data_dir: str = "") -> list[TrainingClip]:
    """Everything that `--clips` and `--datasets` ask for.

    Args:
        clips: CSV or shards, or "".
        datasets: preset or keys, as `lmaczs.data.registry.list_selection`, or "".
        data_dir: folder that the datasets lie in.

    Raises:
        DatasetError: something of it is not there.
    """
    found = read_clips(clips) if clips else []
    if datasets:
        found += _usable(list_selection(datasets, data_dir), datasets)
    return found


def _usable(listing: Listing, name: str) -> list[TrainingClip]:
    """Clips to train on; what had to be left out is told once."""
    if listing.bad_rows:
        tqdm.write(f"{name}: {len(listing.bad_rows)} rows are left out, the first is {listing.bad_rows[0]}")
    if listing.missing:
        tqdm.write(
            f"{name}: {len(listing.missing)} recordings are not there, the first is {listing.missing[0]}"
        )
    if not listing.clips:
        raise DatasetError(
            f"'{name}' names no recording that is there: 'python -m lmaczs datasets check' tells what is missing."
        )
    return [training_clip(clip) for clip in listing.clips]


def training_clip(clip: Clip) -> TrainingClip:
    """A dataset's clip with what training needs; where it has no captions, its labels become sentences."""
    captions = clip.captions or (tuple(prompts_from_labels(clip.labels)) if clip.labels else ())
    names = (clip.concept, *clip.captions, clip.label, *captions)
    return TrainingClip(
        path=clip.file / clip.path if clip.size else clip.file,
        captions=captions,
        concept=next((name for name in names if name), ""),
        label=clip.label,
        dataset=clip.dataset,
        fold=clip.split.removeprefix("fold "),
        source=clip,
    )


def only_open(clips: list[TrainingClip], table: str) -> list[TrainingClip]:
    """Clips that shipped weights may be trained on, where a table has the columns split, open and overlap; else all.

    Args:
        clips: of the table, and perhaps others.
        table: `--clips` of a training; "" or shards say nothing.

    Raises:
        DatasetError: none is left.
    """
    file = Path(table)
    content = read_table(file, file.name) if table and file.is_file() and file.suffix != ".tar" else None
    if content is None or content.lacking(("split", "open", "overlap")):
        return clips
    closed = {
        str(PurePosixPath(row["path"]))
        for row in content.rows
        if row["split"] != "train" or row["open"] != "yes" or row["overlap"]
    }
    found = [clip for clip in clips if clip.source.path not in closed]
    if not found:
        raise DatasetError(
            f"'{file.name}' names no open training clip: its columns split, open and overlap leave every row out."
        )
    return found


def recording_ids(clip: TrainingClip) -> set[str]:
    """Freesound ids that a dataset or a file name tells: clips of one recording share them and stay in one split."""
    return set(re.findall(r"\d{3,}", clip.path.stem)) | _source_id(clip)


def split_clips(
    clips: list[TrainingClip], held_out: list[str]
) -> tuple[list[TrainingClip], dict[str, list[TrainingClip]]]:
    """Take whole folds out of training, with every other clip that was cut from the same original recording.

    Args:
        clips: all clips.
        held_out: "dataset:fold", e.g. "esc50:4"; several folds of a dataset, too.

    Returns:
        training clips, and the held-out clips by "dataset:fold".

    Raises:
        DatasetError: there is no such fold among the clips.
    """
    folds: dict[str, list[TrainingClip]] = {}
    for clip in clips:
        folds.setdefault(f"{clip.dataset}:{clip.fold}", []).append(clip)
    if unknown := [name for name in held_out if name not in folds]:
        known = ", ".join(sorted(name for name in folds if not name.endswith(":"))[:12]) or "none"
        raise DatasetError(
            f"--hold-out is '{unknown[0]}', and no clip is of that dataset and fold: choose from {known}."
        )
    valid = {name: folds[name] for name in held_out}
    ids = {number for group in valid.values() for clip in group for number in _source_id(clip)}
    taken = {clip.path for group in valid.values() for clip in group}
    train = [clip for clip in clips if clip.path not in taken and not (recording_ids(clip) & ids)]
    return train, valid


def _source_id(clip: TrainingClip) -> set[str]:
    """The original recording's id, or the file's name where it is not known."""
    return {clip.source.original.split()[-1] if clip.source.original else clip.path.stem}


def emphasis_of(clips: list[TrainingClip], emphasis: tuple[str, ...]) -> Tensor:
    """How much more often than others each clip is drawn: (clips,).

    Args:
        clips: to draw from.
        emphasis: "dataset=factor" or "dataset:label=factor"; a label counts before its dataset.

    Raises:
        DatasetError: an item has another form, a factor is not above 0, or no clip is what it names.
    """
    names = [(f"{clip.dataset}:{clip.label}", clip.dataset) for clip in clips]
    factors = {}
    for item in emphasis:
        name, _, value = item.rpartition("=")
        try:
            factors[name] = float(value)
        except ValueError:
            factors[name] = math.nan
        if not 0 < factors[name] < math.inf or not any(name in both for both in names):
            raise DatasetError(
                f"--emphasis is '{item}': use dataset=factor or dataset:label=factor, with a factor above 0 and a "
                "dataset and label that the clips have."
            )
    return torch.tensor([factors.get(label, factors.get(dataset, 1.0)) for label, dataset in names])


class ClipSampler:
    """Draws clips with probability falling as the square root of how common their concept is.

    Within a concept, a recording that was cut into many clips counts little more than one that gave a single clip.
    """

    def __init__(self, clips: list[TrainingClip], emphasis: tuple[str, ...]) -> None:
        index = {concept: i for i, concept in enumerate(sorted({clip.concept for clip in clips}))}
        self.concept = torch.tensor([index[clip.concept] for clip in clips])
        count = torch.bincount(self.concept, minlength=len(index)).float()
        factor = emphasis_of(clips, emphasis)
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
    audio = resample(load_dataset_clip(clip.source, allow_silence=True), backend.spectral.sample_rate)
    return tile_to_length(audio.waveform, backend.clip_samples)


def _cached(
    clips: list[TrainingClip],
    cache: Path,
    dtype: type,
    shape: tuple[int, ...],
    make: Callable[[TrainingClip], Array],
) -> Array:
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
        # Written last: a listing means a whole cache.
        listing.write_text(wanted)
    # Copy on write: torch wants writable memory.
    return np.memmap(cache, dtype, "c", shape=full)


def cache_mel_power(clips: list[TrainingClip], backend: CLAPBackend, cache: Path) -> Array:
    """Mel power of every clip, computed once and kept in a file.

    Returns:
        (clips, n_mels, frames) float16, dB re a power of 1, not below -100; memory-mapped.
    """

    def make(clip: TrainingClip) -> Array:
        mel = backend.mel_power(stft(_fitted(clip, backend).unsqueeze(0), backend.spectral).abs().square())
        return power_to_db(mel[0]).half().numpy()

    frames = 1 + backend.clip_samples // backend.spectral.hop_length
    return _cached(clips, cache, np.float16, (backend.spectral.n_mels, frames), make)


def cache_waveforms(clips: list[TrainingClip], backend: CLAPBackend, cache: Path, group: str) -> Array:
    """Every clip at the backend's rate and length, decoded once and kept in a file.

    Args:
        clips: in the order of the rows.
        backend: names the file too, as another one has another rate and length.
        cache: folder.
        group: names the file: GROUP-BACKEND.i16.

    Returns:
        (clips, clip_samples) int16, full scale 32768; memory-mapped.
    """

    def make(clip: TrainingClip) -> Array:
        return (_fitted(clip, backend).clamp(-1, 1) * 32767).round().to(torch.int16).numpy()

    # A classifier of the hub has a slash in its name.
    file = cache / f"{group}-{backend.name.replace('/', '-')}.i16"
    return _cached(clips, file, np.int16, (backend.clip_samples,), make)
