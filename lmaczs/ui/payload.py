"""From an `ExplainResult` to what the player draws and plays: grey pictures, sounds and plain numbers."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lmaczs.hearing.verdict import verdict_row
from lmaczs.report.picture import where_the_mask_lies
from lmaczs.types import AudioClip, ExplainResult, Prediction

# Makes one of several neighbours: (values, axis=...) -> values.
Pool = Callable[..., NDArray[np.float32]]
# Below the recording's loudest cell; quieter cells look black.
FLOOR_DB = -70.0
# Pictures of long recordings are made no wider.
MAX_COLUMNS = 2000
# Share of what libsndfile can do: a smaller file takes longer than it saves on the way.
FLAC_LEVEL = 0.4
# Of 9, likewise.
PNG_LEVEL = 4
# Of pictures whose cells are not of equal width in Hz.
LINEAR_ROWS = 257


def scores_payload(prediction: Prediction, target: int) -> dict[str, Any]:
    """Ranked by the page, in the order typed here.

    Args:
        prediction: of the prompts.
        target: index of the prompt that is explained.
    """
    return {
        "prompts": list(prediction.prompts),
        "probabilities": [round(float(value), 6) for value in prediction.probabilities],
        "unit": prediction.unit,
        "similarities": [round(float(value), 4) for value in prediction.similarities],
        "match": list(prediction.match) or None,
        "predicted": prediction.predicted,
        "target": target,
    }


def over_time_payload(clip_id: str, prompts: Sequence[str], times: Tensor, found: Tensor) -> dict[str, Any]:
    """How the scores of prompts change within a recording; null where nothing sounds.

    Args:
        clip_id: says which recording it is.
        prompts: sentences.
        times: (places,) s.
        found: (places, prompts), probabilities or nan.
    """
    rows = [[None if math.isnan(value) else round(value, 4) for value in row] for row in found.T.tolist()]
    return {
        "clip": clip_id,
        "prompts": list(prompts),
        "times": [round(value, 3) for value in times.tolist()],
        "probabilities": rows,
    }


class Drawable(Protocol):
    """What the pictures and sounds of a recording need: of an `ExplainResult`, or of a `Partwise` before its end."""

    @property
    def clip(self) -> AudioClip: ...

    @property
    def magnitude_db(self) -> Tensor: ...

    @property
    def frequencies_hz(self) -> Tensor: ...

    @property
    def times_s(self) -> Tensor: ...


def clip_payload(result: Drawable, clip_id: str, folder: Path) -> dict[str, Any]:
    """Write what all explanations of a recording share and describe it: the sound and its spectrogram.

    Args:
        result: any explanation of the recording in the same domain.
        clip_id: says which recording it is.
        folder: the files go here; paths in the payload are relative to it, as {"file": name}.
    """
    step = frames_a_column(result)
    frames = result.magnitude_db.shape[1]
    hop_s = float(result.times_s[1] - result.times_s[0]) if frames > 1 else result.clip.duration_s
    original = write_original(result.clip, folder)
    level = linear_rows(result.magnitude_db.numpy(), result.frequencies_hz.numpy())
    save_picture(level_picture(level, step), folder / "spectrogram.png")
    return {
        "id": clip_id,
        "name": result.clip.name,
        "duration_s": result.clip.duration_s,
        "sample_rate": result.clip.sample_rate,
        "original": {"file": original},
        "spectrogram": {"file": "spectrogram.png"},
        "column_s": hop_s * step,
        "first_column_s": -hop_s / 2,
        "floor_db": FLOOR_DB,
        "max_hz": float(result.frequencies_hz[-1]),
    }


def write_original(clip: AudioClip, folder: Path) -> str:
    """Write a recording as its explanations share it, unless it is there; gives the file's name."""
    there = next(folder.glob("original.*"), None)
    return there.name if there else write_track(clip, clip.waveform.numpy(), folder / "original")


def explanation_payload(
    result: ExplainResult, clip: dict[str, Any], folder: Path, seconds: float
) -> dict[str, Any]:
    """Write one explanation's files and describe them.

    The values of "probability" and "metrics" are not known yet: None (see `check_payload`); nor is the verdict, but where
    nothing was found.

    Args:
        result: of one prompt and one method.
        clip: `clip_payload` of the recording.
        folder: the files go here; paths in the payload are relative to its parent, as {"file": name}.
        seconds: how long the explanation took.
    """
    prompts = list(dict.fromkeys((*result.prediction.prompts, result.target)))
    # What is removed is the rest, which the page works out itself.
    kept = write_track(result.clip, result.listening.kept.waveform.numpy(), folder / "kept")
    mask = linear_rows(result.explanation.mask.numpy(), result.frequencies_hz.numpy())
    save_picture(mask_picture(mask, frames_a_column(result)), folder / "mask.png")
    return {
        "clip": clip,
        "prompts": prompts,
        "target": prompts.index(result.target),
        "method": result.explanation.method,
        "domain": result.explanation.domain,
        "evidence": result.explanation.evidence,
        "where": where_the_mask_lies(result),
        "seconds": round(seconds, 2),
        "mask": {"file": f"{folder.name}/mask.png"},
        "kept": {"file": f"{folder.name}/{kept}"},
        "probability": None,
        "metrics": None,
        "verdict": verdict_row(result),
    }


