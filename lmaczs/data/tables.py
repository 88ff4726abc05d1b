"""Tables of text as programs and people write them, by one tolerant reader.

Encodings are UTF-8 with or without a byte order mark, UTF-16 and, where it is none of these, Latin-1 as Windows has it.
Columns are parted by commas, semicolons or tabs, spaces around cells do not count, nor does the case of column names.
"""

import codecs
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lmaczs.errors import DatasetError

TABLE_SUFFIXES = (".csv", ".tsv")
DELIMITERS = (",", ";", "\t")
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        place: where it stands, for messages.
        values: by column in small letters.
    """

    place: str
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        """Content of a column without spaces around it; "" where the row is too short or has no such column."""
        return self.values.get(column.strip().lower(), "")


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes:
        columns: names as the file writes them.
        rows: without those in which every cell is empty.
        faults: one sentence where a part of the file cannot be read.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    faults: tuple[str, ...] = ()

    def lacking(self, columns: Iterable[str]) -> str | None:
        """The first of some columns that the table does not have; None where it has them all."""
        known = {column.lower() for column in self.columns}
        return next((column for column in columns if column.strip().lower() not in known), None)


def read_table(
    source: Path | bytes, name: str, *, delimiter: str = "", header: Sequence[str] = (), quoted: bool = True
) -> Table:
    """Read a table.

    Args:
        source: a file of this machine, or the content of one.
        name: for messages.
        delimiter: between columns; "" finds out.
        header: column names where the file has none.
        quoted: False where quotation marks are ordinary letters.

    Raises:
        OSError: the file cannot be opened.
        DatasetError: it is no text.
    """
    text = _decoded(source.read_bytes() if isinstance(source, Path) else source, name)
    first, _, rest = text.partition("\n")
    skipped = first.lower().startswith("sep=")  # Excel writes so which delimiter it used
    if skipped:
        delimiter, text = delimiter or first[4:5], rest
    delimiter = delimiter or max(DELIMITERS, key=text.partition("\n")[0].count)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, skipinitialspace=True
    )
    columns, rows, faults = list(header), [], []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not columns:
                columns = cells
                continue
            # Of two columns of one name the first counts.
            values = {column.lower(): cell for column, cell in list(zip(columns, cells, strict=False))[::-1]}
            rows.append(Row(f"'{name}', line {reader.line_num + skipped}", values))
    except csv.Error as error:
        faults.append(f"'{name}', line {reader.line_num + skipped}: {error}, so the rest is not read")
    return Table(tuple(columns), tuple(rows), tuple(faults))


def _decoded(data: bytes, name: str) -> str:
    try:
        if data.startswith(UTF16_MARKS):
            return data.decode("utf-16")
        if data[1:2] == b"\0" or data[:1] == b"\0":  # no mark, but every other byte of Latin letters is zero
            return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be")
        # A stray NUL of a damaged download is no reason to lose the other rows.
        return data.decode("utf-8-sig").replace("\0", "")
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise DatasetError(
                f"'{name}' is no text: give a table in UTF-8 with commas between columns."
            ) from error
        return data.decode("cp1252", "replace")
