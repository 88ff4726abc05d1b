"""Release folders: one reader and one writer for weights, embedded in the project, in a folder or on the hub.

A release is a folder of small files, the same everywhere:

    config.json         format, kind, hash of the weights, and what is needed to build the object again
    model.safetensors   weights, matrices as float16 where that was asked for
    training.json       settings of the training run (optional)
    metrics.json        what it scored (optional)
    golden.safetensors  an input and the output that it must reproduce (optional)

Knows nothing of classes: callers get plain dictionaries and load them strictly.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor
from torch.nn import Module

from lmaczs.errors import BackendUnavailableError, CheckpointError

FORMAT = 1
CONFIG, WEIGHTS, GOLDEN = "config.json", "model.safetensors", "golden.safetensors"
RESERVED = ("format", "kind", "weights_sha256")
EMBEDDED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
VARIABLE = "LMACZS_RELEASES"  # NAME=PLACE, with spaces between: releases that are read from another place
LFS_POINTER = b"version https://git-lfs"


class Release(NamedTuple):
    """A release that was read and checked.

    Attributes:
        config: what `save_release` was given.
        state: weights by name; floating tensors are float32.
        folder: where it lies.
    """

    config: dict[str, Any]
    state: dict[str, Tensor]
    folder: Path


def asset_folders() -> tuple[Path, ...]:
    """Folders that hold embedded files: inside an installed package, or beside it in the repository."""
    package = Path(__file__).resolve().parent
    return tuple(path for path in (package / "assets", package.parent / "assets") if path.is_dir())


def named_releases() -> dict[str, str]:
    """Releases that LMACZS_RELEASES names, and where they lie: a folder, or "owner/name@COMMIT" on the hub.

    A decoder that somebody has published becomes that of its CLAP in this way, on the page and everywhere else:
    LMACZS_RELEASES="lmac-zs-msclap-2023-stft=owner/name@COMMIT".

    Raises:
        BackendUnavailableError: the variable is not written like that.
    """
    pairs = [entry.partition("=") for entry in os.environ.get(VARIABLE, "").split()]
    for name, _, place in pairs:
        if not EMBEDDED_NAME.fullmatch(name) or not place:
            raise BackendUnavailableError(
                f"{VARIABLE} holds '{name}': write NAME=PLACE with spaces between, e.g. "
                "lmac-zs-compact-stft=owner/name@COMMIT."
            )
    return {name: place for name, _, place in pairs}


def embedded_releases() -> dict[str, str]:
    """Names of the releases that are found by name, with their kind.

    "damaged" is one that cannot be read, "elsewhere" one that LMACZS_RELEASES names.
    """
    found: dict[str, str] = {}
    for root in asset_folders():
        for path in sorted(root.glob(f"releases/*/{CONFIG}")):
            try:
                kind = _read_config(path.parent)["kind"]
            except CheckpointError:
                kind = "damaged"
            found.setdefault(path.parent.name, kind)
    return found | dict.fromkeys(named_releases(), "elsewhere")


def save_release(
    folder: str | Path,
    kind: str,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    *,
    training: Mapping[str, Any] | None = None,
    metrics: Any = None,
    golden: Mapping[str, Tensor] | None = None,
    half: bool = False,
) -> Path:
    """Write a release; an older one in the same place is replaced only once the new one is complete.

    Args:
        folder: of the release; its name is the release's name.
        kind: what the weights are, e.g. "clap" or "lmac-zs"; `load_release` asks for it again.
        config: JSON values that rebuild the object.
        state: weights by name.
        training: settings of the run, JSON values.
        metrics: what it scored, JSON values.
        golden: named tensors, inputs and the outputs they must give.
        half: store matrices and kernels as float16; vectors (norms, biases, scales) stay exact.

    Returns:
        The folder.

    Raises:
        ValueError: `config` uses a reserved key, or a weight is not finite.
    """
    folder = Path(folder)
    if clash := [key for key in RESERVED if key in config]:
        raise ValueError(f"config must not hold {clash}: the release writes them itself")
    weights = {name: _storable(name, value, half) for name, value in state.items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh.chmod(0o755)  # mkdtemp makes private folders
        save_file(weights, fresh / WEIGHTS)
        digest = hashlib.sha256((fresh / WEIGHTS).read_bytes()).hexdigest()
        _write_json(fresh / CONFIG, {"format": FORMAT, "kind": kind, "weights_sha256": digest, **config})
        if training is not None:
            _write_json(fresh / "training.json", training)
        if metrics is not None:
            _write_json(fresh / "metrics.json", metrics)
        if golden is not None:
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in golden.items()}, fresh / GOLDEN
            )
        for path in fresh.iterdir():
            path.chmod(0o644)  # safetensors writes private files
        _swap_in(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def load_release(name: str | Path, kind: str, *, revision: str | None = None) -> Release:
    """Read and check a release.

    Args:
        name: an embedded release ("compact-clap"), a folder, or a hub repository at a commit ("owner/name@COMMIT").
        kind: what is expected in it.
        revision: full commit hash, for a repository that is named without it. One of both is needed, so that the same
            name always means the same weights.

    Raises:
        BackendUnavailableError: there is no such release, or it cannot be fetched.
        CheckpointError: it is damaged, of an unknown format or of another kind.
    """
    folder = find_release(name, revision=revision)
    config = _read_config(folder)
    if config["kind"] != kind:
        raise CheckpointError(
            f"The release '{folder.name}' holds '{config['kind']}' weights, but '{kind}' weights are needed: "
            "choose a release of that kind ('python -m lmaczs list' shows them)."
        )
    state = _read_weights(folder, config["weights_sha256"])
    return Release({key: value for key, value in config.items() if key not in RESERVED}, state, folder)


def refuse_other_backend(config: Mapping[str, Any], backend: str, what: str, script: str) -> None:
    """Stop where a release was trained for another backend: its weights would run, and mean nothing.

    Args:
        config: of the release.
        backend: key of the one that is loaded.
        what: noun for what the release holds.
        script: in train/ that makes such releases.

    Raises:
        CheckpointError: the keys differ.
    """
    if config["backend"] != backend:
        raise CheckpointError(
            f"This {what} was trained for the backend '{config['backend']}', but '{backend}' is loaded: choose one for "
            f"'{backend}', or train one with train/{script}."
        )


def with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a class as they were before they became JSON, which knows lists only."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def fill(network: Module, state: Mapping[str, Tensor], what: str, again: str = "export") -> None:
    """Put a release's weights into the network that its config.json describes; in eval mode and frozen from then on.

    Args:
        network: with any weights.
        state: of the release.
        what: noun for what the release holds.
        again: verb for how its maker makes such a release once more.

    Raises:
        CheckpointError: names or shapes differ.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f"The {what}'s weights do not fit its config.json: fetch the release again, or {again} it again."
        ) from error
    network.eval().requires_grad_(False)


