"""The second compact CLAP as a release folder: written after training, read by `lmaczs.clap.load_backend`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lmaczs.clap.compact2 import Compact2CLAP, Compact2Config
from lmaczs.clap.compact_release import KIND, check_ranges, golden_tensors
from lmaczs.errors import CheckpointError
from lmaczs.hub import load_release, rebuild, save_release
from lmaczs.settings import build_settings

NAME = "compact-clap-2"


def save_compact2(
    folder: str | Path,
    model: Compact2CLAP,
    *,
    training: Mapping[str, Any] | None = None,
    metrics: Any = None,
) -> Path:
    """Write a trained second compact CLAP as a release, with a golden example that it must reproduce.

    Matrices and kernels are stored as float16; norms, biases and means stay exact.
    """
    model.eval()
    config = {"backend": Compact2CLAP.name, **asdict(model.config)}
    contents = {"training": training, "metrics": metrics, "half": True}
    state = model.state_dict()
    save_release(folder, KIND, config, state, **contents)
    stored = load_compact2(folder, *model._sentence_encoder)  # golden values belong to the weights as rounded
    return save_release(folder, KIND, config, state, golden=golden_tensors(stored), **contents)


def load_compact2(name: str | Path = NAME, sentence_encoder: nn.Module | None = None) -> Compact2CLAP:
    """Build the second compact CLAP from its release, in evaluation mode.

    Args:
        name: of the release, or its folder.
        sentence_encoder: as for `Compact2CLAP`; None is MiniLM.

    Raises:
        BackendUnavailableError: the release is not at hand.
        CheckpointError: it is damaged, or its weights do not fit its config.
    """
    release = load_release(name, KIND)
    config = compact2_config(release.config, release.folder.name)
    model = rebuild(lambda: Compact2CLAP(config, sentence_encoder), release, "CLAP").requires_grad_(True)
    # float16 keys are not quite of unit norm; a cosine must not pass 1.
    keys = model.class_text.keys
    keys.copy_(torch.nn.functional.normalize(keys, dim=-1))
    return model.eval()


def compact2_config(values: Mapping[str, Any], name: str) -> Compact2Config:
    """Rebuild the dataclass from JSON values; arguments and errors as in `compact_config`."""
    fields = {key: value for key, value in values.items() if key != "backend"}
    where = f"config.json of the release '{name}'"
    config = build_settings(Compact2Config, fields, where, CheckpointError)
    limits = (
        ("sample_rate", config.sample_rate, 1000, 384_000),
        ("n_fft", config.n_fft, 16, 65_536),
        ("hop_length", config.hop_length, 1, config.n_fft),
        ("window_samples", config.window_samples, 2, config.n_fft),
        ("n_mels", config.n_mels, 1, config.n_fft // 2 + 1),
        ("f_max", config.f_max, 1, config.sample_rate / 2),
        ("clip_seconds", config.clip_seconds, 0.1, 60),
        ("learned_dim", config.learned_dim, 1, 65_536),
        ("phrases", config.phrases, 1, 1_000_000),
    )
    check_ranges(limits, where)
    return config
