"""From the components of an explanation to the lanes of the player: one sound each, their gains and two short curves."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from lmaczs.results import component_files
from lmaczs.types import ExplainResult
from lmaczs.ui.payload import FLAC_LEVEL, columns_of, save_picture, track_gain

# Of full scale; less than that is rounding.
AUDIBLE = 1e-4
# Of all lanes together: 24 MB to fetch.
MAX_SAMPLES = 12_000_000
# Of a curve, at most.
POINTS = 128
# Of 16 bits, as the other tracks.
FULL_SCALE = 32768


def component_payload(result: ExplainResult, folder: Path) -> dict[str, Any]:
    """Write the components' files and describe them; nothing for an explanation that has none.

    The first n sounds add up to what the first n components keep together, to the last bit; so do their gains. Where
    more components count than have a lane, one more sound and gain plays them together, so that what counted is whole.
    What all of them leave of the recording, the page works out itself.

    Args:
        result: of one prompt and one method.
        folder: as in `explanation_payload`.

    Returns:
        {"lanes": {"threshold", "gains", "more", "lanes": [{"index", "relevance", "sound", "pattern", "activation"}, …]}}
        with "more" as a file or None, or {"lanes": {"most_s": longest recording whose components are sent, s}}.
    """
    found = result.explanation.components
    if not found:
        return {}
    most_s = MAX_SAMPLES // len(found) // result.clip.sample_rate
    if result.clip.duration_s > most_s:
        return {"lanes": {"most_s": most_s}}
    sounds, gains = _parts(result)
    names = [Path(name).stem for name in [*component_files(result)][: len(found)]] + ["more"]
    whole = increments(sounds * track_gain(result.clip), FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1)
    for name, sound in zip(names, whole.astype(np.int16), strict=False):
        soundfile.write(folder / f"{name}.flac", sound, result.clip.sample_rate, compression_level=FLAC_LEVEL)
    shares = columns_of(gains.reshape(-1, gains.shape[-1]), result, np.mean)
    grey = increments(shares.reshape(len(gains), -1, shares.shape[1]), 255).clip(0, 255).astype(np.uint8)
    # The first on top, once it is flipped.
    save_picture(np.concatenate(grey[::-1]), folder / "gains.png")
    lanes = [
        {
            "index": part.index,
            "relevance": float(part.relevance),
            "sound": {"file": f"{folder.name}/{name}.flac"},
            "pattern": curve(part.pattern.numpy()),
            "activation": curve(part.activation.numpy()),
        }
        for name, part in zip(names, found, strict=False)
    ]
    return {
        "lanes": {
            "threshold": result.explanation.relevance_threshold,
            "gains": {"file": f"{folder.name}/gains.png"},
            "more": {"file": f"{folder.name}/more.flac"} if len(sounds) > len(found) else None,
            "lanes": lanes,
        }
    }


def _parts(result: ExplainResult) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(parts, samples) sounds and (parts, freq, frames) gains of the components, and of what else counts."""
    found, listening = result.explanation.components, result.listening
    sounds = torch.stack([sound.waveform for sound in listening.components])
    gains = torch.stack([part.gain for part in found])
    more = listening.kept.waveform - sounds.sum(0)
    all_count = found[-1].relevance > (result.explanation.relevance_threshold or 0.0)
    if all_count and more.abs().max() > AUDIBLE:
        more_gain = (result.explanation.mask - gains.sum(0)).clamp_min(0)
        sounds, gains = torch.cat([sounds, more[None]]), torch.cat([gains, more_gain[None]])
    return sounds.numpy(), gains.numpy()


def increments(parts: NDArray[np.floating], scale: int) -> NDArray[np.float64]:
    """Whole numbers whose sums over the first n parts are the rounded sums, so that rounding never adds up.

    Args:
        parts: (parts, …).
        scale: of the whole numbers.
    """
    sums = np.round(parts.cumsum(axis=0, dtype=np.float64) * scale)
    return np.diff(sums, axis=0, prepend=0)


def curve(values: NDArray[np.float32]) -> list[float]:
    """At most POINTS numbers in [0, 1], the largest of each group of neighbours, relative to the largest of all."""
    points = min(len(values), POINTS)
    tops = np.maximum.reduceat(values, np.arange(points) * len(values) // points)
    return [round(float(value), 3) for value in tops / max(float(tops.max()), 1e-12)]
