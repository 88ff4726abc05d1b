"""WebDataset shards: tar files in which files of one stem are a sample, "0001.flac" with "0001.json" or "0001.txt".

`read_members` is the one reader of tar files. `list_shards` leaves recordings in the shard: only their places are
listed, and `load_dataset_clip` reads each when it is needed.
"""

import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from lmaczs.data.clips import Clip, Listing, original_of, tidy_captions
from lmaczs.data.places import local_copy
from lmaczs.errors import DatasetError
from lmaczs.signal.audio import load_clip
from lmaczs.signal.formats import is_sound
from lmaczs.types import AudioClip

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
CAPTION_FIELDS = ("captions", "caption", "text")
TEXTS = (".json", ".txt")
MAX_TEXT_BYTES = 1 << 20


def read_members(
    stream: IO[bytes], name: str, wanted: Callable[[tarfile.TarInfo], bool], *, seek: bool = False
) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Files in a tar file, read from front to back as it arrives.

    Args:
        stream: the tar file, compressed or not.
        name: of the tar file, for messages.
        wanted: whose content is read.
        seek: pass over contents that are not wanted; needs a stream that can, and no compression.

    Yields:
        Header, and content of those that are wanted.

    Raises:
        DatasetError: the rest cannot be read.
    """
    count = 0
    try:
        with tarfile.open(fileobj=stream, mode="r:" if seek else "r|*") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # it would keep every header
                if not member.isfile():
                    continue
                content = archive.extractfile(member) if wanted(member) else None
                yield member, None if content is None else content.read()
                count += 1
    except (tarfile.TarError, EOFError, OSError) as error:
        fault = "cut short, damaged or no plain tar file" if seek else "missing, damaged or cut short"
        raise DatasetError(
            f"'{name}' cannot be read on after {count} files ({type(error).__name__}): it is {fault}; fetch the shard "
            "again."
        ) from error


def list_shards(source: str | Path) -> Listing:
    """Clips of a shard on this machine, or of all shards of a folder in the order of their names.

    Captions are the fields captions, caption or text of the json (one sentence or a list), or the lines of the txt;
    label, concept, dataset, split and original are taken from the json where they are there.

    Raises:
        DatasetError: there is no shard.
    """
    source = Path(source)
    shards = sorted(source.glob("*.tar")) if source.is_dir() else [source]
    if not shards or not shards[0].is_file():
        raise DatasetError(f"'{source.name}' holds no shard: give a .tar file, or a folder with some.")
    clips: dict[str, Clip] = {}
    bad: list[str] = []
    passed_over: Counter[str] = Counter()
    for shard in shards:
        for clip in _samples(shard, bad, passed_over):
            if clips.setdefault(clip.path, clip) is not clip:
                bad.append(f"'{shard.name}': '{clip.path}' is named twice")
    return Listing(tuple(clips.values()), bad_rows=tuple(bad), passed_over=passed_over)


def load_dataset_clip(clip: Clip, allow_silence: bool = False) -> AudioClip:
    """Read the recording of a clip, from its file, its URL or out of its shard.

    Raises:
        AudioError: as `load_clip`, or it cannot be fetched.
        StorageError: there is no room for a copy.
    """
    with local_copy(clip) as file:
        return load_clip(file, allow_silence)


def _samples(shard: Path, bad: list[str], passed_over: Counter[str]) -> Iterator[Clip]:
    """Clips of one shard; what cannot be used is added to `bad` and `passed_over`."""
    length = shard.stat().st_size
    sounds: dict[str, tarfile.TarInfo] = {}
    texts: dict[str, dict[str, Any]] = {}

    def is_text(member: tarfile.TarInfo) -> bool:
        return member.name.lower().endswith(TEXTS) and member.size <= MAX_TEXT_BYTES

    try:
        with shard.open("rb") as stream:
            for member, content in read_members(stream, shard.name, is_text, seek=True):
                path = PurePosixPath(member.name)
                stem, _, ending = path.name.partition(".")
                stem = str(path.with_name(stem)) if stem else member.name
                if content is not None:
                    fields = _fields(content.decode("utf-8", "replace"), ending.lower(), shard, stem, bad)
                    texts[stem] = texts.get(stem, {}) | fields
                elif is_sound(member.name):
                    sounds[stem] = member
                else:
                    passed_over[path.suffix.lower() or "no suffix"] += 1
    except DatasetError as error:
        bad.append(str(error))
    bad += [f"'{shard.name}': '{stem}' has no recording" for stem in texts if stem not in sounds]
    for stem, member in sounds.items():
        if not member.size or member.offset_data + member.size > length:
            fault = "is cut short, as the shard is" if member.size else "is empty"
            bad.append(f"'{shard.name}': '{member.name}' {fault}")
        else:
            yield _clip(shard, member, texts.get(stem, {}))


def _clip(shard: Path, member: tarfile.TarInfo, fields: dict[str, Any]) -> Clip:
    captions: str | list[str] = next((fields[name] for name in CAPTION_FIELDS if fields.get(name)), [])
    labels = fields.get("label") or ()
    return Clip(
        member.name,
        str(shard),
        labels=(labels,) if isinstance(labels, str) else tuple(str(label) for label in labels),
        captions=tidy_captions([captions] if isinstance(captions, str) else list(captions)),
        dataset=str(fields.get("dataset") or shard.parent.name),
        split=str(fields.get("split") or ""),
        concept=str(fields.get("concept") or ""),
        original=str(fields.get("original") or original_of(PurePosixPath(member.name).name)),
        offset=member.offset_data,
        size=member.size,
    )


def _fields(text: str, ending: str, shard: Path, stem: str, bad: list[str]) -> dict[str, Any]:
    """What a json or txt of a sample says."""
    if not ending.endswith("json"):
        return {"captions": text.splitlines()}
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        bad.append(f"'{shard.name}': the json of '{stem}' is damaged")
        return {}
    return fields
