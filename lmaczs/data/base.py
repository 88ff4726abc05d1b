"""What every dataset has in common: an entry with its official page, its clips, and the rows that cannot be used.

A dataset is one module of this folder with a `read` function and one entry in `lmaczs.data.registry`.
"""

import csv
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from lmaczs.errors import DatasetError


@dataclass(frozen=True)
class DatasetClip:
    """One recording of a dataset.

    Attributes:
        dataset: key of the dataset, or the collection that a CSV names.
        name: the source's own name of the clip, unique within its split.
        file: the recording, or the shard that holds it.
        split: the source's own word, e.g. "development" or "fold 3"; "" where there is none.
        captions: sentences that describe it; empty where the source has none.
        labels: class names in words.
        original: what it was cut from, e.g. "freesound 100032"; clips of one original belong in one split.
        concept: canonical name of what is heard, or "".
        offset: first byte within the shard.
        size: bytes within the shard; 0 for a file of its own.
    """

    dataset: str
    name: str
    file: Path
    split: str = ""
    captions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    original: str = ""
    concept: str = ""
    offset: int = 0
    size: int = 0


@dataclass(frozen=True)
class Listing:
    """What the tables of a dataset say.

    Attributes:
        clips: whose recordings are there, in the order of the tables.
        missing: names of clips whose recordings are not there.
        bad_rows: one sentence for each row that cannot be used: which, and why.
        missing_captions: captions of the clips that are not there.
    """

    clips: tuple[DatasetClip, ...]
    missing: tuple[str, ...]
    bad_rows: tuple[str, ...]
    missing_captions: int = 0


@dataclass(frozen=True)
class Dataset:
    """One dataset in its official layout.

    Attributes:
        key: name on the command line.
        title: name in sentences.
        page: official page to get it from.
        licence: of the whole set.
        role: "training", "evaluation" or "contamination", as in the LMAC-ZS paper.
        folder: name that its archive unpacks to.
        table: file that must be there, relative to that folder.
        splits: the source's own words.
        read: gives the rows of the tables to `Rows`.
        table_moved: where else the table is found.
        beside: folder that must be there too, as other sets name their tables alike.
    """

    key: str
    title: str
    page: str
    licence: str
    role: str
    folder: str
    table: str
    splits: tuple[str, ...]
    read: Callable[["Rows"], None]
    table_moved: tuple[str, ...] = ()
    beside: str = ""

    def locate(self, folder: Path) -> Path | None:
        """The dataset's own folder: the one given, or its folder inside; None where its table is in neither."""
        places = [folder, folder / self.folder, folder / self.key]
        tables = (self.table, *self.table_moved)
        found = (place for place in places if any((place / table).is_file() for table in tables))
        return next((place for place in found if (place / self.beside).is_dir()), None)

    def list_clips(self, folder: str | Path) -> Listing:
        """Read the tables of the dataset in a folder, or in its own folder inside.

        Raises:
            DatasetError: a table is missing or no table; the message names the official page.
        """
        place = self.locate(Path(folder))
        if place is None:
            raise self.incomplete(self.table)
        rows = Rows(self, place)
        self.read(rows)
        return rows.listing()

    def incomplete(self, file: str) -> DatasetError:
        """The sentence about a file that is not there."""
        return DatasetError(
            f"{self.title} is not complete here: '{file}' is missing, in the folder given or in '{self.folder}' "
            f"inside it; get it from {self.page}."
        )


