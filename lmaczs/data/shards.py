"""WebDataset shards: tar files in which files of one stem are a sample, "0001.flac" with "0001.json" or "0001.txt".

Recordings stay in the shard: only their places are listed, and each is read when it is needed.
"""

import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lmaczs.data.base import DatasetClip, Listing, original_of
from lmaczs.errors import DatasetError
from lmaczs.signal.audio import load_clip
from lmaczs.types import AudioClip

SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
CAPTION_FIELDS = ("captions", "caption", "text")
MAX_TEXT_BYTES = 1 << 20


def list_shards(source: str | Path) -> Listing:
    """Clips of a shard, or of all shards of a folder in the order of their names.

    Captions are the fields captions, caption or text of the json (one sentence or a list), or the lines of the txt;
    label, concept, dataset, split and original are taken from the json where they are there.

    Raises:
        DatasetError: there is no shard.
    """
    source = Path(source)
    shards = sorted(source.glob("*.tar")) if source.is_dir() else [source]
    if not shards or not shards[0].is_file():
        raise DatasetError(f"'{source.name}' holds no shard: give a .tar file, or a folder with some.")
    clips: list[DatasetClip] = []
    bad: list[str] = []
    seen: set[str] = set()
    for shard in shards:
        for clip in _samples(shard, bad):
            if clip.name in seen:
                bad.append(f"'{shard.name}': '{clip.name}' is named twice")
            else:
                seen.add(clip.name)
                clips.append(clip)
    return Listing(tuple(clips), (), tuple(bad))


def load_dataset_clip(clip: DatasetClip, allow_silence: bool = False) -> AudioClip:
    """Read the recording of a clip, from its file or out of its shard.

    Raises:
        AudioError: as `load_clip`.
    """
    if not clip.size:
        return load_clip(clip.file, allow_silence)
    with clip.file.open("rb") as shard, tempfile.TemporaryDirectory(prefix="lmaczs-") as folder:
        shard.seek(clip.offset)
        copy = Path(folder) / PurePosixPath(clip.name).name
        copy.write_bytes(shard.read(clip.size))
        return load_clip(copy, allow_silence)


def _samples(shard: Path, bad: list[str]) -> Iterator[DatasetClip]:
    """Clips of one shard; what cannot be used is added to `bad`."""
    length = shard.stat().st_size
    sounds: dict[str, tarfile.TarInfo] = {}
    texts: dict[str, dict] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                stem, dot, ending = PurePosixPath(member.name).name.partition(".")
                stem = str(PurePosixPath(member.name).with_name(stem))
                if not member.isfile() or not dot:
                    continue
                if f".{ending.lower()}" in SOUNDS:
                    sounds[stem] = member
                elif ending.lower() in ("json", "txt") and member.size <= MAX_TEXT_BYTES:
                    content = archive.extractfile(member)
                    text = content.read().decode("utf-8", "replace") if content else ""
                    texts[stem] = texts.get(stem, {}) | _fields(text, ending.lower(), shard, stem, bad)
    except (tarfile.TarError, OSError) as error:
        bad.append(f"'{shard.name}': it is damaged or no plain tar file ({error}), so the rest is not read")
    bad += [f"'{shard.name}': '{stem}' has no recording" for stem in texts if stem not in sounds]
    for stem, member in sounds.items():
        fields = texts.get(stem, {})
        if not member.size or member.offset_data + member.size > length:
            fault = "is cut short, as the shard is" if member.size else "is empty"
            bad.append(f"'{shard.name}': '{member.name}' {fault}")
            continue
        captions: str | list[str] = next((fields[name] for name in CAPTION_FIELDS if fields.get(name)), [])
        sentences = [captions] if isinstance(captions, str) else list(captions)
        labels = fields.get("label") or []
        yield DatasetClip(
            dataset=str(fields.get("dataset") or shard.parent.name),
            name=member.name,
            file=shard,
            split=str(fields.get("split") or ""),
            captions=tuple(
                dict.fromkeys(" ".join(str(text).split()) for text in sentences if str(text).strip())
            ),
            labels=(labels,) if isinstance(labels, str) else tuple(str(label) for label in labels),
            original=str(fields.get("original") or original_of(PurePosixPath(member.name).name)),
            concept=str(fields.get("concept") or ""),
            offset=member.offset_data,
            size=member.size,
        )


def _fields(text: str, ending: str, shard: Path, stem: str, bad: list[str]) -> dict:
    """What a json or txt of a sample says."""
    if ending == "txt":
        return {"captions": text.splitlines()}
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        bad.append(f"'{shard.name}': the json of '{stem}' is damaged")
        return {}
    return fields
