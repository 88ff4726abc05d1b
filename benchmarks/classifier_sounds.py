"""Sounds and conditions for `benchmarks/classifier.py`: which clips, changed in which way."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from lmaczs.signal.audio import load_clip

TEST = {"esc50": ("1", "2", "3"), "urbansound8k": ("1", "2")}
DEVELOPMENT = {"esc50": ("4",), "urbansound8k": ("3",)}
TITLES = {"esc50": "ESC-50", "urbansound8k": "UrbanSound8K"}
KILOBITS = 96


@dataclass(frozen=True)
class Sound:
    """A clip of a test set.

    Attributes:
        path: as the table has it.
        label: with spaces.
        waveform: (samples,) at `rate`.
        rate: Hz.
    """

    path: str
    label: str
    waveform: Tensor
    rate: int

    def at(self, rate: int) -> Tensor:
        """(samples,) at another rate."""
        if rate == self.rate:
            return self.waveform
        return torch.from_numpy(soxr.resample(self.waveform.numpy(), self.rate, rate))


def read_sounds(table: Path, dataset: str, folds: Sequence[str], limit: int = 0) -> list[Sound]:
    """Clips of some folds.

    Args:
        table: CSV of path, dataset, fold and label.
        dataset: key.
        folds: official ones.
        limit: every n-th clip, so that about so many are left; 0 takes all.
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == dataset and row["fold"] in folds]
    step = max(1, len(rows) // limit) if limit else 1
    found = []
    for row in rows[::step]:
        clip = load_clip(table.parent / row["path"], allow_silence=True)
        label = row["label"].replace("_", " ")
        found.append(Sound(row["path"], label, clip.waveform, clip.sample_rate))
    return found


def gain(decibels: float) -> Callable[[Tensor, int], Tensor]:
    """Louder or quieter, not clipped: what is asked is whether the level itself matters."""
    return lambda waveform, rate: waveform * 10 ** (decibels / 20)


def low_pass(waveform: Tensor, rate: int) -> Tensor:
    """Nothing above 8 kHz: to 16 kHz and back."""
    if rate <= 16000:
        return waveform
    narrow = soxr.resample(soxr.resample(waveform.numpy(), rate, 16000), 16000, rate)
    return _as_long(torch.from_numpy(narrow), len(waveform))


def mp3(waveform: Tensor, rate: int) -> Tensor:
    """Through an mp3 file of 96 kbit/s; slow rates have no such rate of bits, and go through 44.1 kHz."""
    if rate < 32000:
        fast = torch.from_numpy(soxr.resample(waveform.numpy(), rate, 44100))
        return _as_long(torch.from_numpy(soxr.resample(mp3(fast, 44100).numpy(), 44100, rate)), len(waveform))
    file = io.BytesIO()
    peak = float(waveform.abs().max().clamp_min(1.0))
    level = (320 - KILOBITS) / (320 - 32)  # libsndfile's scale from 320 to 32 kbit/s
    soundfile.write(
        file, (waveform / peak).numpy(), rate, format="MP3", compression_level=level, bitrate_mode="CONSTANT"
    )
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return _as_long(torch.from_numpy(decoded) * peak, len(waveform))


def white_noise(waveform: Tensor, rate: int) -> Tensor:
    """White noise 20 dB below the clip's mean power."""
    generator = torch.Generator().manual_seed(len(waveform))
    noise = torch.randn(len(waveform), generator=generator)
    return waveform + noise * waveform.square().mean().sqrt() * 10 ** (-20 / 20)


def silence_before(waveform: Tensor, rate: int) -> Tensor:
    """A second of silence first, and so a recording that is a second longer."""
    return torch.cat([torch.zeros(rate), waveform])


def _as_long(waveform: Tensor, samples: int) -> Tensor:
    return torch.nn.functional.pad(waveform[:samples], (0, max(0, samples - len(waveform))))


# Condition, how a clip is changed, and how many top prompts may change at most, in percent.
CONDITIONS: tuple[tuple[str, Callable[[Tensor, int], Tensor], float], ...] = (
    ("12 dB quieter", gain(-12), 1),
    ("12 dB louder", gain(12), 1),
    ("low-pass 8 kHz", low_pass, 8),
    ("mp3, 96 kbit/s", mp3, 3),
    ("white noise, 20 dB", white_noise, 10),
    ("a second of silence before", silence_before, 3),
)


def pairs(sounds: Sequence[Sound], seed: int = 0) -> list[tuple[int, int]]:
    """Each clip once with another one of another label, in an order that the seed gives."""
    order = np.random.default_rng(seed).permutation(len(sounds)).tolist()
    found = []
    while len(order) > 1:
        first = order.pop()
        other = next((place for place in order if sounds[place].label != sounds[first].label), None)
        if other is None:
            break
        order.remove(other)
        found.append((first, other))
    return found


def mixed(first: Sound, second: Sound, rate: int) -> Tensor:
    """Both at the same mean power, the shorter one tiled: (samples,)."""
    one, two = first.at(rate), second.at(rate)
    length = max(len(one), len(two))
    one, two = (part.repeat(-(-length // len(part)))[:length] for part in (one, two))
    power = [part.square().mean().sqrt().clamp_min(1e-6) for part in (one, two)]
    return one / power[0] * 0.1 + two / power[1] * 0.1
