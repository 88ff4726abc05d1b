"""Where a classifier of transformers lies and what its labels are; loads neither torch nor transformers."""

import json
import re
from pathlib import Path
from typing import Any

from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.release_names import COMMIT, HUB_NAME
from lmaczs.types import Progress

PREFIX = "hf:"
# Of classifiers that a Python file makes, see `lmaczs.clap.labels.python_file`.
PYTHON = "py:"
CONFIG, WEIGHTS, SHARDS = "config.json", "model.safetensors", "model.safetensors.index.json"
EXTRACTORS = ("preprocessor_config.json", "processor_config.json")
VOCABULARY = (("tokenizer.json",), ("tokenizer_config.json",))
# Kinds of models (`model_type`) that take any prompt.
OPEN = ("clap", "pe_audio")
SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")
MAX_JSON_BYTES = 10_000_000


def shown_name(name: str) -> str:
    """A classifier's name in results and for visitors: without the place where its folder or file lies.

    Args:
        name: as `load_backend` takes it.
    """
    kind, _, place = name.partition(":")
    return f"{kind}:{Path(place).resolve().name}" if place and Path(place).exists() else name


def takes_any_prompt(config: dict[str, Any]) -> bool:
    """Whether a configuration is that of a CLAP, and not of a classifier with labels."""
    return config.get("model_type") in OPEN


def labels_of(name: str) -> tuple[str, ...] | None:
    """Labels of "hf:...", in the order of its logits; None: it takes any prompt. Files of the hub are fetched.

    Raises:
        BackendUnavailableError: see `folder_of`.
        CheckpointError: its configuration is damaged.
    """
    config = read_json(folder_of(name) / CONFIG)
    return None if takes_any_prompt(config) else labels_in(config)


def folder_of(name: str, progress: Progress | None = None) -> Path:
    """Folder with the files of "hf:..."; those of a repository are fetched, or taken from the hub's cache.

    Args:
        name: "hf:" and the place.
        progress: as `lmaczs.clap.download.fetch` takes it.

    Raises:
        BackendUnavailableError: there is none.
    """
    place = name.removeprefix(PREFIX)
    if (Path(place) / CONFIG).is_file():
        return Path(place)
    repository, _, commit = place.partition("@")
    if Path(place).is_dir() or not HUB_NAME.fullmatch(repository):
        raise BackendUnavailableError(
            f"'{Path(place).name or place}' is no folder with a {CONFIG}: give 'hf:' and the folder of a classifier, or "
            "'hf:owner/name@COMMIT' of the hub."
        )
    if not COMMIT.fullmatch(commit):
        raise BackendUnavailableError(
            f"'{place}' names no commit: write 'hf:{repository}@COMMIT' with the full hash (40 hexadecimal digits), so "
            "that the same name always means the same model."
        )
    return _fetched(repository, commit, progress)


def _fetched(repository: str, commit: str, progress: Progress | None) -> Path:
    """Folder in the hub's cache, with all files that its model needs."""
    from lmaczs.clap.download import Published, fetch

    def bring(*files: tuple[str, ...]) -> dict[str, Path]:
        return fetch(Published(repository, commit, "of its authors", files), progress)

    config = bring((CONFIG,))[CONFIG]
    vocabulary = VOCABULARY if takes_any_prompt(read_json(config)) else ()
    found = bring(EXTRACTORS, (WEIGHTS, SHARDS), *vocabulary)
    if SHARDS in found:
        places = read_json(found[SHARDS]).get("weight_map")
        names = sorted(set(map(str, places.values()))) if isinstance(places, dict) else []
        if not names or not all(SHARD.fullmatch(name) for name in names):
            raise CheckpointError(
                f"'{SHARDS}' of {repository} does not name files with weights: choose another commit."
            )
        bring(*((name,) for name in names))
    return config.parent


def read_json(path: Path) -> dict[str, Any]:
    """A configuration.

    Raises:
        CheckpointError: it is none.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError
    except (OSError, ValueError, RecursionError):
        raise CheckpointError(
            f"'{path.name}' of the classifier cannot be read: give a folder as transformers' save_pretrained writes it."
        ) from None
    return found


def labels_in(config: dict[str, Any]) -> tuple[str, ...]:
    """Labels in the order of the logits.

    Raises:
        CheckpointError: the configuration does not number them.
    """
    found = config.get("id2label")
    if found is None:
        raise CheckpointError(
            "The classifier's config.json has no id2label: save it again with the names of its labels."
        )
    try:
        by_number = {int(number): str(label) for number, label in found.items()}
    except (AttributeError, TypeError, ValueError):
        by_number = {}
    if sorted(by_number) != list(range(len(by_number))) or not by_number:
        raise CheckpointError(
            "id2label in the classifier's config.json does not number the labels from 0: save the classifier again."
        )
    return tuple(by_number[number] for number in range(len(by_number)))
