"""Networks that imitate a classifier over fixed labels: FLINT and VIBI, with one way to build, store and ask them."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import LMACError
from lmaczs.explainers.l2i.explainer import interpreter_config
from lmaczs.explainers.l2i.flint import Flint
from lmaczs.explainers.l2i.networks import InterpreterConfig
from lmaczs.explainers.l2i.vibi import Vibi, VibiConfig, levels_of
from lmaczs.hub import load_release, rebuild, refuse_other_backend, save_release, trained_for, value_of
from lmaczs.types import AudioState

KIND = "surrogate"


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
    logits: Tensor = network(audio.hidden)[1]
    return logits


def save_surrogate(
    folder: str | Path,
    backend: CLAPBackend,
    network: Flint | Vibi,
    head: nn.Module | None = None,
    **contents: Any,
) -> Path:
    """Write a release.

    Args:
        folder: of the release.
        backend: that the network was trained for.
        network: that is stored.
        head: whose decision it imitates; None is the backend's own.
        contents: as in `lmaczs.hub.save_release`.
    """
    name = "vibi" if isinstance(network, Vibi) else "flint"
    config = {**trained_for(backend, head), "network": name, "shape": asdict(network.config)}
    return save_release(folder, KIND, config, network.state_dict(), **contents)


def load_surrogate(name: str | Path, backend: CLAPBackend, head: nn.Module | None = None) -> Flint | Vibi:
    """Read a release, in eval mode.

    Args:
        name: of the release, or its folder.
        backend: the CLAP.
        head: that the network imitates, where it is at hand.

    Raises:
        BackendUnavailableError: there is no such release.
        CheckpointError: it is damaged, or was trained for other weights of a CLAP or head.
    """
    release = load_release(name, kind=KIND)
    refuse_other_backend(release.config, backend, "network", "train_l2i_baselines.py", head)
    network: Flint | Vibi
    if value_of(release, "network", Literal["flint", "vibi"]) == "vibi":
        vibi_shape: VibiConfig = value_of(release, "shape", VibiConfig)
        network = rebuild(lambda: Vibi(vibi_shape), release, "network", again="train")
    else:
        flint_shape: InterpreterConfig = value_of(release, "shape", InterpreterConfig)
        network = rebuild(lambda: Flint(flint_shape), release, "network", again="train")
    return network.to(backend.mel_filters.device)
