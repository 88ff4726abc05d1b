"""Published files from the hub: at a pinned commit, announced before they start, checked each time they are used.

The hub's own cache keeps the files, and resumes or repeats what was broken off. It trusts a file once it is there; here
every file is also held against the checksum that the cache filed it under, so that a damaged one is fetched again, and
against the sha256 that `lmaczs.pins` has for it.
"""

import hashlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.pins import check_pinned
from lmaczs.types import Progress

BLOCK_BYTES = 1 << 22
WAYS_ON = (
    "connect to the internet once, give the files with --weights, or use the embedded model 'compact-2', which needs no "
    "network"
)


@dataclass(frozen=True)
class Published:
    """Files of one hub repository at one commit.

    Attributes:
        repository: "owner/name".
        commit: full hash; the same name always means the same bytes.
        licence: of the files, for people.
        files: one group for each file that is needed; of a group's names the first that exists is taken.
    """

    repository: str
    commit: str
    licence: str
    files: tuple[tuple[str, ...], ...]


def fetch(published: Published, progress: Progress | None = None) -> dict[str, Path]:
    """Bring files into the hub's cache, or find them there; with LMACZS_PINS each is held against its pinned sha256.

    Args:
        published: what to fetch.
        progress: called with the share of the download that is done; None writes a line and a bar to the terminal.

    Returns:
        Path of each file by its name, one entry for each group.

    Raises:
        BackendUnavailableError: they are not here and cannot be fetched, or a file has no pin where pins are asked for.
        CheckpointError: a file stays damaged after it was fetched again, or is not the pinned one.
    """
    found = _found(published, progress)
    check_pinned(published.repository, published.commit, found)
    return found


def _found(published: Published, progress: Progress | None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    wanted: list[tuple[tuple[str, ...], bool]] = []  # (group, a damaged copy lies in the cache)
    for group in published.files:
        cached = _cached(published, group)
        if cached is not None and is_intact(cached[1]):
            found[cached[0]] = cached[1]
        else:
            wanted.append((group, cached is not None))
    if not wanted:
        return found
    plans = [(*_plan(published, group), damaged) for group, damaged in wanted]
    total = sum(size for _, size, _ in plans)
    again = "again, a copy here is damaged, " if any(damaged for *_, damaged in plans) else ""
    line = (
        f"fetching {published.repository} {again}({total / 1e6:.0f} MB, licence {published.licence}, "
        f"commit {published.commit[:7]})"
    )
    if progress is None:
        tqdm.write(line[0].upper() + line[1:], file=sys.stderr)
    else:
        progress(0.0, line)
    done = 0
    for name, size, damaged in plans:
        bar = None if progress is None else _reporting_bar(_share(progress, line, done, total))
        path = Path(_ask(published, name, force_download=damaged, tqdm_class=bar))
        if not is_intact(path):
            raise CheckpointError(
                f"'{name}' of {published.repository} arrived damaged twice: check the disk and the connection, then "
                "try again, or use the embedded model 'compact-2'."
            )
        found[name] = path
        done += size
    return found


def is_intact(path: Path) -> bool:
    """Whether a cached file still has the checksum that the cache filed it under.

    The cache's snapshot points to a blob named by the hub's checksum: sha256 for large files, git's own for small ones.
    Where the file is no such pointer (file systems without links) nothing is known, and the readers have to find out.
    """
    if not path.is_file():
        return False
    name = Path(os.readlink(path)).name if path.is_symlink() else ""
    if re.fullmatch(r"[0-9a-f]{64}", name):
        digest = hashlib.sha256()
    elif re.fullmatch(r"[0-9a-f]{40}", name):
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return True
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest() == name


def _cached(published: Published, group: tuple[str, ...]) -> tuple[str, Path] | None:
    from huggingface_hub import try_to_load_from_cache

    for name in group:
        path = try_to_load_from_cache(published.repository, name, revision=published.commit)
        if isinstance(path, str):
            return name, Path(path)
    return None


def _plan(published: Published, group: tuple[str, ...]) -> tuple[str, int]:
    """Which file of a group the hub has, and its size in bytes."""
    from huggingface_hub.errors import EntryNotFoundError

    for name in group:
        try:
            return name, int(_ask(published, name, dry_run=True).file_size or 0)
        except EntryNotFoundError:
            continue
    raise BackendUnavailableError(
        f"The hub's {published.repository} has no file '{group[0]}' any more: give the files with --weights, or use "
        "the embedded model 'compact-2'."
    )


def _ask(published: Published, name: str, **options: Any) -> Any:
    """hf_hub_download, with what can go wrong on the way in one sentence; other errors (a stop) pass."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        EntryNotFoundError,
        HTTPError,
        LocalEntryNotFoundError,
    )

    try:
        return hf_hub_download(published.repository, name, revision=published.commit, **options)
    except (EntryNotFoundError, HTTPError, OSError) as error:
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise  # the hub answers, and has no such file
        raise BackendUnavailableError(
            f"{published.repository} is not on this machine (or damaged here) and could not be fetched: {WAYS_ON}."
        ) from error


def _share(progress: Progress, line: str, done: int, total: int) -> Callable[[int], None]:
    """Bytes of the current file -> share of all files."""

    def report(received: int) -> None:
        progress(min((done + received) / max(total, 1), 1.0), line)

    return report


def _reporting_bar(report: Callable[[int], None]) -> type[tqdm]:
    """A silent bar for huggingface_hub that passes on how many bytes have arrived."""

    class ReportingBar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)  # an option of the hub's own bar
            self.received = int(options.get("initial") or 0)
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.received += int(n or 0)
            report(self.received)
            return None

    return ReportingBar
