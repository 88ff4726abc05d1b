"""A compact CLAP of `train.train_clap` as a release folder: written after training, read by `load_backend`."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.compact import CompactCLAP, CompactConfig
from lmaczs.errors import CheckpointError
from lmaczs.hub import load_release, rebuild, save_release
from lmaczs.settings import build_settings

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


def load_compact(folder: str | Path, sentence_encoder: nn.Module | None = None) -> CompactCLAP:
    """Build the compact CLAP from its release, in evaluation mode.

    Args:
        folder: of the release.
        sentence_encoder: as for `CompactCLAP`; None is MiniLM.

    Raises:
        BackendUnavailableError: there is no such release.
        CheckpointError: it is damaged, or its weights do not fit its config.
    """
    release = load_release(folder, KIND)
    config = compact_config(release.config, release.folder.name)
    model = rebuild(lambda: CompactCLAP(config, sentence_encoder), release, "CLAP")
    return model.requires_grad_(True)


def compact_config(values: Mapping[str, Any], name: str) -> CompactConfig:
    """Rebuild the dataclass from JSON values.

    Args:
        values: of config.json.
        name: of the release, for the error.

    Raises:
        CheckpointError: a value is missing, unknown, of another type or out of range.
    """
    fields = {key: value for key, value in values.items() if key != "backend"}
    where = f"config.json of the release '{name}'"
    config = build_settings(CompactConfig, fields, where, CheckpointError)
    grid = config.spectral
    limits = (
        ("sample_rate", grid.sample_rate, 1000, 384_000),
        ("n_fft", grid.n_fft, 16, 65_536),
        ("hop_length", grid.hop_length, 1, grid.n_fft),
        ("n_mels", grid.n_mels, 1, grid.n_bins),
        ("f_min", grid.f_min, 0, grid.f_max),
        ("f_max", grid.f_max, 1, grid.sample_rate / 2),
        ("clip_seconds", config.clip_seconds, 0.1, 60),
        ("number of window weights", len(grid.window or (0,) * grid.n_fft), grid.n_fft, grid.n_fft),
        ("embed_dim", config.embed_dim, 1, 65_536),
        ("floor_db", config.floor_db, 1, 300),
        ("number of widths", len(config.widths), 5, 5),
        ("smallest width", min(config.widths, default=0), 1, 65_536),
        ("largest width", max(config.widths, default=0), 1, 65_536),
    )
    check_ranges(limits, where)
    return config


def check_ranges(limits: Iterable[tuple[str, float, float, float]], where: str) -> None:
    """Refuse values of a config that no model has.

    Args:
        limits: name, value, lowest and highest that is accepted, of each.
        where: says what holds the values.

    Raises:
        CheckpointError: a value is out of range.
    """
    for key, value, low, high in limits:
        if not low <= value <= high:
            raise CheckpointError(
                f"{where} says {key} {value:g}, outside {low:g} to {high:g}: fetch the release again."
            )


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
