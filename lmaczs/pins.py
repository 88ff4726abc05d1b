"""Pinned sha256 of files from the hub: LMACZS_PINS names a file with them, `lmaczs pin` writes it; loads no torch.

A commit names content on the hub's word. A file of pins, kept beside one's own code as a lock file is, makes the machine
that loads a model check for itself: with it every file of the hub needs its pin.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from lmaczs.errors import BackendUnavailableError, CheckpointError

VARIABLE = "LMACZS_PINS"
SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_BYTES = 10_000_000
# "owner/name@COMMIT" -> name of a file -> sha256.
Pins = dict[str, dict[str, str]]

_recorded: ContextVar[Pins | None] = ContextVar("recorded", default=None)


@contextmanager
def recording() -> Iterator[Pins]:
    """Collect the sha256 of the hub's files that are used meanwhile, in the place of checking them."""
    found: Pins = {}
    token = _recorded.set(found)
    try:
        yield found
    finally:
        _recorded.reset(token)


def check_pinned(repository: str, commit: str, files: Mapping[str, Path]) -> None:
    """Hold files of the hub against their pins; without LMACZS_PINS nothing is done.

    Args:
        repository: "owner/name".
        commit: full hash.
        files: by their names in the repository.

    Raises:
        BackendUnavailableError: the file of pins cannot be read, or lacks one.
        CheckpointError: a file is not the one that was pinned.
    """
    place, collected = f"{repository}@{commit}", _recorded.get()
    if collected is not None:
        collected.setdefault(place, {}).update({name: _sha256(path) for name, path in files.items()})
        return
    listed = os.environ.get(VARIABLE, "").strip()
    if not listed:
        return
    pins = read_pins(Path(listed)).get(place, {})
    for name, path in files.items():
        if name not in pins:
            raise BackendUnavailableError(
                f"'{Path(listed).name}' ({VARIABLE}) has no sha256 of '{name}' of {repository} at commit {commit[:7]}, "
                "and only pinned files of the hub are used: add it with 'python -m lmaczs pin', or unset the variable."
            )
        found = _sha256(path)
        if found != pins[name]:
            raise CheckpointError(
                f"'{name}' of {repository} at commit {commit[:7]} is not the pinned file (sha256 {found[:12]}…, pinned "
                f"{pins[name][:12]}…): remove it from the hub's cache and fetch it again; if that does not help, do not "
                "use it."
            )


def read_pins(path: Path) -> Pins:
    """A file of pins.

    Raises:
        BackendUnavailableError: there is none, or it is damaged.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError
        pins = json.loads(path.read_text("utf-8"))
        if not all(SHA256.fullmatch(digest) for files in pins.values() for digest in files.values()):
            raise ValueError
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        raise BackendUnavailableError(
            f"'{path.name}' ({VARIABLE}) cannot be read as a file of pinned sha256: give one that "
            "'python -m lmaczs pin' has written, or unset the variable."
        ) from None
    found: Pins = pins
    return found


def joined(pins: Pins, more: Pins) -> Pins:
    """Both together, sorted.

    Raises:
        CheckpointError: they differ about a file; a commit never changes, so one of them is wrong.
    """
    result = {place: dict(files) for place, files in pins.items()}
    for place, files in more.items():
        known = result.setdefault(place, {})
        for name, digest in files.items():
            if known.setdefault(name, digest) != digest:
                raise CheckpointError(
                    f"'{name}' of {place} has sha256 {digest[:12]}…, but {known[name][:12]}… is pinned, and a commit "
                    "never changes: do not use this file; remove it from the hub's cache."
                )
    return {place: dict(sorted(result[place].items())) for place in sorted(result)}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
