"""Classifiers, opened up between front end and encoder; `BACKENDS` lists those that are known by a key of their own."""

import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from lmaczs.clap.labels.folders import PREFIX, PYTHON, labels_of
from lmaczs.errors import BackendUnavailableError
from lmaczs.types import Progress

if TYPE_CHECKING:
    from lmaczs.clap.base import CLAPBackend

VARIABLE = "LMACZS_BACKEND"
# Comes with every installation and works without a network.
EMBEDDED = "compact-2"
# What `train.train_clap` makes.
UNTRAINED = "compact"
# Come without weights: they need --weights.
WITHOUT_WEIGHTS = (UNTRAINED, "glap")


@dataclass(frozen=True)
class BackendEntry:
    """What is known of a backend before it is loaded.

    Attributes:
        label: name for people.
        licence: of its weights.
        load: builds it on the CPU; None for weights means the embedded or published ones.
        download_mb: to fetch at the first use; 0 if it came with this installation.
    """

    label: str
    licence: str
    load: Callable[[Path | None, Progress | None], "CLAPBackend"]
    download_mb: int = 0


def _compact(weights: Path | None, progress: Progress | None) -> "CLAPBackend":
    from lmaczs.clap.compact_release import load_compact

    if weights is None:
        raise BackendUnavailableError(
            f"The backend '{UNTRAINED}' comes without weights: give --weights and a release of train.train_clap, or "
            f"choose the embedded '{EMBEDDED}'."
        )
    return load_compact(weights)


def _compact_2(weights: Path | None, progress: Progress | None) -> "CLAPBackend":
    from lmaczs.clap.compact2_release import NAME, load_compact2

    return load_compact2(weights or NAME)


def _debug(weights: Path | None, progress: Progress | None) -> "CLAPBackend":
    from lmaczs.clap.debug import build_debug

    if weights is not None:
        raise BackendUnavailableError("The backend 'debug' has no weights to load: leave out --weights.")
    return build_debug()


def _msclap_2022(weights: Path | None, progress: Progress | None) -> "CLAPBackend":
    from lmaczs.clap.msclap import VERSION_2022, load_msclap

    return load_msclap(VERSION_2022, weights, progress)


def _msclap_2023(weights: Path | None, progress: Progress | None) -> "CLAPBackend":
    from lmaczs.clap.msclap import VERSION_2023, load_msclap

    return load_msclap(VERSION_2023, weights, progress)


def _laion(name: str) -> Callable[[Path | None, Progress | None], "CLAPBackend"]:
    def load(weights: Path | None, progress: Progress | None) -> "CLAPBackend":
        from lmaczs.clap.laion import load_laion

        return load_laion(name, weights, progress)

    return load


def _glap(weights: Path | None, progress: Progress | None) -> "CLAPBackend":
    from lmaczs.clap.glap import load_glap

    return load_glap(weights)


def _own(name: str) -> Callable[[Path | None, Progress | None], "CLAPBackend"]:
    def load(weights: Path | None, progress: Progress | None) -> "CLAPBackend":
        from lmaczs.clap.labels.hugging_face import load_hugging_face
        from lmaczs.clap.labels.python_file import load_python_file

        if weights is not None:
            raise BackendUnavailableError(
                "A backend 'hf:...' or 'py:...' brings its own weights: leave out --weights."
            )
        return load_python_file(name) if name.startswith(PYTHON) else load_hugging_face(name, progress)

    return load


BACKENDS: dict[str, BackendEntry] = {
    EMBEDDED: BackendEntry("Compact CLAP", "Apache-2.0 and MIT, with attributions", _compact_2),
    UNTRAINED: BackendEntry("Compact CLAP with a CNN14, trained by yourself", "your own", _compact),
    "debug": BackendEntry("Tiny untrained CLAP for tests", "Apache-2.0", _debug),
    "msclap-2022": BackendEntry("Microsoft CLAP 2022", "MS-PL", _msclap_2022, download_mb=2300),
    "msclap-2023": BackendEntry("Microsoft CLAP 2023", "MS-PL", _msclap_2023, download_mb=690),
    "laion": BackendEntry("LAION CLAP, HTSAT unfused", "Apache-2.0", _laion("laion"), download_mb=615),
    "laion-general": BackendEntry(
        "LAION CLAP, larger, general", "Apache-2.0", _laion("laion-general"), download_mb=777
    ),
    "laion-music": BackendEntry(
        "LAION CLAP, larger, music and speech", "Apache-2.0", _laion("laion-music"), download_mb=777
    ),
    "glap": BackendEntry("GLAP (Dasheng, SONAR)", "Apache-2.0", _glap),
}

