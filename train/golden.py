"""Golden check: a release, read afresh as a user reads it, still gives what it gave when it was exported."""

import json
from pathlib import Path

import torch
from torch import Tensor

from lmaczs import load_backend
from lmaczs.clap.compact_release import golden_tensors, load_compact
from lmaczs.errors import CheckpointError
from lmaczs.explainers.l2i.explainer import L2I
from lmaczs.explainers.lmac_zs.explainer import LMACZS
from lmaczs.hub import CONFIG, load_golden
from lmaczs.types import TextState

TOLERANCE = {
    "clap": 1e-4,
    "lmac-zs": 1e-3,
    "l2i": 1e-3,
}  # other CPUs round differently; edges of masks are steep


def golden_error(folder: Path, backend_weights: str | None = None) -> float:
    """Largest difference between what a release gives now and what it gave then.

    Args:
        folder: a release.
        backend_weights: of the CLAP that a decoder was made for, where these are not the embedded or published ones.

    Raises:
        CheckpointError: the difference is too large, or the release carries nothing to compare with.
    """
    config, golden = json.loads((folder / CONFIG).read_text("utf-8")), load_golden(folder)
    kind = config["kind"]
    if golden is None or kind not in TOLERANCE:
        raise CheckpointError(
            f"'{folder.name}' carries no golden tensors to check it by: export it with train/export.py."
        )
    fresh = _fresh(folder, config, golden, backend_weights)
    error = max(float((fresh[name] - golden[name]).abs().max()) for name in fresh)
    if not error <= TOLERANCE[kind]:
        raise CheckpointError(
            f"'{folder.name}' differs by {error:.2g} from what it gave at its export ({TOLERANCE[kind]:g} is accepted): "
            "export it again, for the CLAP that it is used with."
        )
    return error


@torch.no_grad()
def _fresh(
    folder: Path, config: dict, golden: dict[str, Tensor], backend_weights: str | None
) -> dict[str, Tensor]:
    if config["kind"] == "clap":
        values = golden_tensors(load_compact(folder), golden["waveform"])
        return {name: values[name] for name in ("embedding", "text_embedding")}
    backend = load_backend(config["backend"], "cpu", weights=backend_weights)
    audio = backend.analyze(golden["waveform"])
    prompts = config.get("prompts") or ["golden"]
    text = TextState((prompts[0],), golden["text_embedding"])
    if config["kind"] == "lmac-zs":
        explainer = LMACZS.from_release(backend, config["decoder"]["domain"], release=folder)
        return {"mask": explainer.masks(audio, text)[:, ::4, ::4]}
    interpreter = L2I.from_release(backend, release=folder)
    return {
        "mask": interpreter.masks(audio, text)[:, ::4, ::4],
        "contribution": interpreter.decompose(audio, text).contribution,
    }
