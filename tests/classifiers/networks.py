"""Small classifiers for tests: they take mel power, STFT power or waveforms, and tell three synthetic sounds apart."""

import math

import torch
import torch.nn.functional as F
from torch import nn

RATE = 16000
LABELS = ("low beep", "high beep", "click")
SECONDS = 1.25


class ImageNet(nn.Module):
    """(batch, freq, frames) power -> logits, through maps of two sizes."""

    BANDS = 8

    def __init__(self, labels=3, channels=8):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(1), nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d((4, 2)),
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(channels * self.BANDS, labels)

    def forward(self, power):
        """See the class."""
        maps = self.body(torch.log10(power.unsqueeze(1) + 1e-6))
        return self.head(F.adaptive_avg_pool2d(maps, (self.BANDS, 1)).flatten(1))


class WaveNetwork(nn.Module):
    """(batch, samples) -> logits, through features over time."""

    def __init__(self, labels=3, channels=24):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, channels, 128, 64), nn.ReLU(), nn.Conv1d(channels, channels, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(channels, labels)

    def forward(self, waveform):
        """See the class."""
        return self.head(self.body(waveform.unsqueeze(1)).mean(dim=2))


def sound(label, place, seed, seconds=SECONDS, level=0.3, noise=0.01):
    """Noise with one of the three sounds in it, (samples,), and the span of the sound in seconds.

    Args:
        label: index in LABELS.
        place: where it begins, share of the time that is free for it.
        seed: of the noise.
        seconds: length.
        level: amplitude of the sound; 0 leaves the noise alone.
        noise: amplitude of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    waveform = noise * torch.randn(round(seconds * RATE), generator=generator)
    length = round((0.05 if label == 2 else 0.3) * RATE)
    first = round(place * (len(waveform) - length))
    time = torch.arange(length) / RATE
    if label == 2:
        part = level * torch.randn(length, generator=generator)
    else:
        part = level * torch.sin(2 * math.pi * (400.0, 3000.0)[label] * time)
    waveform[first : first + length] += part * torch.hann_window(length, periodic=False)
    return waveform, (first / RATE, (first + length) / RATE)


def batch_of(count, seed, varied):
    """Sounds and labels: (count, samples), (count,).

    Args:
        count: of sounds.
        seed: of what is drawn.
        varied: loud and quiet sounds in much noise and in hardly any. A transformer that has heard one level of noise
            only decides by the noise, and no part of a sound convinces it.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(LABELS), (count,), generator=generator)
    places, levels, noises = torch.rand(3, count, generator=generator)
    sounds = [
        sound(
            int(labels[row]),
            float(places[row]),
            seed * count + row,
            level=0.05 * 10 ** float(levels[row]) if varied else 0.3,
            noise=1e-5 * 10 ** (3.3 * float(noises[row])) if varied else 0.01,
        )[0]
        for row in range(count)
    ]
    return torch.stack(sounds), labels


def taught(module, features, steps=60, rate=1e-2, count=16, varied=False):
    """A module that has learned to tell the sounds apart.

    Args:
        module: gives logits, or an object with `logits`.
        features: waveforms -> its input.
        steps: of Adam.
        rate: of learning.
        count: sounds in a batch.
        varied: see `batch_of`.
    """
    optimiser = torch.optim.Adam(module.train().parameters(), lr=rate)
    for step in range(steps):
        waveform, labels = batch_of(count, 1 + step % 16, varied)
        with torch.no_grad():
            heard = features(waveform)
        found = module(heard)
        loss = F.cross_entropy(getattr(found, "logits", found), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return module.eval()
