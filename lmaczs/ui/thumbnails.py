"""A small spectrogram of each example for its button, made when the page is built."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from lmaczs.ui.examples import Example

# Pixels, and what is shown: levels below the loudest cell, dB, and frequencies from one to the other, Hz.
WIDTH, HEIGHT = 72, 24
RANGE_DB = 60.0
LOW, HIGH = 80.0, 8000.0
# From silence to the loudest cell.
DARK, BRIGHT = np.array([28.0, 25.0, 23.0]), np.array([251.0, 191.0, 110.0])


def thumbnail(example: Example) -> bytes:
    """WebP of WIDTH x HEIGHT pixels: time to the right, octaves upwards."""
    sound, rate = soundfile.read(example.path, dtype="float32", always_2d=True)
    mono: NDArray[np.float32] = sound.mean(axis=1)
    size = 2048
    starts = np.linspace(0, max(len(mono) - size, 0), WIDTH).astype(int)
    frames = np.stack([np.resize(mono[start : start + size], size) for start in starts])
    power = np.abs(np.fft.rfft(frames * np.hanning(size))) ** 2
    edges = np.geomspace(LOW, min(HIGH, rate / 2), HEIGHT + 1) * size / rate
    first = np.floor(edges[:-1]).astype(int)
    last = np.maximum(np.ceil(edges[1:]).astype(int), first + 1)
    bands = np.stack([power[:, a:b].max(axis=1) for a, b in zip(first, last, strict=True)])[::-1]
    level = 10 * np.log10(bands / max(float(bands.max()), 1e-20) + 1e-12)
    share = np.clip(1 + level / RANGE_DB, 0, 1)[..., None]
    pixels = (DARK + share**1.5 * (BRIGHT - DARK)).round().astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "WEBP", quality=60)
    return written.getvalue()


def thumbnails_css(examples: Sequence[Example]) -> str:
    """A rule for each example's button, in their order; nothing of it comes from a visitor."""
    rules = []
    for number, example in enumerate(examples, 1):
        picture = base64.b64encode(thumbnail(example)).decode()
        rules.append(
            f"#lz-tries button:nth-of-type({number})::before {{"
            f"background-image: url('data:image/webp;base64,{picture}');}}"
        )
    return "\n".join(rules)
