"""Units of work: some files, or one shard; what one worker does from end to end, and what becomes one Parquet file."""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from lmaczs.data.clips import Clip
from lmaczs.data.places import local_copy, open_place, plain_text, safe_name, shown
from lmaczs.data.shards import read_members
from lmaczs.errors import AudioError, DatasetError, LMACError, StorageError
from lmaczs.signal.audio import load_clip
from lmaczs.signal.formats import is_sound
from lmaczs.signal.scratch import scratch_folder
from lmaczs.types import AudioClip

FILES, SHARD = "files", "shard"
BLOCK = 1 << 20
Begin = Callable[[str, str | None], bool]  # path and fingerprint of a clip -> whether it is to be done


class Reading(NamedTuple):
    """One recording that was read.

    Attributes:
        path: names the clip in the results.
        sha256: of its bytes; None where they could not be had.
        outcome: the recording, or what is wrong with it.
    """

    path: str
    sha256: str | None
    outcome: AudioClip | LMACError


@dataclass(frozen=True)
class Unit:
    """Clips that belong together.

    Attributes:
        kind: "files" or "shard".
        clips: the recordings, or the one shard.
        begun: path -> how often an earlier run began the clip and did not come back.
    """

    kind: str
    clips: tuple[Clip, ...]
    begun: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Names the unit's Parquet file; equal names of clips, equal name, in every run and on every machine."""
        text = "\n".join(clip.path for clip in self.clips)
        return f"{self.kind}-{hashlib.sha1(text.encode()).hexdigest()[:16]}"

    def read(self, begin: Begin, digest: "hashlib._Hash", rate: int | None = None) -> Iterator[Reading]:
        """Read the recordings one by one.

        Args:
            begin: called with a clip's path and fingerprint before it is decoded; False passes over it.
            digest: is fed all bytes of a shard.
            rate: Hz that recordings are resampled to as they are decoded; None leaves each its own.

        Raises:
            StorageError: there is no room for temporary files.
        """
        if self.kind == SHARD:
            yield from _read_shard(self.clips[0], begin, digest, rate)
            return
        for clip in self.clips:
            if reading := _read_file(clip, begin, rate):
                yield reading

    def to_json(self) -> str:
        """Text that `from_json` reads on another machine."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Unit":
        """The unit that `to_json` wrote."""
        values = json.loads(text)
        return cls(values["kind"], tuple(Clip(**clip) for clip in values["clips"]), values["begun"])


def cut_units(clips: Sequence[Clip], size: int, begun: Mapping[str, int]) -> list[Unit]:
    """Cut clips with files of their own into units.

    Args:
        clips: in order.
        size: clips of each unit.
        begun: see `Unit`, of all clips.
    """
    units = []
    for start in range(0, len(clips), size):
        # Only the name and the place decide the work: labels and captions need not travel.
        part = tuple(Clip(clip.path, clip.url) for clip in clips[start : start + size])
        units.append(Unit(FILES, part, {clip.path: begun[clip.path] for clip in part if clip.path in begun}))
    return units


def _read_file(clip: Clip, begin: Begin, rate: int | None) -> Reading | None:
    sha256: str | None = None
    try:
        with local_copy(clip) as file:
            if file.is_file():
                with file.open("rb") as stream:
                    sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            return (
                Reading(clip.path, sha256, _load(clip.path, file, rate)) if begin(clip.path, sha256) else None
            )
    except StorageError:
        raise
    except (LMACError, OSError) as error:
        fault = error if isinstance(error, LMACError) else _unreadable(clip.path, error)
        return Reading(clip.path, sha256, fault) if begin(clip.path, sha256) else None


def _load(path: str, file: Path, rate: int | None) -> AudioClip | LMACError:
    """Decode one recording; what is wrong with it, whatever that is, is the answer and not the end."""
    try:
        return load_clip(file, sample_rate=rate)
    except StorageError:
        raise
    except LMACError as error:
        return error
    except Exception as error:
        return _unreadable(path, error)


def _unreadable(path: str, error: Exception) -> AudioError:
    return AudioError(
        f"'{shown(path)}' cannot be read ({type(error).__name__}): export it again as 16-bit wav."
    )


class _Hashed:
    """A stream whose bytes are fed to a hash as they are read."""

    def __init__(self, stream: IO[bytes], digest: "hashlib._Hash") -> None:
        self._stream, self._digest = stream, digest

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        return data


def _read_shard(shard: Clip, begin: Begin, digest: "hashlib._Hash", rate: int | None) -> Iterator[Reading]:
    """Recordings of a tar file, read from front to back as it arrives."""

    def wanted(member: tarfile.TarInfo) -> bool:
        return is_sound(member.name)

    fault: LMACError | None = None
    try:
        file_system, path = open_place(shard.url)
        with file_system.open(path, "rb") as stream:
            hashed: Any = _Hashed(stream, digest)
            try:
                for member, data in read_members(hashed, shard.path, wanted):
                    name = f"{shard.path}/{plain_text(member.name)}"
                    sha256 = hashlib.sha256(data or b"").hexdigest()
                    if data is None or not begin(name, sha256):
                        continue
                    with scratch_folder() as folder:
                        copy = folder / safe_name(member.name)
                        copy.write_bytes(data)
                        outcome = _load(name, copy, rate)
                    yield Reading(name, sha256, outcome)
            except DatasetError as error:
                fault = error
            # What a tar file holds behind its end belongs to it too.
            while hashed.read(BLOCK):
                pass
    except OSError as error:
        fault = fault or _unreadable(shard.path, error)
    if fault:
        yield Reading(shard.path, None, fault)