def control_payload(result: ExplainResult, name: str, clip_id: str) -> dict[str, Any]:
    """A mask that no method made: only its numbers are shown, so no file is written.

    Args:
        result: of the control's mask.
        name: key of the control.
        clip_id: says which recording it is.
    """
    prompts = list(dict.fromkeys((*result.prediction.prompts, result.target)))
    return {
        "clip": {"id": clip_id},
        "prompts": prompts,
        "target": prompts.index(result.target),
        "method": name,
        "domain": result.explanation.domain,
    }


def check_payload(result: ExplainResult) -> dict[str, Any]:
    """The target's probability on each track and that of all prompts, this clip's numbers, and the verdict.

    Numbers are null where one is undefined; the probabilities of all prompts are missing where each is decided on alone.
    """
    return {
        "probability": dict(result.probability),
        "shares": dict(result.shares),
        "metrics": {key: value if math.isfinite(value) else None for key, value in result.metrics.items()},
        "verdict": verdict_row(result),
    }


def linear_rows(values: NDArray[np.float32], frequencies_hz: NDArray[np.float32]) -> NDArray[np.float32]:
    """(freq, frames) -> the same, or on LINEAR_ROWS rows of equal width in Hz from 0 if they were not yet.

    Args:
        values: one row for each frequency.
        frequencies_hz: (freq,) centre of each row, rising.
    """
    wanted = np.linspace(0, frequencies_hz[-1], len(frequencies_hz))
    if np.allclose(frequencies_hz, wanted, atol=1e-3 * frequencies_hz[-1]):
        return values
    place = np.interp(
        np.linspace(0, frequencies_hz[-1], LINEAR_ROWS), frequencies_hz, np.arange(len(frequencies_hz))
    )
    # A cell is one value: nothing is blended.
    rows: NDArray[np.float32] = values[np.round(place).astype(int)]
    return rows


def level_picture(magnitude_db: NDArray[np.float32], step: int) -> NDArray[np.uint8]:
    """(freq, frames) dB -> (freq, columns) grey, 255 = the loudest cell, 0 = FLOOR_DB below it or less."""
    loudest = _columns(magnitude_db, step, np.max)
    return _grey(1 - (loudest - loudest.max()) / FLOOR_DB)


def mask_picture(mask: NDArray[np.float32], step: int) -> NDArray[np.uint8]:
    """(freq, frames) in [0, 1] -> (freq, columns) grey, 255 = kept."""
    return _grey(_columns(mask, step, np.mean))


def save_picture(picture: NDArray[np.uint8], path: Path) -> None:
    """Write as 8-bit grey PNG, highest frequency on top."""
    Image.fromarray(np.ascontiguousarray(picture[::-1])).save(path, compress_level=PNG_LEVEL)


def track_gain(clip: AudioClip) -> float:
    """One gain for all tracks of a recording: normalising each would hide exactly what the mask did."""
    return 1 / max(1.0, _peak(clip.waveform.numpy()))


def columns_of(values: NDArray[np.float32], result: ExplainResult, pool: Pool) -> NDArray[np.float32]:
    """(rows, frames) -> (rows, columns) of the recording's pictures; `pool` makes one of several frames."""
    return _columns(values, frames_a_column(result), pool)


def write_track(clip: AudioClip, track: NDArray[np.float32], path: Path) -> str:
    """Write a track of a recording as `write_sound`, with the gain that all of them have."""
    return write_sound(path, track * track_gain(clip), clip.sample_rate)


def write_sound(path: Path, samples: NDArray[np.float32], sample_rate: int) -> str:
    """Write a FLAC of 16 bits, or a WAV of floats where a part peaks above full scale, so that parts always add up.

    Args:
        path: without an ending.
        samples: (samples,).
        sample_rate: Hz.

    Returns:
        The file's name.
    """
    if _peak(samples) <= 1:
        file = path.with_name(f"{path.name}.flac")
        soundfile.write(file, samples, sample_rate, subtype="PCM_16", compression_level=FLAC_LEVEL)
    else:
        file = path.with_name(f"{path.name}.wav")
        soundfile.write(file, samples, sample_rate, subtype="FLOAT")
    return file.name


def _peak(samples: NDArray[np.float32]) -> float:
    """The largest magnitude; without the copy that `abs` makes, which for ten minutes takes five times as long."""
    return max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))


def frames_a_column(result: Drawable) -> int:
    """Frames in one column of a picture."""
    return -(-result.magnitude_db.shape[1] // MAX_COLUMNS)


def _columns(values: NDArray[np.float32], step: int, pool: Pool) -> NDArray[np.float32]:
    """Pool `step` frames into one column; the last group is filled up with its own last frame."""
    if step == 1:
        return values
    padding = -values.shape[1] % step
    padded = np.pad(values, ((0, 0), (0, padding)), mode="edge")
    return pool(padded.reshape(len(values), -1, step), axis=2)


def _grey(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)
