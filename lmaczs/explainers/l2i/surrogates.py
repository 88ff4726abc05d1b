"""Networks that imitate a classifier over fixed labels: FLINT and VIBI, with one way to build, store and ask them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import LMACError
from lmaczs.explainers.l2i.explainer import interpreter_config
from lmaczs.explainers.l2i.flint import Flint
from lmaczs.explainers.l2i.networks import InterpreterConfig
from lmaczs.explainers.l2i.vibi import Vibi, VibiConfig, levels_of
from lmaczs.hub import fill, load_release, refuse_other_backend, save_release, with_tuples
from lmaczs.types import AudioState

KIND = "surrogate"
SHAPES = {"flint": InterpreterConfig, "vibi": VibiConfig}


def build_surrogate(name: str, backend: CLAPBackend, classes: int, components: int) -> Flint | Vibi:
    """A network with fresh weights that fits a backend.

    Args:
        name: "flint" or "vibi".
        backend: whose sounds it gets.
        classes: of the classifier that it imitates.
        components: attributes of FLINT.

    Raises:
        LMACError: there is no such network.
    """
    if name == "flint":
        return Flint(interpreter_config(backend, components, classes=classes))
    if name == "vibi":
        frames = 1 + backend.clip_samples // backend.spectral.hop_length
        return Vibi(VibiConfig(backend.spectral.n_mels, frames, classes))
    raise LMACError(f"There is no interpreter '{name}' here: choose 'flint' or 'vibi'.")


def surrogate_logits(network: nn.Module, audio: AudioState) -> Tensor:
    """What a surrogate thinks of windows: (batch, classes) logits."""
    if isinstance(network, Vibi):
        return network.decide(levels_of(audio.mel_power))
    return network(audio.hidden)[1]


def save_surrogate(folder: str | Path, backend: CLAPBackend, network: Flint | Vibi, **contents: Any) -> Path:
    """Write a release; `contents` as in `lmaczs.hub.save_release`."""
    name = "vibi" if isinstance(network, Vibi) else "flint"
    config = {"backend": backend.name, "network": name, "shape": asdict(network.config)}
    return save_release(folder, KIND, config, network.state_dict(), **contents)


def load_surrogate(name: str | Path, backend: CLAPBackend) -> Flint | Vibi:
    """Read a release, in eval mode.

    Raises:
        BackendUnavailableError: there is no such release.
        CheckpointError: it is damaged, or belongs to another backend.
    """
    config, state, _ = load_release(name, kind=KIND)
    refuse_other_backend(config, backend.name, "network", "train_l2i_baselines.py")
    network: Flint | Vibi = (Vibi if config["network"] == "vibi" else Flint)(  # type: ignore[assignment, arg-type]
        SHAPES[config["network"]](**with_tuples(config["shape"]))  # type: ignore[arg-type]
    )
    fill(network, state, "network", again="train")
    return network.to(backend.mel_filters.device)
