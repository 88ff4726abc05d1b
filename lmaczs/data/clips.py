"""The one type of a recording that is known by name, and what a source holds of them."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Clip:
    """One recording, labelled or not: a file, or a stretch of a shard.

    A path object may be given as `url`, and a text as `labels` for a single one.

    Attributes:
        path: names the clip in results: its path below the folder, as the table writes it, or within the shard; of a
            dataset, the source's own name, unique within its split.
        url: path of this machine or fsspec URL of the recording, or of the shard that holds it.
        labels: class names in words.
        captions: sentences that describe it; empty where the source has none.
        dataset: key of the dataset, or the collection that a table names.
        split: the source's own word, e.g. "development" or "fold 3"; "" where there is none.
        concept: canonical name of what is heard, or "".
        original: what it was cut from, e.g. "freesound 100032"; clips of one original belong in one split.
        offset: first byte within the shard.
        size: bytes within the shard; 0 for a file of its own.
    """

    path: str
    url: str
    labels: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    dataset: str = ""
    split: str = ""
    concept: str = ""
    original: str = ""
    offset: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        labels = [self.labels] if isinstance(self.labels, str) else self.labels
        object.__setattr__(self, "url", os.fspath(self.url))
        object.__setattr__(self, "labels", tuple(label for label in labels if label))
        object.__setattr__(self, "captions", tuple(self.captions))

    @property
    def label(self) -> str:
        """The class name where there is exactly one, else ""."""
        return self.labels[0] if len(self.labels) == 1 else ""

    @property
    def file(self) -> Path:
        """`url` of a recording on this machine."""
        return Path(self.url)


@dataclass(frozen=True)
class Listing:
    """What a source holds.

    Attributes:
        clips: whose recordings are there, in the order of the source.
        missing: names of clips whose recordings are not there.
        bad_rows: one sentence for each row or sample that cannot be used: which, and why.
        missing_captions: captions of the clips that are not there.
        shards: tar files whose recordings are known only to who reads them; `path` names the shard.
        passed_over: how many files are no recordings, by suffix, "hidden" or "no suffix".
    """

    clips: tuple[Clip, ...]
    missing: tuple[str, ...] = ()
    bad_rows: tuple[str, ...] = ()
    missing_captions: int = 0
    shards: tuple[Clip, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def passed_over_text(self) -> str:
        """What was passed over, for messages: "3 files (2 .txt, 1 hidden)"; "" where nothing was."""
        kinds = sorted(self.passed_over.items(), key=lambda item: (-item[1], item[0]))
        total = sum(self.passed_over.values())
        names = ", ".join(f"{count} {kind}" for kind, count in kinds[:5]) + ", …" * (len(kinds) > 5)
        return f"{total} file{'s'[: total != 1]} ({names})" if total else ""


def tidy_captions(texts: Iterable[str]) -> tuple[str, ...]:
    """Captions with single spaces, each once, without empty ones."""
    return tuple(dict.fromkeys(" ".join(str(text).split()) for text in texts if text and str(text).strip()))


def words(name: str) -> str:
    """A class name as a person would write it: 'crying_baby' -> 'crying baby'."""
    return " ".join(name.replace("_", " ").split()).lower()


def original_of(name: str) -> str:
    """What a clip was cut from, where its file name tells as in ESC-50 ("1-100032-A-0") or UrbanSound8K."""
    found = re.match(r"\d+-(\d{3,})-[A-Z]-\d+|(\d{3,})-\d+-\d+-\d+", name)
    return f"freesound {found[1] or found[2]}" if found else ""
