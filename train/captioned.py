"""Recordings with their own captions, as the LMAC-ZS paper pairs them: each pair once in an epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.data.shards import load_dataset_clip
from lmaczs.signal.audio import resample, tile_to_length
from train.clips import TrainingClip
from train.texts import embed

MAX_SECONDS = 30.0  # Clotho and FSD50K end there; of anything longer the beginning is kept


@dataclass(frozen=True)
class CaptionedClips:
    """What the paper's objective is trained on.

    Attributes:
        samples: (all samples,) int16, recordings one after the other; memory-mapped.
        starts: (clips + 1,) where each begins, and the end.
        features: (captions, width), what `CLAPBackend.project_text` takes.
        pairs: (pairs, 2) int64, clip and caption.
        clip_samples: length of a window.
        seed: of the order of pairs.
    """

    samples: np.ndarray
    starts: np.ndarray
    features: Tensor
    pairs: Tensor
    clip_samples: int
    seed: int

    def steps_in(self, epochs: float, full_batch: int) -> int:
        """Steps that show every pair `epochs` times."""
        return math.ceil(epochs * len(self.pairs) / full_batch)

    def draw(self, step: int, full_batch: int) -> Tensor:
        """The pairs of a step, (full_batch, 2); every epoch has an order of its own.

        It depends on the seed and the step only, so a resumed run goes on where it was in the epoch.
        """
        places = step * full_batch + torch.arange(full_batch)
        epochs = places // len(self.pairs)
        rows = torch.empty_like(places)
        for epoch in sorted(set(epochs.tolist())):
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            order = torch.randperm(len(self.pairs), generator=generator)
            rows[epochs == epoch] = order[places[epochs == epoch] % len(self.pairs)]
        return self.pairs[rows]

    def read(self, clips: Tensor, place: Tensor) -> Tensor:
        """A window of each recording at a random place; a shorter recording is tiled from its beginning.

        Args:
            clips: (windows,) int64.
            place: (windows,) in [0, 1), of the window's begin among the places that it can have.

        Returns:
            (windows, clip_samples) float32.
        """
        windows = []
        for clip, share in zip(clips.tolist(), place.tolist(), strict=True):
            begin, end = int(self.starts[clip]), int(self.starts[clip + 1])
            begin += int(share * max(end - begin - self.clip_samples + 1, 1))
            samples = np.array(self.samples[begin : min(end, begin + self.clip_samples)])
            windows.append(tile_to_length(torch.from_numpy(samples).float() / 32768, self.clip_samples))
        return torch.stack(windows)


def open_captioned(
    clips: Sequence[TrainingClip], backend: CLAPBackend, cache: Path, seed: int
) -> CaptionedClips:
    """Decode recordings and embed captions, once.

    Args:
        clips: to train on; each with at least one caption.
        backend: whose rate recordings are brought to, and whose text side reads the captions.
        cache: folder; about 88 kB for each second at 44.1 kHz.
        seed: of the order of pairs.
    """
    cache.mkdir(parents=True, exist_ok=True)
    captions = list(dict.fromkeys(caption for clip in clips for caption in clip.captions))
    row_of = {caption: row for row, caption in enumerate(captions)}
    pairs = [(index, row_of[caption]) for index, clip in enumerate(clips) for caption in clip.captions]
    samples, starts = _recordings(clips, backend, cache)
    features = _features(captions, backend, cache)
    return CaptionedClips(samples, starts, features, torch.tensor(pairs), backend.clip_samples, seed)


def _recordings(
    clips: Sequence[TrainingClip], backend: CLAPBackend, cache: Path
) -> tuple[np.ndarray, np.ndarray]:
    rate = backend.spectral.sample_rate
    sound, index, listing = (cache / f"recordings-{rate}.{ending}" for ending in ("i16", "npy", "txt"))
    wanted = "\n".join(str(clip.path) for clip in clips)
    if not (listing.exists() and listing.read_text("utf-8") == wanted):
        starts = [0]
        with sound.open("wb") as file:
            for clip in tqdm(clips, desc="recordings", unit="clip"):
                recording = resample(load_dataset_clip(clip.source, allow_silence=True), rate)
                waveform = recording.waveform[: int(MAX_SECONDS * rate)]
                file.write((waveform.clamp(-1, 1) * 32767).round().to(torch.int16).numpy().tobytes())
                starts.append(starts[-1] + len(waveform))
        np.save(index, np.array(starts))
        listing.write_text(wanted, "utf-8")  # written last: a listing means a whole cache
    return np.memmap(sound, np.int16, "r"), np.load(index)


def _features(captions: list[str], backend: CLAPBackend, cache: Path) -> Tensor:
    file = cache / f"captions-{backend.name}.pt"
    stored: dict[str, Any] = torch.load(file, weights_only=True) if file.exists() else {}
    if stored.get("captions") != captions:
        stored = {"captions": captions, "features": embed(backend.sentence_features, captions, "captions")}
        torch.save(stored, file)
    features: Tensor = stored["features"]
    return features
