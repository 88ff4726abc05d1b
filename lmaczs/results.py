"""Results as files and JSON values; the command line and the page write the same ones."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from lmaczs import __version__
from lmaczs.plots import save_explanation_figure
from lmaczs.signal.audio import save_wav
from lmaczs.types import ExplainResult, Prediction


def prediction_row(prediction: Prediction) -> dict[str, Any]:
    """A prediction as JSON values; prompts in the order given, `predicted` is an index into them."""
    return {
        "prompts": list(prediction.prompts),
        "similarities": [float(value) for value in prediction.similarities],
        "probabilities": [float(value) for value in prediction.probabilities],
        "predicted": prediction.predicted,
    }


def result_row(result: ExplainResult, backend_name: str) -> dict[str, Any]:
    """An explanation's numbers as JSON values; a number that is undefined for this clip is null."""
    return {
        "clip": result.clip.name,
        "duration_s": result.clip.duration_s,
        "sample_rate": result.clip.sample_rate,
        "backend": backend_name,
        "method": result.explanation.method,
        "domain": result.explanation.domain,
        "target": result.target,
        "target_similarity": result.target_similarity,
        "completeness_error": result.explanation.completeness_error,
        "prediction": prediction_row(result.prediction),
        "metrics": {key: value if math.isfinite(value) else None for key, value in result.metrics.items()},
        "lmaczs": __version__,
    }


def write_explanation(result: ExplainResult, folder: Path, backend_name: str, method_label: str) -> None:
    """Write kept.wav, removed.wav, mask.npz, explanation.png and result.json.

    Args:
        result: one explanation.
        folder: exists.
        backend_name: key of the CLAP.
        method_label: name of the method for people.
    """
    save_wav(result.listening.kept, folder / "kept.wav")
    save_wav(result.listening.removed, folder / "removed.wav")
    np.savez_compressed(
        folder / "mask.npz",
        mask=result.explanation.mask.numpy(),
        times_s=result.times_s.numpy(),
        frequencies_hz=result.frequencies_hz.numpy(),
    )
    save_explanation_figure(result, folder / "explanation.png", method_label)
    row = json.dumps(result_row(result, backend_name), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "result.json").write_text(row + "\n", "utf-8")
