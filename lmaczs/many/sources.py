"""What there is to explain: the recordings of a folder, a table, WebDataset shards, or one file, anywhere.

Every clip has one name in the results: its path below the folder, its path as the table writes it, or shard/member.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from lmaczs.errors import LMACError
from lmaczs.many.files import open_place, plain_text, shown

SOUND_SUFFIXES = (
    *(
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".au",
        ".caf",
        ".w64",
        ".rf64",
    ),
    *(".m4a", ".mp4", ".webm", ".aac"),
)
SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")
ACCEPTED = "give a folder, a CSV with the column path, .tar shards of a WebDataset, or a recording"


@dataclass(frozen=True)
class FoundFile:
    """One recording.

    Attributes:
        path: names the clip in the results.
        url: where it lies.
    """

    path: str
    url: str


@dataclass(frozen=True)
class Listing:
    """What a source holds.

    Attributes:
        files: recordings that lie there as files; each path once, sorted.
        shards: tar files, whose recordings are known only to who reads them; each path once, sorted.
    """

    files: tuple[FoundFile, ...]
    shards: tuple[FoundFile, ...]


def list_source(source: str) -> Listing:
    """Find everything in a source.

    Args:
        source: path or fsspec URL of a folder, a .csv, a .tar or a recording; shards may be written as
            "set-{000..099}.tar" or with * and ?.

    Raises:
        LMACError: there is nothing of the kind.
    """
    found = [entry for part in _expand(source) for entry in _find(part)]
    by_path = {entry.path: entry for entry in found}
    entries = [by_path[path] for path in sorted(by_path)]
    shards = tuple(entry for entry in entries if entry.path.endswith(SHARD_SUFFIXES))
    files = tuple(entry for entry in entries if not entry.path.endswith(SHARD_SUFFIXES))
    if not entries:
        raise LMACError(f"'{shown(source)}' holds no recording: {ACCEPTED}.")
    return Listing(files, shards)


def is_sound(path: str) -> bool:
    """Whether a file name is that of a recording, and not hidden."""
    name = path.rpartition("/")[2]
    return name.lower().endswith(SOUND_SUFFIXES) and not name.startswith(".")


def _expand(source: str) -> Iterator[str]:
    """Write out {000..009}, as WebDataset does."""
    pieces = NUMBERS.split(source)  # text, first, last, text, first, last, text
    ranges = []
    for first, last in zip(pieces[1::3], pieces[2::3], strict=True):
        ranges.append([f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)])
    for numbers in product(*ranges):
        yield "".join(a + b for a, b in zip(pieces[0::3], [*numbers, ""], strict=True))


def _find(source: str) -> Iterator[FoundFile]:
    file_system, root = open_place(source)
    name = plain_text(root.rpartition("/")[2])
    try:
        if any(sign in name for sign in "*?[") and not file_system.exists(root):
            for path in file_system.glob(root):
                if path.endswith(SHARD_SUFFIXES) or is_sound(path):
                    yield FoundFile(plain_text(path.rpartition("/")[2]), file_system.unstrip_protocol(path))
        elif root.lower().endswith(".csv"):
            yield from _read_table(file_system.cat_file(root), file_system.unstrip_protocol(root), name)
        elif root.endswith(SHARD_SUFFIXES) or is_sound(root):
            if not file_system.exists(root):
                raise LMACError(f"There is no '{name}': check its name and place.")
            yield FoundFile(name, file_system.unstrip_protocol(root))
        elif file_system.isdir(root):
            for path in file_system.find(root):
                below = plain_text(path[len(root) :].lstrip("/"))
                hidden = any(part.startswith(".") for part in below.split("/"))
                if not hidden and (below.endswith(SHARD_SUFFIXES) or is_sound(below)):
                    yield FoundFile(below, file_system.unstrip_protocol(path))
        else:
            raise LMACError(f"'{name}' is nothing that can be explained: {ACCEPTED}.")
    except LMACError:
        raise
    except Exception as error:  # every file system has errors of its own
        raise LMACError(
            f"'{shown(source)}' cannot be read ({type(error).__name__}): check its name, and that you may read it."
        ) from error


def _read_table(data: bytes, url: str, name: str) -> Iterator[FoundFile]:
    """Paths of a table: relative to it, or absolute, or URLs; a clip with several lines counts once."""
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        if "path" not in (reader.fieldnames or ()):
            raise LMACError(
                f"'{name}' has no column 'path': it has {', '.join(reader.fieldnames or ()) or 'none'}."
            )
        folder = url.rpartition("/")[0]
        for row in reader:
            if path := row["path"]:
                absolute = "://" in path or path.startswith("/")
                yield FoundFile(path, path if absolute else f"{folder}/{path}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise LMACError(f"'{name}' is no CSV file in UTF-8: give a table with the column path.") from error