class Rows:
    """Takes the rows of a dataset's tables, and sorts out those that cannot be used.

    Attributes:
        dataset: that they are of.
        root: the dataset's own folder.
    """

    def __init__(self, dataset: Dataset, root: Path) -> None:
        self.dataset = dataset
        self.root = root
        self._clips: list[DatasetClip] = []
        self._missing: list[str] = []
        self._bad_rows: list[str] = []
        self._missing_captions = 0
        self._seen: set[tuple[str, str, str]] = set()
        self._folders: dict[Path, set[str]] = {}

    def table(
        self,
        file: str,
        needed: Sequence[str],
        *,
        encoding: str = "utf-8-sig",
        delimiter: str = ",",
        header: Sequence[str] | None = None,
        quoted: bool = True,
    ) -> Iterator["Row"]:
        """Rows of a CSV in which none of the needed columns is empty; the others are put aside with a sentence.

        Args:
            file: relative to the dataset's folder.
            needed: columns that every row must have.
            encoding: of the file; letters that are not of it are replaced.
            delimiter: between columns.
            header: column names where the file has none.
            quoted: False where quotation marks are ordinary letters.

        Raises:
            DatasetError: the file is missing, or lacks one of the columns.
        """
        path = self.root / file
        if not path.is_file():
            raise self.dataset.incomplete(file)
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        with path.open(encoding=encoding, errors="replace", newline="") as lines:
            # A stray NUL of a damaged download is no reason to lose the other rows.
            clean = (line.replace("\0", "") for line in lines)
            reader: csv.DictReader[str] = csv.DictReader(
                clean, fieldnames=header, delimiter=delimiter, quoting=quoting
            )
            absent = [column for column in needed if column not in (reader.fieldnames or ())]
            if absent:
                raise self.damaged(file, f"has no column '{absent[0]}'")
            try:
                for values in reader:
                    row = Row(f"'{file}', line {reader.line_num}", values)
                    empty = [column for column in needed if not row[column]]
                    if empty:
                        self.refuse(row.place, f"'{empty[0]}' is empty")
                    else:
                        yield row
            except csv.Error as error:
                self.refuse(f"'{file}', line {reader.line_num}", f"{error}, so the rest is not read")

    def add(
        self,
        place: str,
        file: str,
        *,
        split: str = "",
        captions: Sequence[str] = (),
        labels: Sequence[str] = (),
        original: str = "",
        name: str = "",
        concept: str = "",
        dataset: str = "",
    ) -> None:
        """Take a clip, unless its row has a fault or its recording is not there.

        Args:
            place: of its row, for messages: `Row.place`.
            file: of the recording, relative to the dataset's folder.
            split: as in `DatasetClip`.
            captions: as in `DatasetClip`; white space is tidied, and equal or empty ones are left out.
            labels: as in `DatasetClip`.
            original: as in `DatasetClip`.
            name: as in `DatasetClip`; by default the file's name.
            concept: as in `DatasetClip`.
            dataset: as in `DatasetClip`; by default this one's key.
        """
        parts = PurePosixPath(file)
        if parts.is_absolute() or ".." in parts.parts or "\\" in file:
            self.refuse(place, "its file lies outside the dataset")
            return
        name = name or parts.name
        if (split, name, file) in self._seen:
            self.refuse(place, f"'{name}' is named twice")
            return
        self._seen.add((split, name, file))
        texts = tuple(dict.fromkeys(" ".join(text.split()) for text in captions if text and text.strip()))
        path = self.root / file
        if captions and not texts:
            self.refuse(place, "all its captions are empty")
            return
        if not self.has(path):
            self._missing.append(name)
            self._missing_captions += len(texts)
            return
        key = dataset or self.dataset.key
        self._clips.append(DatasetClip(key, name, path, split, texts, tuple(labels), original, concept))

    def damaged(self, file: str, fault: str = "cannot be read") -> DatasetError:
        """The sentence about a table that is not the dataset's."""
        return DatasetError(
            f"'{file}' of {self.dataset.title} {fault}, so it is another version or damaged: get it from "
            f"{self.dataset.page}."
        )

    def refuse(self, place: str, reason: str) -> None:
        """Put a row aside."""
        self._bad_rows.append(f"{place}: {reason}")

    def has(self, path: Path) -> bool:
        """Whether a file is there; every folder is listed once, as one look-up per clip is slow on shared disks."""
        names = self._folders.get(path.parent)
        if names is None:
            try:
                with os.scandir(path.parent) as entries:
                    names = {entry.name for entry in entries if entry.is_file()}
            except OSError:
                names = set()
            self._folders[path.parent] = names
        return path.name in names

    def listing(self) -> Listing:
        """Everything taken and put aside so far."""
        return Listing(
            tuple(self._clips), tuple(self._missing), tuple(self._bad_rows), self._missing_captions
        )


class Row:
    """One row of a table.

    Attributes:
        place: where it stands, for messages.
    """

    def __init__(self, place: str, values: dict[str, str | None]) -> None:
        self.place = place
        self._values = values

    def __getitem__(self, column: str) -> str:
        """Content of a column without spaces around it; "" where the row is too short or has no such column."""
        value = self._values.get(column)
        return value.strip() if isinstance(value, str) else ""


def words(name: str) -> str:
    """A class name as a person would write it: 'crying_baby' -> 'crying baby'."""
    return " ".join(name.replace("_", " ").split()).lower()


def original_of(name: str) -> str:
    """What a clip was cut from, where its file name tells as in ESC-50 ("1-100032-A-0") or UrbanSound8K."""
    found = re.match(r"\d+-(\d{3,})-[A-Z]-\d+|(\d{3,})-\d+-\d+-\d+", name)
    return f"freesound {found[1] or found[2]}" if found else ""
