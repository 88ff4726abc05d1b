"""What a place holds: the one lister of folders, tables, WebDataset shards and single recordings, here or at a URL.

Every clip has one name: its path below the folder, its path as the table writes it, or shard/member.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING

from lmaczs.data.clip_table import clip_of
from lmaczs.data.clips import Clip, Listing
from lmaczs.data.places import is_local, open_place, plain_text, shown
from lmaczs.data.shards import SHARD_SUFFIXES
from lmaczs.data.tables import TABLE_SUFFIXES, read_table
from lmaczs.errors import LMACError
from lmaczs.signal.formats import is_sound

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")
ACCEPTED = "give a folder, a CSV with the column path, .tar shards of a WebDataset, or a recording"


def list_source(source: str) -> Listing:
    """Find every recording and shard of a source; whether a table's recordings are there is not asked.

    Folders are searched with all below them. Links to folders are followed, each real folder once; hidden files are
    passed over.

    Args:
        source: path or fsspec URL of a folder, a table, a shard or a recording; shards may be written as
            "set-{000..099}.tar" or with * and ?.

    Returns:
        Clips and shards, each path once, sorted.

    Raises:
        LMACError: there is nothing of the kind.
    """
    passed_over: Counter[str] = Counter()
    found = {clip.path: clip for part in _expand(source) for clip in _find(part, passed_over)}
    clips = [found[path] for path in sorted(found)]
    if not clips:
        raise LMACError(f"'{shown(source)}' holds no recordings: {ACCEPTED}.")
    return Listing(
        tuple(clip for clip in clips if not is_shard(clip.path)),
        shards=tuple(clip for clip in clips if is_shard(clip.path)),
        passed_over=passed_over,
    )


def is_shard(path: str) -> bool:
    """Whether a file name is that of a shard."""
    return path.lower().endswith(SHARD_SUFFIXES)


def _expand(source: str) -> Iterator[str]:
    """Write out {000..009}, as WebDataset does; what exists under the name itself is meant as it is."""
    if os.path.lexists(source):
        yield source
        return
    pieces = NUMBERS.split(source)  # text, first, last, text, first, last, text
    ranges = []
    for first, last in zip(pieces[1::3], pieces[2::3], strict=True):
        ranges.append([f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)])
    for numbers in product(*ranges):
        yield "".join(a + b for a, b in zip(pieces[0::3], [*numbers, ""], strict=True))


def _find(source: str, passed_over: Counter[str]) -> Iterator[Clip]:
    files, root = open_place(source)
    name = plain_text(root.rpartition("/")[2])
    try:
        # Elsewhere a name tells: to ask a web server whether it is a folder would fetch the file.
        folder = is_local(files) and files.isdir(root)
        if any(sign in name for sign in "*?[") and not files.exists(root):
            paths = [str(path) for path in files.glob(root)]
            yield from _sounds(files, paths, os.path.dirname(root), passed_over)
        elif not folder and root.lower().endswith(TABLE_SUFFIXES):
            yield from _listed(files, root, name)
        elif not folder and (is_shard(root) or is_sound(root)):
            if not files.exists(root):
                raise LMACError(f"There is no '{name}': check its name and place.")
            yield Clip(name, _url(files, root))
        elif folder or files.isdir(root):
            yield from _sounds(files, _files_below(files, root, passed_over), root, passed_over)
        else:
            raise LMACError(f"'{name}' is nothing that can be explained: {ACCEPTED}.")
    except LMACError:
        raise
    except Exception as error:  # every file system has errors of its own
        raise LMACError(
            f"'{shown(source)}' cannot be read ({type(error).__name__}): check its name, and that you may read it."
        ) from error


def _sounds(
    files: "AbstractFileSystem", paths: Iterable[str], root: str, passed_over: Counter[str]
) -> Iterator[Clip]:
    """The recordings and shards among files below a folder."""
    for path in paths:
        below = plain_text(path[len(root) :].lstrip("/"))
        name = below.rpartition("/")[2]
        if any(part.startswith(".") for part in below.split("/")):
            passed_over["hidden"] += 1
        elif is_sound(name) or is_shard(name):
            yield Clip(below, _url(files, path))
        else:
            passed_over[os.path.splitext(name)[1].lower() or "no suffix"] += 1


def _files_below(files: "AbstractFileSystem", root: str, passed_over: Counter[str]) -> Iterator[str]:
    """Paths of all files; on this machine in every real folder once, before one that a link leads to."""
    if not is_local(files):
        yield from files.find(root)
        return
    folders: list[str] = [root]
    linked: list[str] = []
    seen: set[str] = set()
    while folders or linked:
        folder = (folders or linked).pop(0)
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(folder) as entries:
                content = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            if folder == root:
                raise
            passed_over["folders that cannot be opened"] += 1
            continue
        for entry in content:
            if not entry.is_dir():
                yield entry.path
            elif entry.name.startswith("."):
                passed_over["hidden"] += 1
            else:
                (linked if entry.is_symlink() else folders).append(entry.path)


def _listed(files: "AbstractFileSystem", root: str, name: str) -> Iterator[Clip]:
    """Clips of a table."""
    table = read_table(files.cat_file(root), name)
    if table.lacking(("path",)):
        raise LMACError(f"'{name}' has no column 'path': it has {', '.join(table.columns)[:200] or 'none'}.")
    folder = _url(files, root).rpartition("/")[0]
    yield from (clip_of(row, folder) for row in table.rows if row["path"])


def _url(files: "AbstractFileSystem", path: str) -> str:
    """A place that `open_place` opens, also on another machine that has it."""
    return path if is_local(files) else str(files.unstrip_protocol(path))
