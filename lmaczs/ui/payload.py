"""From an `ExplainResult` to what the player draws and plays: grey pictures, WAV files and plain numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from lmaczs.types import ExplainResult, Prediction

FLOOR_DB = -70.0  # below the recording's loudest cell; quieter cells look black
MAX_COLUMNS = 2000  # pictures of long recordings are made no wider


def scores_payload(prediction: Prediction, target: int) -> dict[str, Any]:
    """Ranked by the page, in the order typed here.

    Args:
        prediction: of the prompts.
        target: index of the prompt that is explained.
    """
    return {
        "prompts": list(prediction.prompts),
        "probabilities": [round(float(value), 6) for value in prediction.probabilities],
        "similarities": [round(float(value), 4) for value in prediction.similarities],
        "predicted": prediction.predicted,
        "target": target,
    }


def player_payload(
    result: ExplainResult,
    clip_id: str,
    methods: dict[str, str],
    folder: Path,
) -> dict[str, Any]:
    """Write one explanation's files and describe them.

    The value of "probability", the target's on each track in [0, 1], is not known yet: None.

    Args:
        result: of one prompt and one method.
        clip_id: says which recording it is.
        methods: names for people of all methods that can be asked for, by key.
        folder: the files go here; paths in the payload are relative to it, as {"file": name}.
    """
    prompts = list(dict.fromkeys((*result.prediction.prompts, result.target)))
    frames = result.magnitude_db.shape[1]
    step = -(-frames // MAX_COLUMNS)
    hop_s = float(result.times_s[1] - result.times_s[0]) if frames > 1 else result.clip.duration_s
    tracks = {
        "original": result.clip.waveform.numpy(),
        "kept": result.listening.kept.waveform.numpy(),
        "removed": result.listening.removed.waveform.numpy(),
    }
    # One gain for all three: normalising each would hide exactly what the mask did.
    gain = 1 / max(1.0, *(float(np.abs(track).max()) for track in tracks.values()))
    for name, track in tracks.items():
        soundfile.write(folder / f"{name}.wav", track * gain, result.clip.sample_rate, subtype="PCM_16")
    save_picture(level_picture(result.magnitude_db.numpy(), step), folder / "spectrogram.png")
    save_picture(mask_picture(result.explanation.mask.numpy(), step), folder / "mask.png")
    return {
        "clip": {
            "id": clip_id,
            "name": result.clip.name,
            "duration_s": result.clip.duration_s,
            "sample_rate": result.clip.sample_rate,
            "original": {"file": "original.wav"},
            "spectrogram": {"file": "spectrogram.png"},
            "column_s": hop_s * step,
            "first_column_s": -hop_s / 2,
            "floor_db": FLOOR_DB,
            "max_hz": float(result.frequencies_hz[-1]),
        },
        "prompts": prompts,
        "target": prompts.index(result.target),
        "method": result.explanation.method,
        "methods": methods,
        "mask": {"file": "mask.png"},
        "kept": {"file": "kept.wav"},
        "removed": {"file": "removed.wav"},
        "probability": None,
    }


def level_picture(magnitude_db: NDArray[np.float32], step: int) -> NDArray[np.uint8]:
    """(freq, frames) dB -> (freq, columns) grey, 255 = the loudest cell, 0 = FLOOR_DB below it or less."""
    share = 1 - (magnitude_db - magnitude_db.max()) / FLOOR_DB
    return _grey(_columns(share, step, np.max))


def mask_picture(mask: NDArray[np.float32], step: int) -> NDArray[np.uint8]:
    """(freq, frames) in [0, 1] -> (freq, columns) grey, 255 = kept."""
    return _grey(_columns(mask, step, np.mean))


def _columns(values: NDArray[np.float32], step: int, pool: Any) -> NDArray[np.float32]:
    """Pool `step` frames into one column; the last group is filled up with its own last frame."""
    if step == 1:
        return values
    padding = -values.shape[1] % step
    padded = np.pad(values, ((0, 0), (0, padding)), mode="edge")
    return pool(padded.reshape(len(values), -1, step), axis=2)


def _grey(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)


def save_picture(picture: NDArray[np.uint8], path: Path) -> None:
    """Write as 8-bit grey PNG, highest frequency on top."""
    Image.fromarray(np.ascontiguousarray(picture[::-1])).save(path, compress_level=1)
