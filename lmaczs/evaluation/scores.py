"""Scores in long form: one row (clip, condition, domain, method, form, metric, value) for each number, as Parquet.

A folder of results holds `settings.json`, which says what made it, and `scores-NUMBER-HASH.parquet` files. Files are only
added while an evaluation runs, each named by the hash of its content: a file that was cut short or changed does not fit
its name, is left out, and what it held is computed again. At the end all become one file. Later rows replace earlier ones
of the same number; a row without value and text takes it away.
"""

import hashlib
import io
import json
import math
import os
import re
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lmaczs.errors import LMACError, plain_write_errors

if TYPE_CHECKING:
    import pyarrow

Key = tuple[str, str]  # condition, clip
# Facts of a clip by name, and scores by "domain/method/form/metric"; texts or numbers.
Row = dict[str, Any]
COLUMNS = ("clip", "condition", "domain", "method", "form", "metric", "value", "text", "sound")
PART = re.compile(r"scores-(\d{6})-([0-9a-f]{16})\.parquet")
SETTINGS = "settings.json"
# Rows wait so long in memory: what a killed run loses at most, beside the mask at work.
FLUSH_S = 20.0


class ScoreTable:
    """Scores of recordings in conditions, each recording known by the hash of its sound.

    Use it as a context: what has been added is on disk when the block ends, whatever ends it.

    Attributes:
        folder: of the files.
        rows: (condition, clip) -> facts and scores.
        dropped: names of the parts whose old scores were dropped.
        damaged: how many files did not fit their hash and were left out.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        parts: Mapping[str, str] | None = None,
        again: Collection[str] = (),
    ) -> None:
        """Open, and read what an earlier run has finished.

        Args:
            folder: of the results; made if it is not there.
            settings: JSON values that decide all numbers. A setting that only one of the runs knows is no difference:
                the later run does something that the earlier one did not.
            parts: "domain/method" -> hash of what made its scores.
            again: parts whose old scores are dropped although nothing differs.

        Raises:
            LMACError: the folder holds results of other settings, does not say what made them, or cannot be written;
                pyarrow is not installed.
        """
        _require_pyarrow()
        self.folder = folder
        self.rows: dict[Key, Row] = {}
        self.dropped: tuple[str, ...] = ()
        self.damaged = 0
        self._waiting: list[tuple[Any, ...]] = []
        self._flushed = time.monotonic()
        with plain_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            # Of a run that was killed while it wrote.
            for leftover in folder.glob(".scores-*.new"):
                leftover.unlink(missing_ok=True)
        self._number = max((int(found[1]) for _, found in self._files()), default=0)
        wanted, hashes = json.loads(json.dumps(dict(settings))), dict(parts or {})
        if self._number:
            found_settings, found_hashes = self._read_settings()
            different = sorted(
                k for k in wanted.keys() & found_settings.keys() if wanted[k] != found_settings[k]
            )
            if different:
                raise LMACError(
                    f"'{folder.name}' already holds scores of an evaluation with other settings "
                    f"({', '.join(different)}): choose another folder, or remove it."
                )
            self.dropped = tuple(
                name for name, mark in found_hashes.items() if hashes.get(name, mark) != mark or name in again
            )
            self._read()
            wanted, hashes = {**found_settings, **wanted}, {**found_hashes, **hashes}
        if self.dropped or self.damaged:
            self._compact()
        _write_whole(folder / SETTINGS, _json({"settings": wanted, "parts": hashes}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def open_row(self, condition: str, clip: str, sound: str) -> Row:
        """What is known of a recording; nothing if its sound is another one than before.

        Args:
            condition: that it is heard in.
            clip: its name.
            sound: hash of the sound.
        """
        row = self.rows.get((condition, clip), {})
        return row if row.get("sound") == sound else {}

    def add(self, condition: str, clip: str, sound: str, values: Row) -> None:
        """Add facts and scores of a recording; they are on disk within `FLUSH_S` seconds of work.

        Args:
            condition: that it is heard in.
            clip: its name.
            sound: hash of its sound; rows of another sound are dropped.
            values: facts and scores; None takes one away, nan is no number.
        """
        values = {name: None if value != value else value for name, value in values.items()}
        self._merge(condition, clip, sound, values)
        for column, value in values.items():
            domain, method, form, metric = _parts_of(column)
            number, text = (
                (math.nan, value)
                if isinstance(value, str)
                else (math.nan if value is None else float(value), None)
            )
            self._waiting.append((clip, condition, domain, method, form, metric, number, text, sound))
        if time.monotonic() - self._flushed > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting as one more file."""
        if self._waiting:
            self._write_part(self._waiting)
            self._waiting = []
        self._flushed = time.monotonic()

    def finish(self, keys: Sequence[Key]) -> list[Row]:
        """Bring all files into one, and return the rows of `keys`, with "condition" and "clip" among their facts."""
        self.flush()
        self._compact()
        return [{"condition": key[0], "clip": key[1], **self.rows[key]} for key in keys if key in self.rows]

    def _merge(self, condition: str, clip: str, sound: str, values: Row) -> None:
        row = self.rows.setdefault((condition, clip), {"sound": sound})
        if row["sound"] != sound:
            row.clear()
            row["sound"] = sound
        for name, value in values.items():
            if value is None:
                row.pop(name, None)
            else:
                row[name] = value

    def _files(self) -> list[tuple[Path, re.Match[str]]]:
        found = [(path, PART.fullmatch(path.name)) for path in sorted(self.folder.iterdir())]
        return [(path, match) for path, match in found if match]

    def _read(self) -> None:
        for path, match in self._files():
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest()[:16] != match[2]:
                self.damaged += 1
                continue
            for clip, condition, domain, method, form, metric, value, text, sound in _rows_of(data):
                if f"{domain}/{method}" not in self.dropped:
                    column = sys.intern("/".join((domain, method, form, metric)) if method else metric)
                    known = text if text is not None else None if value is None or value != value else value
                    self._merge(condition, clip, sound, {column: known})

    def _compact(self) -> None:
        """One file with everything that is known, in the place of all others."""
        old = [path for path, _ in self._files()]
        everything = [
            (clip, condition, *_parts_of(column), *_value_and_text(value), row["sound"])
            for (condition, clip), row in self.rows.items()
            for column, value in row.items()
            if column != "sound"
        ]
        kept = self._write_part(everything) if everything else None
        for path in old:
            if path != kept:
                path.unlink()

    def _write_part(self, rows: Sequence[tuple[Any, ...]]) -> Path:
        data = _parquet(rows)
        self._number += 1
        path = self.folder / f"scores-{self._number:06d}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        _write_whole(path, data)
        return path

    def _read_settings(self) -> tuple[dict[str, Any], dict[str, str]]:
        try:
            stamp = json.loads((self.folder / SETTINGS).read_text("utf-8"))
            return dict(stamp["settings"]), dict(stamp["parts"])
        except (OSError, ValueError, TypeError, KeyError):
            raise LMACError(
                f"'{self.folder.name}' holds scores, but its {SETTINGS} does not say what made them: choose another "
                "folder, or remove it."
            ) from None


