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
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Module

from lmaczs.errors import CheckpointError
from lmaczs.release_config import CONFIG, FORMAT, GOLDEN, RESERVED, WEIGHTS, read_config
from lmaczs.release_files import read_golden, read_weights, storable, swap_in, write_json
from lmaczs.release_names import find_release
from lmaczs.settings import fit_value

Network = TypeVar("Network", bound=Module)


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
    weights = {name: storable(name, value, half) for name, value in state.items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh.chmod(0o755)  # mkdtemp makes private folders
        save_file(weights, fresh / WEIGHTS)
        digest = hashlib.sha256((fresh / WEIGHTS).read_bytes()).hexdigest()
        write_json(fresh / CONFIG, {"format": FORMAT, "kind": kind, "weights_sha256": digest, **config})
        if training is not None:
            write_json(fresh / "training.json", training)
        if metrics is not None:
            write_json(fresh / "metrics.json", metrics)
        if golden is not None:
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in golden.items()}, fresh / GOLDEN
            )
        for path in fresh.iterdir():
            path.chmod(0o644)  # safetensors writes private files
        swap_in(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def load_release(name: str | Path, kind: str, *, revision: str | None = None) -> Release:
    """Read and check a release.

    Args:
        name: an embedded release ("compact-clap-2"), a folder, or a hub repository at a commit ("owner/name@COMMIT").
        kind: what is expected in it.
        revision: full commit hash, for a repository that is named without it. One of both is needed, so that the same
            name always means the same weights.

    Raises:
        BackendUnavailableError: there is no such release, or it cannot be fetched.
        CheckpointError: it is damaged, of an unknown format or of another kind.
    """
    folder = find_release(name, revision=revision)
    config = read_config(folder)
    if config["kind"] != kind:
        raise CheckpointError(
            f"The release '{folder.name}' holds '{config['kind']}' weights, but '{kind}' weights are needed: "
            "choose a release of that kind ('python -m lmaczs list' shows them)."
        )
    state = read_weights(folder, config["weights_sha256"])
    return Release({key: value for key, value in config.items() if key not in RESERVED}, state, folder)


def weights_sha256(module: Module) -> str:
    """Hash of a network's weights: what decoders and interpreters know their classifier by.

    sha256 over the names in `state_dict`, sorted, each with type, shape and bytes. It is computed anew in every call (a
    second for 2 GB), since weights may be changed in place.
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def trained_for(backend: Module, head: Module | None = None) -> dict[str, str]:
    """What a release says of the classifier that its weights were trained for.

    Args:
        backend: a CLAP.
        head: with fixed labels on it, where its decision is explained and not the CLAP's own.
    """
    said = {"backend": str(backend.name), "backend_sha256": weights_sha256(backend)}
    return said if head is None else said | {"head_sha256": weights_sha256(head)}


def refuse_other_backend(
    config: Mapping[str, Any], backend: Module, what: str, script: str, head: Module | None = None
) -> None:
    """Stop where a release was trained for another classifier: its weights would run, and mean nothing.

    Weights that are changed later, as sanity checks do, are not noticed: this is a check for those who load.

    Args:
        config: of the release.
        backend: the CLAP that is loaded.
        what: noun for what the release holds.
        script: in train/ that makes such releases.
        head: that is explained, where it is at hand.

    Raises:
        CheckpointError: the CLAP has another name or other weights, the head has other weights, or the release does
            not say what it was trained for.
    """
    name, wanted = config.get("backend"), trained_for(backend, head)
    if name != wanted["backend"]:
        raise CheckpointError(
            f"This {what} was trained for the backend '{name}', but '{wanted['backend']}' is loaded: choose one for "
            f"'{wanted['backend']}', or train one with train/{script}."
        )
    for key, noun in (("backend_sha256", f"'{name}'"), ("head_sha256", "the head that it explains")):
        if key in wanted and key not in config:
            raise CheckpointError(
                f"This {what} does not say which weights of {noun} it was trained for: run 'python -m train.rebind' on "
                "it if they are those that are loaded, or fetch a newer release."
            )
        if key in wanted and config[key] != wanted[key]:
            raise CheckpointError(
                f"This {what} was trained for other weights of {noun} than those that are loaded (sha256 "
                f"{str(config[key])[:12]}…, loaded {wanted[key][:12]}…): load those, or train one with train/{script}."
            )


def with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a class as they were before they became JSON, which knows lists only."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def value_of(release: Release, key: str, hint: Any) -> Any:
    """What config.json holds under a key, as the type that is needed, which may be a dataclass.

    Raises:
        CheckpointError: the value is missing or cannot be used.
    """
    where = f"{CONFIG} of the release '{release.folder.name}' at '{key}'"
    return fit_value(hint, release.config.get(key), where, CheckpointError)


def rebuild(make: Callable[[], Network], release: Release, what: str, again: str = "export") -> Network:
    """Build the network that a release describes, with its weights; in eval mode and frozen from then on.

    It is built twice, first without memory, so that sizes that do not fit the weights cost nothing.

    Args:
        make: builds the network with any weights.
        release: that it is for.
        what: noun for what the release holds.
        again: verb for how its maker makes such a release once more.

    Raises:
        CheckpointError: names or shapes differ from those of the weights, or no such network can be built.
    """
    wanted = {name: value.shape for name, value in release.state.items()}
    try:
        with torch.device("meta"):
            found = {name: value.shape for name, value in make().state_dict().items()}
        if found != wanted:
            raise ValueError("names or shapes differ")
        # Weights that are drawn and thrown away at once leave the caller's random numbers as they were.
        with torch.random.fork_rng(devices=[]):
            network = make()
        network.load_state_dict(release.state)
    except (
        ArithmeticError,
        AssertionError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise CheckpointError(
            f"The weights of the {what} '{release.folder.name}' do not fit its {CONFIG}: fetch the release again, or "
            f"{again} it again."
        ) from error
    return network.eval().requires_grad_(False)


def load_golden(folder: str | Path) -> dict[str, Tensor] | None:
    """Tensors that a release must reproduce, or None if it carries none.

    Raises:
        CheckpointError: they cannot be read.
    """
    return read_golden(Path(folder))
