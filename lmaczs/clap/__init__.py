"""Zero-shot classifiers, opened up between front end and encoder; `BACKENDS` lists them by key."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from lmaczs.errors import BackendUnavailableError

if TYPE_CHECKING:
    from lmaczs.clap.base import CLAPBackend


def _compact() -> "CLAPBackend":
    from lmaczs.clap.compact_release import load_compact

    return load_compact()


def _debug() -> "CLAPBackend":
    from lmaczs.clap.debug import build_debug

    return build_debug()


BACKENDS: dict[str, Callable[[], "CLAPBackend"]] = {
    "compact": _compact,  # embedded, works without a network
    "debug": _debug,  # the same class with tiny untrained weights, for tests
}


def load_backend(name: str = "compact", device: str | None = None) -> "CLAPBackend":
    """Load a CLAP for inference; asking again gives the same object.

    Args:
        name: key in `BACKENDS`.
        device: "cpu", "cuda", "cuda:1", …; None takes a GPU if there is one.

    Returns:
        The backend in evaluation mode, without gradients for its own weights (gradients still flow through
        it).

    Raises:
        BackendUnavailableError: no such backend or device, or its weights are not at hand.
        CheckpointError: its release is damaged.
    """
    if name not in BACKENDS:
        known = ", ".join(f"'{key}'" for key in BACKENDS)
        raise BackendUnavailableError(f"There is no backend '{name}': choose one of {known}.")
    return _load(name, _device(device))


@lru_cache(maxsize=4)
def _load(name: str, device: str) -> "CLAPBackend":
    return BACKENDS[name]().to(device).eval().requires_grad_(False)


def _device(device: str | None) -> str:
    """A device that exists, spelled in one way, so that the same weights are not loaded twice."""
    import torch

    gpu = torch.cuda.is_available()
    if device is None:
        return "cuda:0" if gpu else "cpu"
    try:
        wanted = torch.device(device)
        usable = wanted.type == "cpu" or (
            gpu and wanted.type == "cuda" and (wanted.index or 0) < torch.cuda.device_count()
        )
    except RuntimeError:
        usable = False
    if not usable:
        there = ["cpu"] + [f"cuda:{index}" for index in range(torch.cuda.device_count() if gpu else 0)]
        raise BackendUnavailableError(
            f"There is no device '{device}' here: choose one of {', '.join(there)}."
        )
    return "cpu" if wanted.type == "cpu" else f"cuda:{wanted.index or 0}"
