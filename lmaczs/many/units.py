"""Units of work: some files, or one shard; what one worker does from end to end, and what becomes one Parquet file."""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lmaczs.errors import AudioError, LMACError
from lmaczs.many.files import local_bytes, local_file, open_place, plain_text, shown
from lmaczs.many.sources import FoundFile, is_sound
from lmaczs.signal.audio import load_clip
from lmaczs.types import AudioClip

FILES, SHARD = "files", "shard"
Outcome = AudioClip | LMACError  # a recording, or what is wrong with it


@dataclass(frozen=True)
class Unit:
    """Clips that belong together.

    Attributes:
        kind: "files" or "shard".
        files: the recordings, or the one shard.
        begun: path -> how often an earlier run began the clip and did not come back.
    """

    kind: str
    files: tuple[FoundFile, ...]
    begun: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Names the unit's Parquet file; equal contents, equal name, in every run and on every machine."""
        text = "\n".join(file.path for file in self.files)
        return f"{self.kind}-{hashlib.sha1(text.encode()).hexdigest()[:16]}"

    def clips(self, begin: Callable[[str], bool]) -> Iterator[tuple[str, Outcome]]:
        """Read the recordings one by one.

        Args:
            begin: called with a clip's path before it is read; False passes over it.

        Yields:
            Path and recording, or path and what was wrong with it.
        """
        if self.kind == SHARD:
            yield from _members(self.files[0], begin)
            return
        for file in self.files:
            if begin(file.path):
                yield file.path, _load(file.path, local_file(file.url))

    def to_json(self) -> str:
        """Text that `from_json` reads on another machine."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Unit":
        """The unit that `to_json` wrote."""
        values = json.loads(text)
        return cls(values["kind"], tuple(FoundFile(**file) for file in values["files"]), values["begun"])


def cut_units(files: Sequence[FoundFile], size: int, begun: Mapping[str, int]) -> list[Unit]:
    """Cut files into units.

    Args:
        files: in order.
        size: clips of each unit.
        begun: see `Unit`, of all files.
    """
    units = []
    for start in range(0, len(files), size):
        part = tuple(files[start : start + size])
        units.append(Unit(FILES, part, {file.path: begun[file.path] for file in part if file.path in begun}))
    return units


def _load(path: str, local: AbstractContextManager[Path]) -> Outcome:
    """Read one recording; what is wrong with it, whatever that is, is the answer and not the end."""
    try:
        with local as copy:
            return load_clip(copy)
    except LMACError as error:
        return error
    except Exception as error:
        return AudioError(
            f"'{shown(path)}' cannot be read ({type(error).__name__}): export it again as 16-bit wav."
        )


def _members(shard: FoundFile, begin: Callable[[str], bool]) -> Iterator[tuple[str, Outcome]]:
    """Recordings of a tar file, read from front to back as it arrives."""
    file_system, path = open_place(shard.url)
    seen = 0
    try:
        with file_system.open(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep every header
                name = f"{shard.path}/{plain_text(member.name)}"
                if not (member.isfile() and is_sound(member.name)) or not begin(name):
                    continue
                file = archive.extractfile(member)
                data = b"" if file is None else file.read()
                seen += 1
                yield name, _load(name, local_bytes(member.name, data))
    except (tarfile.TarError, EOFError, OSError) as error:
        yield (
            shard.path,
            AudioError(
                f"'{shard.path}' cannot be read on after {seen} recordings ({type(error).__name__}): it is missing, "
                "damaged or cut short; fetch the shard again."
            ),
        )
