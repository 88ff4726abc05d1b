"""Results as files and JSON values; the command line and the page write the same ones."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from lmaczs import __version__
from lmaczs.hearing.verdict import verdict_row
from lmaczs.plots import save_explanation_figure
from lmaczs.signal.audio import save_wav
from lmaczs.types import AudioClip, ExplainResult, OverTime, Prediction


def prediction_row(prediction: Prediction) -> dict[str, Any]:
    """A prediction as JSON values; prompts in the order given, `predicted` is an index into them.

    `match` says of each prompt whether it fits by itself, "strong", "weak" or "none"; it is null for a model without
    calibrated limits.
    """
    return {
        "prompts": list(prediction.prompts),
        "unit": prediction.unit,
        "similarities": [float(value) for value in prediction.similarities],
        "probabilities": [float(value) for value in prediction.probabilities],
        "predicted": prediction.predicted,
        "match": list(prediction.match) or None,
    }


def result_row(result: ExplainResult, backend_name: str) -> dict[str, Any]:
    """An explanation's numbers as JSON values; a number that is undefined for this clip is null."""
    return {
        "clip": result.clip.name,
        "duration_s": result.clip.duration_s,
        "sample_rate": result.clip.sample_rate,
        "notes": list(result.clip.notes),
        "backend": backend_name,
        "method": result.explanation.method,
        "domain": result.explanation.domain,
        "evidence": result.explanation.evidence,
        "target": result.target,
        "target_similarity": result.target_similarity,
        "completeness_error": result.explanation.completeness_error,
        **_component_rows(result),
        "prediction": prediction_row(result.prediction),
        "metrics": {key: value if math.isfinite(value) else None for key, value in result.metrics.items()},
        "probability": dict(result.probability) or None,
        **_over_time_row(result.over_time),
        "verdict": verdict_row(result),
        "lmaczs": __version__,
    }


def _over_time_row(found: OverTime | None) -> dict[str, Any]:
    """What the model's own frames say; nothing for models that have none."""
    if found is None:
        return {}
    shares = [None if math.isnan(share) else share for share in found.probability.tolist()]
    agreement = None if math.isnan(found.agreement) else found.agreement
    return {"over_time": {"times_s": found.times_s.tolist(), "probability": shares, "agreement": agreement}}


def component_files(result: ExplainResult) -> dict[str, AudioClip]:
    """File names of an explanation's components, most relevant first, and of what none of them plays."""
    sounds = result.listening.components
    files = {f"component-{rank:02d}.wav": sound for rank, sound in enumerate(sounds, start=1)}
    return files if result.listening.rest is None else files | {"rest.wav": result.listening.rest}


def _component_rows(result: ExplainResult) -> dict[str, Any]:
    """What is said of components; nothing for methods that have none."""
    explanation = result.explanation
    if explanation.relevance_threshold is None:
        return {}
    rows = [
        {"file": name, "index": part.index, "relevance": part.relevance}
        for name, part in zip(component_files(result), explanation.components, strict=False)
    ]
    return {"relevance_threshold": explanation.relevance_threshold, "components": rows}


def write_explanation(result: ExplainResult, folder: Path, backend_name: str, method_label: str) -> None:
    """Write kept.wav, removed.wav, mask.npz, explanation.png and result.json.

    A method that explains by sound objects adds component-01.wav, component-02.wav, …, the most relevant first, and
    rest.wav; together they are the recording.

    Args:
        result: one explanation.
        folder: exists.
        backend_name: key of the CLAP.
        method_label: name of the method for people.
    """
    write_sounds(result, folder)
    write_mask(result, folder)
    save_explanation_figure(result, folder / "explanation.png", method_label)
    row = json.dumps(result_row(result, backend_name), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "result.json").write_text(row + "\n", "utf-8")


def write_sounds(result: ExplainResult, folder: Path) -> None:
    """Write kept.wav and removed.wav, and the components' sounds where there are any."""
    save_wav(result.listening.kept, folder / "kept.wav")
    save_wav(result.listening.removed, folder / "removed.wav")
    for name, sound in component_files(result).items():
        save_wav(sound, folder / name)


def write_mask(result: ExplainResult, folder: Path) -> None:
    """Write mask.npz: the mask with its axes, and the components' curves where there are any."""
    parts = result.explanation.components
    arrays: dict[str, Any] = {
        "mask": result.explanation.mask.numpy(),
        "times_s": result.times_s.numpy(),
        "frequencies_hz": result.frequencies_hz.numpy(),
    }
    if parts:
        arrays["patterns"] = np.array([part.pattern.numpy() for part in parts])
        arrays["activations"] = np.array([part.activation.numpy() for part in parts])
    np.savez_compressed(folder / "mask.npz", **arrays)
