"""Sounds and sentences for the universal decoder: all clips in memory, on the device that trains."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.signal.audio import load_clip, resample, tile_to_length
from lmaczs.signal.mixing import add_at_gain
from train import augment
from train.compact_data import CollectionClip
from train.compact_texts import ConceptTexts

RATE, SECONDS = 32000, 5
MIXED_DB = 6.0


def cache_waveforms(clips: Sequence[CollectionClip], cache: Path) -> np.ndarray:
    """Every clip at RATE, tiled or cut to SECONDS, decoded once and kept in a file: (clips, samples) int16."""
    listing, wanted = cache.with_suffix(".txt"), "\n".join(str(clip.path) for clip in clips)
    shape = (len(clips), RATE * SECONDS)
    if not (listing.exists() and listing.read_text("utf-8") == wanted):
        cache.parent.mkdir(parents=True, exist_ok=True)
        store = np.memmap(cache, np.int16, "w+", shape=shape)
        for index, clip in enumerate(tqdm(clips, desc=cache.name, unit="clip")):
            audio = resample(load_clip(clip.path, allow_silence=True), RATE)
            waveform = tile_to_length(audio.waveform, shape[1]).clamp(-1, 1)
            store[index] = (waveform * 32767).round().short().numpy()
        store.flush()
        listing.write_text(wanted, "utf-8")  # written last: a listing means a whole cache
    return np.memmap(cache, np.int16, "r", shape=shape)


def at_rate(waveform: Tensor, rate: int) -> Tensor:
    """Windows of SECONDS at another rate, without aliasing: (windows, samples) -> (windows, rate * SECONDS).

    Through the spectrum of the whole window, on its device; the ends of a window run into each other.
    """
    count = rate * SECONDS
    if waveform.shape[1] == count:
        return waveform
    spectrum = torch.fft.rfft(waveform)[:, : count // 2 + 1]
    found: Tensor = torch.fft.irfft(spectrum, n=count)
    return found * (count / waveform.shape[1])


class Sounds:
    """Clips with what is said of them.

    Attributes:
        texts: sentences of the concepts.
        concept_of: (clips,).
    """

    def __init__(
        self, clips: Sequence[CollectionClip], store: np.ndarray, texts: ConceptTexts, device: torch.device
    ) -> None:
        """Bring all to the device.

        Args:
            clips: whose concepts the sentences describe.
            store: of `cache_waveforms`.
            texts: sentences.
            device: that trains.
        """
        self.waveforms = torch.from_numpy(np.array(store)).to(device)
        self.texts, self.device = texts, device
        place = {concept: number for number, concept in enumerate(texts.concepts)}
        self.concept_of = torch.tensor([place[clip.concept] for clip in clips], device=device)
        self._weights = torch.bincount(self.concept_of).float().rsqrt()[self.concept_of]

    def draw(
        self, count: int, mixed_share: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Windows, some of them mixtures.

        Returns:
            waveform (count, samples) at RATE; concept (count,) of the first sound; and of the second one, -1 for none.
        """
        first, second = (
            torch.multinomial(self._weights, count, replacement=True, generator=generator) for _ in range(2)
        )
        mixed = augment.uniform((count,), 0, 1, generator) < mixed_share
        gain = augment.uniform((count, 1), -MIXED_DB, MIXED_DB, generator)
        waveform = self._read(first)
        added = add_at_gain(waveform, self._read(second), gain)
        waveform = torch.where(mixed[:, None], added, waveform)
        return waveform, self.concept_of[first], torch.where(mixed, self.concept_of[second], -1)

    def _read(self, rows: Tensor) -> Tensor:
        waveform = self.waveforms[rows].float() / 32768
        shift = torch.randint(0, waveform.shape[1], (1,)).item()
        return waveform.roll(int(shift), dims=1)

    @torch.no_grad()
    def text_of(self, backend: CLAPBackend, generator: torch.Generator) -> Tensor:
        """One sentence of every concept in a classifier's joint space: (concepts, embed_dim)."""
        return backend.project_text(self.texts.sentences[self.texts.draw(generator)])