def _parts_of(column: str) -> tuple[str, str, str, str]:
    """Domain, method, form and metric of a column; a fact of the clip has only the last."""
    parts = column.split("/")
    return ("", "", "", column) if len(parts) != 4 else (parts[0], parts[1], parts[2], parts[3])


def _value_and_text(value: Any) -> tuple[float, str | None]:
    return (math.nan, value) if isinstance(value, str) else (float(value), None)


def _require_pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise LMACError(
            "Scores are stored as Parquet, which needs the package 'pyarrow': run 'pip install pyarrow'."
        ) from None


def _schema() -> "pyarrow.Schema":
    import pyarrow

    return pyarrow.schema(
        [(name, pyarrow.float64() if name == "value" else pyarrow.string()) for name in COLUMNS]
    )


def _parquet(rows: Sequence[tuple[Any, ...]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    table, buffer = pyarrow.table(columns, schema=_schema()), io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _rows_of(data: bytes) -> Iterator[tuple[Any, ...]]:
    """Rows of a file; equal texts are one object, as there are few different ones."""
    import pyarrow.parquet

    table, columns = pyarrow.parquet.read_table(io.BytesIO(data)), []
    for name in COLUMNS:
        column = table[name].combine_chunks()
        if name == "value":
            columns.append(column.to_pylist())
        else:
            encoded = column.dictionary_encode()
            words = encoded.dictionary.to_pylist()
            columns.append([None if place is None else words[place] for place in encoded.indices.to_pylist()])
    yield from zip(*columns, strict=True)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears complete or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    with plain_write_errors(path):
        fresh.write_bytes(data)
        os.replace(fresh, path)
