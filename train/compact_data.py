"""Clips of the collection for the second compact CLAP: which may be used, their mel power, and how they are varied."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.compact2 import Compact2CLAP
from lmaczs.clap.htk_mel import htk_filterbank
from lmaczs.errors import DatasetError
from lmaczs.signal.audio import load_clip, resample, tile_to_length
from lmaczs.signal.spectral import power_of, power_to_db, stft
from train import augment

# Mel power of clips in dB: a file on the disk, or a tensor on the device that trains.
Store: TypeAlias = np.ndarray | Tensor
NEVER = ("esc50", "urbansound8k")  # measured with, and so never trained on
DEVELOPMENT = {"esc50": "4", "urbansound8k": "3"}  # folds to choose by


@dataclass(frozen=True)
class CollectionClip:
    """A row of the collection's table.

    Attributes:
        path: audio file.
        dataset: collection that it comes from.
        concept: what is heard; clips of equal concept are not negatives of each other.
        label: class name of the dataset, or "".
        sentences: that describe it, the concept among them.
        licence: as the table has it.
        source: repository that it comes from, as the table has it.
    """

    path: Path
    dataset: str
    concept: str
    label: str
    sentences: tuple[str, ...]
    licence: str
    source: str


def training_rows(table: Path) -> list[CollectionClip]:
    """Clips that the shipped weights may be trained on: of the training split, open, and no copy of a test recording.

    Raises:
        DatasetError: the table lacks the columns that say so, or names no such clip.
    """
    rows = _rows(table)
    found = [
        _clip(row, table.parent)
        for row in rows
        if row["split"] == "train"
        and row["open"] == "yes"
        and not row["overlap"]
        and row["dataset"] not in NEVER
    ]
    if not found:
        raise DatasetError(
            f"'{table.name}' names no open training clip: give the table of the whole collection."
        )
    return found


def development_rows(table: Path) -> dict[str, list[CollectionClip]]:
    """Clips of the development folds, by "dataset:fold"; empty where the table has none."""
    rows = _rows(table)
    return {
        f"{dataset}:{fold}": [
            _clip(row, table.parent) for row in rows if (row["dataset"], row["fold"]) == (dataset, fold)
        ]
        for dataset, fold in DEVELOPMENT.items()
    }


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        raise DatasetError(f"The table '{table.name}' cannot be read: check its name and folder.") from None
    needed = {
        "path",
        "dataset",
        "fold",
        "label",
        "concept",
        "captions",
        "licence",
        "source",
        "split",
        "open",
        "overlap",
    }
    if missing := sorted(needed - set(rows[0] if rows else ())):
        raise DatasetError(
            f"'{table.name}' has no column '{missing[0]}': give the table of the whole collection."
        )
    return rows


def _clip(row: dict[str, str], folder: Path) -> CollectionClip:
    captions = [caption for caption in re.split(r"\s*\|\s*", row["captions"]) if caption]
    sentences = tuple(dict.fromkeys([*captions, row["concept"]]))
    return CollectionClip(
        folder / row["path"],
        row["dataset"],
        row["concept"],
        row["label"],
        sentences,
        row["licence"],
        row["source"],
    )


def mel_decibels(
    clips: Sequence[CollectionClip], model: Compact2CLAP, cache: Path, device: torch.device
) -> Store:
    """Mel power of every clip at its own level, computed once and kept in a file.

    Args:
        clips: recordings.
        model: whose front end hears them.
        cache: file.
        device: that trains; one that is no CPU holds all of it in its memory.

    Returns:
        (clips, n_mels, frames) float16, dB re a power of 1, not below -100; memory-mapped on a CPU.
    """
    listing = cache.with_suffix(".txt")
    wanted = "\n".join(str(clip.path) for clip in clips)
    frames = 1 + model.clip_samples // model.spectral.hop_length
    shape = (len(clips), model.spectral.n_mels, frames)
    if not (listing.exists() and listing.read_text("utf-8") == wanted):
        cache.parent.mkdir(parents=True, exist_ok=True)
        store = np.memmap(cache, np.float16, "w+", shape=shape)
        for index, clip in enumerate(tqdm(clips, desc=cache.name, unit="clip")):
            audio = resample(load_clip(clip.path, allow_silence=True), model.spectral.sample_rate)
            waveform = tile_to_length(audio.waveform, model.clip_samples).unsqueeze(0)
            with torch.no_grad():
                mel = model.mel_power(power_of(stft(waveform.to(model.mel_filters.device), model.spectral)))
            store[index] = power_to_db(mel[0]).half().cpu().numpy()
        store.flush()
        listing.write_text(wanted, "utf-8")  # written last: a listing means a whole cache
    stored = np.memmap(cache, np.float16, "r", shape=shape)
    return stored if device.type == "cpu" else torch.from_numpy(np.array(stored)).to(device)


def mel_power(store: Store, rows: Tensor) -> Tensor:
    """(rows, n_mels, frames) power of some clips, on the device of `rows`."""
    decibels = store[rows] if isinstance(store, Tensor) else torch.from_numpy(store[rows.cpu().numpy()])
    return 10 ** (decibels.to(rows.device).float() / 10)


def vary(power: Tensor, white: Tensor, noise_db: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Other microphones, rooms and moments: shift in time, equalise, add noise, silence before, cut what is high.

    Args:
        power: (batch, n_mels, frames) mel power.
        white: of `white_bands`.
        noise_db: least and largest distance of white noise below a clip, dB.
        generator: source of what is drawn.
    """
    size, bands, frames = power.shape
    power = augment.equalise(augment.time_roll(power, generator), 8.0, generator)
    noisy, hissing, late, limited = augment.uniform((4, size), 0, 1, generator) < torch.tensor(
        [[0.25], [0.4], [0.25], [0.35]], device=power.device
    )
    power = torch.where(noisy[:, None, None], augment.add_noise(power, 8.0, generator), power)
    power = torch.where(hissing[:, None, None], add_white(power, white, noise_db, generator), power)
    power = delay(power, torch.where(late, augment.uniform((size,), 0.04, 0.5, generator), 0.0))
    # A band limit is no class: clips that end at 8 kHz must not be told from those that don't.
    edge = augment.uniform((size,), 0.55, 0.95, generator) * bands
    above = limited[:, None] & (torch.arange(bands, device=power.device)[None] > edge[:, None])
    return power.masked_fill(above[:, :, None], 0.0)


