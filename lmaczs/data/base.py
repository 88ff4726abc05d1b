"""What every dataset has in common: an entry with its official page, its clips, and the rows that cannot be used.

A dataset is one module of this folder with a `read` function and one entry in `lmaczs.data.registry`.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lmaczs.data.clips import Clip, Listing, tidy_captions
from lmaczs.data.tables import Row, read_table
from lmaczs.errors import DatasetError
from lmaczs.signal.formats import is_sound


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
        self._clips: list[Clip] = []
        self._missing: list[str] = []
        self._bad_rows: list[str] = []
        self._missing_captions = 0
        self._seen: set[tuple[str, str, str]] = set()
        self._folders: dict[Path, dict[str, str]] = {}

    def table(
        self,
        file: str,
        needed: Sequence[str],
        *,
        delimiter: str = "",
        header: Sequence[str] = (),
        quoted: bool = True,
    ) -> Iterator[Row]:
        """Rows of a table in which none of the needed columns is empty; the others are put aside with a sentence.

        Args:
            file: relative to the dataset's folder.
            needed: columns that every row must have.
            delimiter: as in `read_table`, like the others.
            header: column names where the file has none.
            quoted: False where quotation marks are ordinary letters.

        Raises:
            DatasetError: the file is missing, or lacks one of the columns.
        """
        if not (self.root / file).is_file():
            raise self.dataset.incomplete(file)
        table = read_table(self.root / file, file, delimiter=delimiter, header=header, quoted=quoted)
        if absent := table.lacking(needed):
            raise self.damaged(file, f"has no column '{absent}'")
        for row in table.rows:
            if empty := [column for column in needed if not row[column]]:
                self.refuse(row.place, f"'{empty[0]}' is empty")
            else:
                yield row
        self._bad_rows += table.faults

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
    ) -> None:
        """Take a clip of this dataset, unless its row has a fault or its recording is not there.

        Args:
            place: of its row, for messages: `Row.place`.
            file: of the recording, relative to the dataset's folder.
            split: as in `Clip`.
            captions: as in `Clip`; white space is tidied, and equal or empty ones are left out.
            labels: as in `Clip`.
            original: as in `Clip`.
            name: `path` of the clip; by default the file's name.
        """
        parts = PurePosixPath(file)
        if parts.is_absolute() or ".." in parts.parts or "\\" in file:
            self.refuse(place, "its file lies outside the dataset")
            return
        texts = tidy_captions(captions)
        if captions and not texts:
            self.refuse(place, "all its captions are empty")
            return
        url, key = str(self.root / file), self.dataset.key
        self.take(place, Clip(name or parts.name, url, tuple(labels), texts, key, split, original=original))

    def take(self, place: str, clip: Clip) -> None:
        """Take a clip, unless it was taken before or its recording is not there."""
        if (known := (clip.split, clip.path, clip.url)) in self._seen:
            self.refuse(place, f"'{clip.path}' is named twice")
        elif "://" in clip.url or self.has(clip.file):
            self._clips.append(clip)
        else:
            self._missing.append(clip.path)
            self._missing_captions += len(clip.captions)
        self._seen.add(known)

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
        return path.name in self._names(path.parent)

    def find(self, folders: Sequence[str], stems: Sequence[str]) -> str | None:
        """The first recording with one of some names, whatever its suffix, in some folders; None if there is none.

        Args:
            folders: relative to the dataset's folder.
            stems: names without suffix.
        """
        for folder in folders:
            names = self._names(self.root / folder)
            by_stem = {stem: name for name, stem in names.items() if is_sound(name)}
            if stem := next((stem for stem in stems if stem in by_stem), None):
                return f"{folder}/{by_stem[stem]}"
        return None

    def listing(self) -> Listing:
        """Everything taken and put aside so far."""
        return Listing(
            tuple(self._clips), tuple(self._missing), tuple(self._bad_rows), self._missing_captions
        )

    def _names(self, folder: Path) -> dict[str, str]:
        """Files of a folder, with their names without suffix."""
        if folder not in self._folders:
            try:
                with os.scandir(folder) as entries:
                    names = sorted(entry.name for entry in entries if entry.is_file())
            except OSError:
                names = []
            self._folders[folder] = {name: name.rpartition(".")[0] for name in names}
        return self._folders[folder]
