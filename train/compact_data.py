"""Clips of the collection for the second compact CLAP: which may be used, their mel power, and how they are varied."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


def mel_decibels(clips: Sequence[CollectionClip], model: Compact2CLAP, cache: Path) -> np.ndarray:
    """Mel power of every clip at its own level, computed once and kept in a file.

    Returns:
        (clips, n_mels, frames) float16, dB re a power of 1, not below -100; memory-mapped.
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
                mel = model.mel_power(power_of(stft(waveform, model.spectral)))
            store[index] = power_to_db(mel[0]).half().numpy()
        store.flush()
        listing.write_text(wanted, "utf-8")  # written last: a listing means a whole cache
    return np.memmap(cache, np.float16, "r", shape=shape)


def mel_power(store: np.ndarray, rows: Tensor) -> Tensor:
    """(rows, n_mels, frames) power of some clips."""
    return 10 ** (torch.from_numpy(store[rows.numpy()].astype(np.float32)) / 10)


def vary(power: Tensor, white: Tensor, generator: torch.Generator) -> Tensor:
    """Other microphones, rooms and moments: shift in time, equalise, add noise, silence before, cut what is high.

    Args:
        power: (batch, n_mels, frames) mel power.
        white: (n_mels,) mel power of white noise of power 1, see `white_bands`.
        generator: source of what is drawn.
    """
    size, bands, frames = power.shape
    power = augment.equalise(augment.time_roll(power, generator), 8.0, generator)
    noisy = torch.rand(size, generator=generator) < 0.25
    if noisy.any():
        power[noisy] = augment.add_noise(power[noisy], 8.0, generator)
    hissing = torch.rand(size, generator=generator) < 0.4
    if hissing.any():
        power[hissing] = add_white(power[hissing], white, generator)
    for row in torch.nonzero(torch.rand(size, generator=generator) < 0.25)[:, 0].tolist():
        late = int(torch.randint(frames // 25, frames // 2, (), generator=generator))
        power[row] = torch.cat([torch.zeros(bands, late), power[row, :, : frames - late]], dim=1)
    # A band limit is no class: clips that end at 8 kHz must not be told from those that don't.
    limited = torch.rand(size, generator=generator) < 0.35
    edge = torch.randint(round(0.55 * bands), round(0.95 * bands), (size,), generator=generator)
    above = limited[:, None] & (torch.arange(bands)[None] > edge[:, None])
    return power.masked_fill(above[:, :, None], 0.0)


def white_bands(model: Compact2CLAP) -> Tensor:
    """(n_mels, 2): mel power of white noise of power 1 in every bin, and bins that a band counts for in the waveform.

    The second column undoes width and pre-emphasis of the bands: with it the power of a waveform follows from its mels.
    """
    filters = model.mel_filters
    plain = htk_filterbank(model.spectral, pre_emphasis=0.0)
    gain = filters.sum(1) / plain.sum(1).clamp_min(1e-6)
    return torch.stack([filters.sum(1), 1 / gain.clamp_min(1e-6)], dim=1)


def add_white(power: Tensor, white: Tensor, generator: torch.Generator) -> Tensor:
    """Add white noise 12 to 40 dB below each clip's power: (batch, n_mels, frames) -> the same.

    Args:
        power: mel power.
        white: of `white_bands`.
        generator: source of what is drawn.
    """
    bands, weights = white.unbind(1)
    ratio = augment.uniform((len(power),), 12.0, 40.0, generator)
    level = (power.mean(dim=2) @ weights) / (bands @ weights) * 10 ** (-ratio / 10)
    fluctuation = -torch.rand(power.shape, generator=generator).clamp_min(1e-6).log()
    return power + level[:, None, None] * bands[:, None] * fluctuation


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


def mixtures(
    store: np.ndarray,
    rows: Tensor,
    weights: Tensor,
    white: Tensor,
    mixed_share: float,
    generator: torch.Generator,
) -> Mixture:
    """Vary clips and mix some of them with others at -8 to 8 dB.

    Args:
        store: of `mel_decibels`.
        rows: (batch,) clips.
        weights: (clips,) how often others are drawn.
        white: of `white_bands`.
        mixed_share: probability of a mixture, in [0, 1].
        generator: source of what is drawn.
    """
    power = vary(mel_power(store, rows), white, generator)
    mixed = torch.rand(len(rows), generator=generator) < mixed_share
    ratio = augment.uniform((len(rows),), -8, 8, generator)
    others = torch.multinomial(weights, len(rows), replacement=True, generator=generator)
    if mixed.any():
        partner = vary(mel_power(store, others[mixed]), white, generator)
        power[mixed] = augment.mix(power[mixed], partner, ratio[mixed])
    share = torch.where(mixed, 0.2 + 0.6 * torch.sigmoid(ratio * 0.23), torch.ones(len(rows)))
    return Mixture(power, rows, torch.where(mixed, others, -1), share)