def delay(power: Tensor, shares: Tensor) -> Tensor:
    """Put silence before the sound, and cut what no longer fits: (batch, n_mels, frames) -> the same.

    Args:
        power: mel power.
        shares: (batch,) of the window that is silent, in [0, 1].
    """
    frames = power.shape[2]
    index = torch.arange(frames, device=power.device)[None] - (shares * frames).long()[:, None]
    moved = power.gather(2, index.clamp_min(0)[:, None].expand_as(power))
    return moved.masked_fill((index < 0)[:, None], 0.0)


def white_bands(model: Compact2CLAP) -> Tensor:
    """(n_mels, 2): mel power of white noise of power 1 in every bin, and bins that a band counts for in the waveform.

    The second column undoes width and pre-emphasis of the bands: with it the power of a waveform follows from its mels.
    """
    filters = model.mel_filters
    plain = htk_filterbank(model.spectral, pre_emphasis=0.0).to(filters.device)
    gain = filters.sum(1) / plain.sum(1).clamp_min(1e-6)
    return torch.stack([filters.sum(1), 1 / gain.clamp_min(1e-6)], dim=1)


def add_white(
    power: Tensor, white: Tensor, noise_db: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Add white noise below each clip's power: (batch, n_mels, frames) -> the same.

    Args:
        power: mel power.
        white: of `white_bands`.
        noise_db: least and largest distance below the clip, dB.
        generator: source of what is drawn.
    """
    bands, weights = white.unbind(1)
    ratio = augment.uniform((len(power),), *noise_db, generator)
    level = (power.mean(dim=2) @ weights) / (bands @ weights) * 10 ** (-ratio / 10)
    return power + level[:, None, None] * bands[:, None] * augment.noise_power(power.shape, generator)


@dataclass(frozen=True)
class Mixture:
    """Varied clips, some of them mixed in pairs.

    Attributes:
        power: (batch, n_mels, frames) mel power.
        first: (batch,) rows of the louder or only clip.
        second: (batch,) rows of the other one, -1 for none.
        share: (batch,) of the first one in what is heard, in [0.2, 1].
    """

    power: Tensor
    first: Tensor
    second: Tensor
    share: Tensor


@dataclass(frozen=True)
class Variation:
    """What is drawn for a batch, beside the clips.

    Attributes:
        weights: (clips,) how often a clip is drawn as the second one of a mixture.
        white: of `white_bands`.
        noise_db: least and largest distance of white noise below a clip, dB.
        mixed_share: probability of a mixture, in [0, 1].
    """

    weights: Tensor
    white: Tensor
    noise_db: tuple[float, float]
    mixed_share: float


def mixtures(store: Store, rows: Tensor, variation: Variation, generator: torch.Generator) -> Mixture:
    """Vary clips and mix some of them with others at -8 to 8 dB.

    Args:
        store: of `mel_decibels`.
        rows: (batch,) clips.
        variation: what is drawn.
        generator: source of what is drawn, on the device of `rows`.
    """
    size, white, noise_db = len(rows), variation.white, variation.noise_db
    power = vary(mel_power(store, rows), white, noise_db, generator)
    mixed = augment.uniform((size,), 0, 1, generator) < variation.mixed_share
    ratio = augment.uniform((size,), -8, 8, generator)
    others = torch.multinomial(variation.weights, size, replacement=True, generator=generator)
    if mixed.any():
        partner = vary(mel_power(store, others[mixed]), white, noise_db, generator)
        power[mixed] = augment.mix(power[mixed], partner, ratio[mixed])
    share = torch.where(mixed, 0.2 + 0.6 * torch.sigmoid(ratio * 0.23), 1.0)
    return Mixture(power, rows, torch.where(mixed, others, -1), share)
