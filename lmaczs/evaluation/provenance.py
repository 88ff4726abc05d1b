"""What made a results folder: hashes of weights, methods, sounds and tables."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from lmaczs import __version__
from lmaczs.clap.base import CLAPBackend
from lmaczs.data.clips import Clip
from lmaczs.explainers.base import Method
from lmaczs.hub import weights_sha256


def method_sha256(method: Method) -> str:
    """Hash of what decides a method's explanations beside the classifier: its own weights, its options, its domain.

    Options are the fields that are texts, numbers, or several of these.
    """
    digest = hashlib.sha256(f"{type(method).__qualname__} {method.name}".encode())
    for name, value in sorted(vars(method).items()):
        if isinstance(value, CLAPBackend) or name.startswith("_"):
            continue
        if isinstance(value, nn.Module):
            digest.update(f"{name} {weights_sha256(value)}".encode())
        elif value is None or isinstance(value, str | int | float | tuple):
            digest.update(f"{name} {value!r}".encode())
    return digest.hexdigest()


def sound_sha256(*sources: Path | str | float | None) -> str:
    """Hash of what is heard: the bytes of files, and texts and numbers, such as a noise's seed and a level in dB.

    A file that cannot be read counts as empty: it is a sound of its own until somebody repairs it.
    """
    digest = hashlib.sha256()
    for source in sources:
        try:
            part = source.read_bytes() if isinstance(source, Path) else repr(source).encode()
        except OSError:
            part = b""
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def table_sha256(clips: Sequence[Clip]) -> str:
    """Hash of a clip table: names and labels of its clips, in order."""
    return hashlib.sha256(repr([(clip.path, clip.label) for clip in clips]).encode()).hexdigest()


def common_settings(backend: CLAPBackend, labels: Sequence[str], clips: Sequence[Clip]) -> dict[str, Any]:
    """What decides all numbers of a results folder, as JSON values."""
    return {
        "lmaczs": __version__,
        "backend": backend.name,
        "backend_weights": weights_sha256(backend),
        "labels": list(labels),
        "table": table_sha256(clips),
    }