def load_golden(folder: str | Path) -> dict[str, Tensor] | None:
    """Tensors that a release must reproduce, or None if it carries none."""
    path = Path(folder) / GOLDEN
    return load_file(path) if path.is_file() else None


def find_release(name: str | Path, *, revision: str | None = None) -> Path:
    """Folder of a release; a hub repository is fetched, or taken from the hub's cache.

    Raises:
        BackendUnavailableError: there is no such release, or it cannot be fetched.
    """
    text = named_releases().get(str(name), str(name))
    if EMBEDDED_NAME.fullmatch(text):
        for root in asset_folders():
            if (root / "releases" / text / CONFIG).is_file():
                return root / "releases" / text
    if Path(text).is_dir():
        return Path(text)
    repository, pinned, commit = text.partition("@")
    revision = commit if pinned else revision
    if HUB_NAME.fullmatch(repository) and revision is not None:
        return _fetch(repository, revision)
    known = ", ".join(embedded_releases()) or "none"
    raise BackendUnavailableError(
        f"There is no release '{Path(text).name}'. This installation carries: {known}. Name one of them, a "
        "release folder, or a hub repository at a commit, 'owner/name@COMMIT' with the full commit hash."
    )


def _fetch(repository: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if not COMMIT.fullmatch(revision):
        raise BackendUnavailableError(
            f"'{revision}' is no pinned revision of '{repository}': give the full commit hash (40 "
            "hexadecimal digits)."
        )
    try:
        return Path(
            snapshot_download(repository, revision=revision, allow_patterns=["*.json", "*.safetensors"])
        )
    except RepositoryNotFoundError as error:
        raise BackendUnavailableError(
            f"The hub has no public repository '{repository}': check its name, or log in if it is private."
        ) from error
    except RevisionNotFoundError as error:
        raise BackendUnavailableError(
            f"The hub's '{repository}' has no commit '{revision}': copy the full hash from its list of commits."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise BackendUnavailableError(
            f"The release '{repository}' is not on this machine and could not be fetched: connect to the "
            "internet once, or use an embedded release ('python -m lmaczs list' shows them)."
        ) from error


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"'{folder.name}' is no release: it has no {CONFIG}. Choose a release folder."
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"{CONFIG} of the release '{folder.name}' cannot be read: fetch the release again."
        ) from error
    if not isinstance(config, dict) or "format" not in config:
        raise CheckpointError(
            f"{CONFIG} of '{folder.name}' does not describe a release: fetch the release again."
        )
    if config["format"] != FORMAT:
        raise CheckpointError(
            f"The release '{folder.name}' has format {config['format']}, this version of lmaczs reads format "
            f"{FORMAT}: update lmaczs, or fetch an older release."
        )
    if missing := [key for key in RESERVED if not isinstance(config.get(key), int | str)]:
        raise CheckpointError(f"{CONFIG} of '{folder.name}' lacks '{missing[0]}': fetch the release again.")
    return config


def _read_weights(folder: Path, digest: str) -> dict[str, Tensor]:
    try:
        data = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The release '{folder.name}' has no readable {WEIGHTS}: fetch the release again."
        ) from error
    if data.startswith(LFS_POINTER):
        raise CheckpointError(
            f"{WEIGHTS} of '{folder.name}' is a Git LFS pointer, not the weights: run 'git lfs install', "
            "then 'git lfs pull' in the repository."
        )
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise CheckpointError(
            f"{WEIGHTS} of '{folder.name}' is damaged (sha256 {found[:12]}…, expected {digest[:12]}…): fetch "
            "the release again."
        )
    try:
        state = load(data)
    except SafetensorError as error:
        raise CheckpointError(
            f"{WEIGHTS} of '{folder.name}' is no safetensors file: fetch the release again."
        ) from error
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def _storable(name: str, value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu()
    if value.is_floating_point():
        if not torch.isfinite(value).all():
            raise ValueError(f"weight '{name}' is not finite")
        fits = value.abs().max() <= torch.finfo(torch.float16).max if value.numel() else False
        value = value.half() if half and fits and value.ndim >= 2 else value
    return value.clone(memory_format=torch.contiguous_format)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def _swap_in(fresh: Path, folder: Path) -> None:
    """Put a complete folder in place; a reader sees the old release or the new one, never a mixture."""
    if not folder.exists():
        os.replace(fresh, folder)
        return
    if not (folder / CONFIG).is_file() and any(folder.iterdir()):
        raise ValueError(f"'{folder.name}' is a folder of other files, not a release: choose another name")
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    os.replace(folder, old / folder.name)
    os.replace(fresh, folder)
    shutil.rmtree(old)
