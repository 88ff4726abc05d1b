"""Windows that a frozen CLAP hears once: clips and mixtures of two, with all that an interpreter is trained on."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.l2i.interpretation import log_magnitude
from lmaczs.signal.mixing import add_at_gain
from train import augment
from train.clips import ClipSampler, TrainingClip, cache_waveforms

# Root mean square that every clip is brought to.
LEVEL = 0.05
# The second sound of a mixture is up to this much louder or quieter.
MIXED_DB = 6.0
BATCH = 32
# Concept of the second sound of a window that has none.
NOBODY = -1


@dataclass(frozen=True)
class ClipStore:
    """Clips that may be drawn.

    Attributes:
        samples: (clips, clip_samples) int16, memory-mapped.
        rows: (drawable,) rows of `samples` that may be drawn.
        sampler: draws among them.
        concepts: names of `sampler.concept`.
    """

    samples: np.ndarray
    rows: Tensor
    sampler: ClipSampler
    concepts: tuple[str, ...]

    def read(self, drawn: Tensor, generator: torch.Generator) -> Tensor:
        """Clips brought to one level and rolled by a random time: (drawn, clip_samples) float32."""
        samples = torch.from_numpy(self.samples[self.rows[drawn].numpy()]).float() / 32768
        shifts = torch.randint(samples.shape[1], (len(samples),), generator=generator).tolist()
        samples = torch.stack([row.roll(shift) for row, shift in zip(samples, shifts, strict=True)])
        return samples / samples.square().mean(1, keepdim=True).sqrt().clamp_min(1e-4) * LEVEL


def open_store(
    clips: list[TrainingClip],
    backend: CLAPBackend,
    cache: Path,
    emphasis: tuple[str, ...] = (),
    unheard: frozenset[str] = frozenset(),
) -> ClipStore:
    """Decode clips once.

    Args:
        clips: to train on.
        backend: whose rate and window they are brought to.
        cache: folder.
        emphasis: as in `ClipSampler`.
        unheard: concepts whose clips are never drawn.
    """
    samples = cache_waveforms(clips, backend, cache, "train")
    rows = [index for index, clip in enumerate(clips) if clip.concept not in unheard]
    drawable = [clips[index] for index in rows]
    concepts = tuple(sorted({clip.concept for clip in drawable}))
    return ClipStore(samples, torch.tensor(rows), ClipSampler(drawable, emphasis), concepts)


@dataclass(frozen=True)
class WindowBank:
    """What the backend made of windows.

    Attributes:
        hidden: maps, shallow to deep, each (windows, channels, time, freq) float16, memory-mapped.
        projected: (windows, components, frames) float16, W'X of the dictionary and the log-magnitude; memory-mapped.
        energy: (windows,) |X|^2.
        embedding: (windows, embed_dim), unit norm.
        concepts: (windows, 2) numbers in `ClipStore.concepts`, NOBODY for the missing second sound.
    """

    hidden: tuple[np.ndarray, ...]
    projected: np.ndarray
    energy: Tensor
    embedding: Tensor
    concepts: Tensor

    def read(self, rows: Tensor, device: torch.device) -> tuple[tuple[Tensor, ...], Tensor, Tensor, Tensor]:
        """Hidden maps, W'X, |X|^2 and embedding of some windows, float32."""
        # Neighbours on the disk are read together.
        picked = rows.sort().values
        index = picked.numpy()
        hidden = tuple(torch.from_numpy(level[index]).to(device).float() for level in self.hidden)
        projected = torch.from_numpy(self.projected[index]).to(device).float()
        return hidden, projected, self.energy[picked].to(device), self.embedding[picked].to(device)


def draw_windows(
    store: ClipStore, count: int, mixed_share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Clips, a share of them mixed with another sound.

    Returns:
        waveform (count, clip_samples); concepts (count, 2), NOBODY where there is no second sound.
    """
    first = store.sampler.draw(count, generator)
    second = store.sampler.draw(count, generator)
    waveform, other = store.read(first, generator), store.read(second, generator)
    a, b = store.sampler.concept[first], store.sampler.concept[second]
    mixed = (torch.rand(count, generator=generator) < mixed_share) & (a != b)
    gain_db = augment.uniform((count, 1), -MIXED_DB, MIXED_DB, generator)
    waveform = add_at_gain(waveform, mixed[:, None] * other, gain_db)
    return waveform, torch.stack([a, torch.where(mixed, b, NOBODY)], dim=1)


def load_windows(
    store: ClipStore,
    backend: CLAPBackend,
    dictionary: Tensor,
    cache: Path,
    count: int,
    mixed_share: float,
    seed: int,
    maps: int = 4,
) -> WindowBank:
    """Draw and encode windows once; the same request finds them in the cache.

    Args:
        store: of clips.
        backend: frozen, in eval mode.
        dictionary: W, (bins, components).
        cache: folder for the files.
        count: of windows.
        mixed_share: share that is mixed with another sound.
        seed: of the draws.
        maps: deepest hidden maps that are kept.
    """
    weights = [dictionary.cpu().contiguous(), *backend.state_dict().values()]
    digest = hashlib.sha256()
    for value in weights:
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    wanted = json.dumps([count, mixed_share, seed, maps, len(store.rows), store.concepts, digest.hexdigest()])
    header = cache / "windows.json"
    if not (header.exists() and header.read_text() == wanted):
        cache.mkdir(parents=True, exist_ok=True)
        header.unlink(missing_ok=True)
        _encode(store, backend, dictionary, cache, count, mixed_share, seed, maps)
        # Written last: a header means whole files.
        header.write_text(wanted)
    names = [path.name for path in sorted(cache.glob("hidden*.npy"))]
    small = torch.load(cache / "windows.pt", weights_only=True)
    hidden = tuple(np.load(cache / name, mmap_mode="r") for name in names)
    return WindowBank(hidden, np.load(cache / "projected.npy", mmap_mode="r"), **small)


@torch.no_grad()
def _encode(
    store: ClipStore,
    backend: CLAPBackend,
    dictionary: Tensor,
    cache: Path,
    count: int,
    mixed_share: float,
    seed: int,
    maps: int,
) -> None:
    """Write the files of a bank."""
    generator = torch.Generator().manual_seed(seed)
    device = backend.mel_filters.device
    stores: list[np.memmap] = []
    energy, embedding, concepts = [], [], []
    for start in tqdm(range(0, count, BATCH), desc="hearing windows", unit="batch"):
        waveform, named = draw_windows(store, min(BATCH, count - start), mixed_share, generator)
        audio = backend.analyze(waveform.to(device))
        log_mag = log_magnitude(audio.stft)
        arrays = [*audio.hidden[-maps:], dictionary.T @ log_mag]
        if not stores:
            names = [f"hidden{level}.npy" for level in range(len(arrays) - 1)] + ["projected.npy"]
            stores = [
                np.lib.format.open_memmap(cache / name, "w+", np.float16, (count, *array.shape[1:]))
                for name, array in zip(names, arrays, strict=True)
            ]
        for file, array in zip(stores, arrays, strict=True):
            file[start : start + len(array)] = array.half().cpu().numpy()
        energy.append(log_mag.square().sum(dim=(1, 2)).cpu())
        embedding.append(audio.embedding.cpu())
        concepts.append(named)
    for file in stores:
        file.flush()
    small = {
        "energy": torch.cat(energy),
        "embedding": torch.cat(embedding),
        "concepts": torch.cat(concepts),
    }
    torch.save(small, cache / "windows.pt")
