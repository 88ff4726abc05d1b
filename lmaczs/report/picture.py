"""A small picture of a mask on its sound, and the same in words for who cannot see it."""

import io

import numpy as np

from lmaczs.plots import RANGE_DB, picture_cells
from lmaczs.types import ExplainResult

WIDTH, HEIGHT, QUALITY = 640, 180, 55
# What was ignored and what counted, at full level.
GREY, AMBER = np.array([120.0, 128.0, 150.0]), np.array([255.0, 176.0, 64.0])
# Of the mask's largest column or band: what lies below is not named.
NAMED = 0.5


def mask_picture(result: ExplainResult) -> bytes:
    """The spectrogram, amber where the mask keeps it and grey where not: a WebP file.

    Frequencies are spaced as in the ear, 0 Hz at the bottom; brightness is level.
    """
    from PIL import Image

    frequencies = result.frequencies_hz.double().numpy()
    power = picture_cells(10 ** (result.magnitude_db.numpy() / 10), frequencies)
    mask = picture_cells(result.explanation.mask.numpy(), frequencies)[..., None].clip(0, 1)
    level = 10 * np.log10(np.maximum(power / max(float(power.max()), 1e-30), 1e-20))
    light = (1 + level / RANGE_DB).clip(0, 1)[..., None]
    pixels = light * (mask * AMBER + (1 - mask) * GREY)
    image = Image.fromarray(pixels[::-1].astype(np.uint8)).resize((WIDTH, HEIGHT))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY)
    return file.getvalue()


def where_the_mask_lies(result: ExplainResult) -> str:
    """When and at which frequencies a mask keeps most, one sentence."""
    mask = result.explanation.mask.double().numpy()
    if not mask.any():
        return "The mask is empty: nothing in this sound speaks for the prompt."
    times, frequencies = result.times_s.numpy(), result.frequencies_hz.double().numpy()
    step = float(times[1] - times[0]) if len(times) > 1 else result.clip.duration_s
    spans = [
        f"{times[first]:.1f} to {min(times[last] + step, result.clip.duration_s):.1f} s"
        for first, last in _runs(mask.mean(0) >= NAMED * mask.mean(0).max())
    ]
    share = np.cumsum(mask.sum(1)) / mask.sum()
    low, high = (frequencies[min(int(np.searchsorted(share, edge)), len(share) - 1)] for edge in (0.1, 0.9))
    when = ", ".join(spans[:3]) + (" and later" if len(spans) > 3 else "")
    return (
        f"The mask keeps {100 * mask.mean():.0f} % of the picture, most of it from {when}, "
        f"between {low:.0f} and {high:.0f} Hz."
    )


def _runs(chosen: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of each run of True, shorter gaps than a tenth of all closed."""
    places = np.flatnonzero(chosen)
    parts = np.split(places, np.flatnonzero(np.diff(places) > max(len(chosen) // 10, 1)) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts if len(part)]
