"""The compact CLAP as a release folder: written after training, read by `lmaczs.clap.load_backend`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.compact import CompactCLAP, CompactConfig
from lmaczs.errors import CheckpointError
from lmaczs.hub import load_release, save_release
from lmaczs.signal.spectral import SpectralConfig

NAME = "compact-clap"
KIND = "clap"
GOLDEN_PROMPT = "this is the sound of rain"


def save_compact(
    folder: str | Path,
    model: CompactCLAP,
    *,
    training: Mapping[str, Any] | None = None,
    metrics: Any = None,
    half: bool = True,
) -> Path:
    """Write a trained compact CLAP as a release, with a golden example that it must reproduce."""
    model.eval()
    config = {"backend": CompactCLAP.name, **asdict(model.config)}
    contents = {"training": training, "metrics": metrics, "half": half}
    save_release(folder, KIND, config, model.state_dict(), **contents)
    stored = load_compact(folder, *model._sentence_encoder)  # golden values belong to the weights as rounded
    return save_release(folder, KIND, config, model.state_dict(), golden=golden_tensors(stored), **contents)


def load_compact(name: str | Path = NAME, sentence_encoder: nn.Module | None = None) -> CompactCLAP:
    """Build the compact CLAP from its release, in evaluation mode.

    Args:
        name: of the release, or its folder.
        sentence_encoder: as for `CompactCLAP`; None is MiniLM.

    Raises:
        BackendUnavailableError: the release is not at hand.
        CheckpointError: it is damaged, or its weights do not fit its config.
    """
    release = load_release(name, KIND)
    try:
        model = CompactCLAP(compact_config(release.config), sentence_encoder)
        model.load_state_dict(release.state, strict=True)
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"The weights of '{release.folder.name}' do not fit its config.json: fetch the release again."
        ) from error
    return model.eval()


def compact_config(values: Mapping[str, Any]) -> CompactConfig:
    """Rebuild the dataclass from JSON values, which know neither tuples nor nested dataclasses."""
    fields = {key: value for key, value in values.items() if key != "backend"}
    fields["spectral"] = SpectralConfig(**fields["spectral"])
    fields["widths"] = tuple(fields["widths"])
    return CompactConfig(**fields)


@torch.no_grad()
def golden_tensors(backend: CLAPBackend, waveform: Tensor | None = None) -> dict[str, Tensor]:
    """One fixed window and prompt with their embeddings.

    Args:
        backend: any CLAP.
        waveform: (1, clip_samples); None makes a rising tone in noise.
    """
    if waveform is None:
        time = torch.arange(backend.clip_samples) / backend.spectral.sample_rate
        noise = torch.randn(backend.clip_samples, generator=torch.Generator().manual_seed(0))
        waveform = (0.3 * torch.sin(2 * torch.pi * (300 + 200 * time) * time) + 0.02 * noise).unsqueeze(0)
    state = backend.analyze(waveform)
    text = backend.encode_text([GOLDEN_PROMPT])
    return {"waveform": waveform, "embedding": state.embedding, "text_embedding": text.embedding}
