"""config.json of a release folder, and any of its files as bytes: read with suspicion, and without loading torch."""

import json
import stat
from pathlib import Path
from typing import Any, NoReturn

from lmaczs.errors import CheckpointError

FORMAT = 1
CONFIG, WEIGHTS, GOLDEN = "config.json", "model.safetensors", "golden.safetensors"
RESERVED = ("format", "kind", "weights_sha256")
LFS_POINTER = b"version https://git-lfs"
# Bytes that a file may have at most; the largest published CLAP has 2.3 GB, releases of this project 10 MB.
LIMITS = {CONFIG: 1 << 20, GOLDEN: 1 << 28, WEIGHTS: 1 << 32}


def read_config(folder: Path) -> dict[str, Any]:
    """What config.json says, with its reserved keys.

    Raises:
        CheckpointError: it is missing, damaged or of an unknown format.
    """
    if not (folder / CONFIG).exists():
        raise CheckpointError(f"'{folder.name}' is no release: it has no {CONFIG}. Choose a release folder.")
    try:
        config = json.loads(bytes_of(folder, CONFIG).decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{CONFIG} of the release '{folder.name}' cannot be read: fetch the release again."
        ) from error
    if not isinstance(config, dict) or "format" not in config:
        raise CheckpointError(
            f"{CONFIG} of '{folder.name}' does not describe a release: fetch the release again."
        )
    if config["format"] is True or config["format"] != FORMAT:
        raise CheckpointError(
            f"The release '{folder.name}' has format {str(config['format'])[:20]}, this version of lmaczs reads format "
            f"{FORMAT}: update lmaczs, or fetch an older release."
        )
    if missing := [key for key in ("kind", "weights_sha256") if not isinstance(config.get(key), str)]:
        raise CheckpointError(f"{CONFIG} of '{folder.name}' lacks '{missing[0]}': fetch the release again.")
    return config


def bytes_of(folder: Path, name: str) -> bytes:
    """A whole file, if it is an ordinary one of an ordinary size."""
    try:
        found = (folder / name).stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LIMITS[name]:
            raise CheckpointError(
                f"{name} of '{folder.name}' is no file of at most {LIMITS[name] / 1e6:,.0f} MB: fetch the release again."
            )
        return (folder / name).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The release '{folder.name}' has no readable {name}: fetch the release again."
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