_Key = tuple[str, str, str]  # name, device, weights
_loaded: dict[_Key, "CLAPBackend"] = {}
# One for each: a download must not hold up the embedded model.
_locks: defaultdict[str, Lock] = defaultdict(Lock)


def default_backend() -> str:
    """The backend that is used where none is named: LMACZS_BACKEND, or the embedded one."""
    return os.environ.get(VARIABLE, "").strip() or EMBEDDED


def entry_for(name: str) -> BackendEntry:
    """What is known of a classifier before it is loaded: of a key of `BACKENDS`, of "hf:..." or "py:...".

    Raises:
        BackendUnavailableError: there is no such backend.
    """
    if name.startswith((PREFIX, PYTHON)):
        return BackendEntry(Path(name.partition(":")[2]).name, "of its authors", _own(name))
    if name not in BACKENDS:
        known = ", ".join(f"'{key}'" for key in BACKENDS)
        raise BackendUnavailableError(
            f"There is no backend '{name}': choose one of {known}, 'hf:' and the folder of one of transformers' audio "
            "classifiers, or 'py:' and a Python file that makes one."
        )
    return BACKENDS[name]


def labels_for(name: str) -> tuple[str, ...] | None:
    """Labels that a classifier was trained for; None: it takes any prompt. Only that of a "py:..." is loaded for it.

    Raises:
        BackendUnavailableError: there is no such backend, or its files cannot be fetched.
        CheckpointError: its configuration is damaged.
    """
    entry_for(name)
    if name.startswith(PYTHON):
        return load_backend(name, "cpu").labels
    return labels_of(name) if name.startswith(PREFIX) else None


def load_backend(
    name: str | None = None,
    device: str | None = None,
    *,
    weights: str | Path | None = None,
    progress: Progress | None = None,
) -> "CLAPBackend":
    """Load a classifier for inference; asking again gives the same object.

    One fetched model is kept at a time: the next one takes its place, and its memory is free once nobody uses it.

    Args:
        name: key in `BACKENDS`, or one of transformers' audio classifiers: "hf:FOLDER" or "hf:owner/name@COMMIT", or
            "py:FILE.py", a file of one's own whose function `classifier()` makes one; None is
            `default_backend()`.
        device: "cpu", "cuda", "cuda:1", …; None takes a GPU if there is one.
        weights: a file or folder to load in the place of the published weights, in the publisher's own layout.
        progress: called while files are fetched, with the share done and what is being done; it may raise to stop.
            None shows a bar in the terminal.

    Returns:
        The backend in evaluation mode, without gradients for its own weights (gradients still flow through
        it).

    Raises:
        BackendUnavailableError: no such backend or device, or its weights are not at hand.
        CheckpointError: its weights are damaged or belong to another model.
    """
    name = default_backend() if name is None else name
    entry = entry_for(name)
    place = _device(device)
    path = None if weights is None else Path(weights)
    key = (name, place, "" if path is None else str(path.absolute()))
    if key not in _loaded:
        with _locks[name]:
            if key not in _loaded:
                fresh = entry.load(path, progress).to(place).eval().requires_grad_(False)
                for other in [k for k in _loaded if _is_large(k[0]) and _is_large(name)]:
                    _loaded.pop(other, None)
                _loaded[key] = fresh
    return _loaded[key]


def _is_large(name: str) -> bool:
    return entry_for(name).download_mb > 0 or name.startswith((PREFIX, PYTHON))


def forget_backend(backend: "CLAPBackend") -> None:
    """Keep a loaded model no longer: its memory is free once nobody uses it, and asking again loads it again."""
    for key in [key for key, kept in _loaded.items() if kept is backend]:
        _loaded.pop(key, None)


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
