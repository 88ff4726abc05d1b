"""One row per clip in a CSV, and a journal that grows with the evaluation, so that a run cut short can go on."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lmaczs.errors import LMACError, plain_write_errors

Row = dict[str, Any]  # text and numbers, by column
Key = tuple[str, ...]
DIGITS = 6  # significant ones that are kept: more than any table shows, in a third of the space


class ResultRows:
    """Rows by key. Whatever is added is in a journal on disk at once, and in the CSV after `finish`.

    A row may be filled bit by bit: the numbers of a method are a part of it. Beside the CSV lies a JSON file with
    the settings that made it. Numbers of other settings are never mixed in: where the settings of everything
    differ, the file is refused; where those of one part do (a method has got new weights), that part's numbers
    are dropped and have to be added again.

    Attributes:
        file: the CSV.
        rows: key -> what is known of it.
        dropped: names of the parts whose old numbers were dropped.
    """

    def __init__(
        self,
        file: Path,
        keys: Sequence[str],
        text_columns: Sequence[str],
        number_columns: Sequence[str],
        settings: Mapping[str, Any],
        parts: Mapping[str, str] | None = None,
        again: Collection[str] = (),
    ) -> None:
        """Open, and read what an earlier run has finished.

        Args:
            file: the CSV.
            keys: its first columns; a row is known by their texts.
            text_columns: the next ones, in order.
            number_columns: the others; a cell without a number is empty. Columns of parts that an earlier run
                wrote and that are not named now stay in the file.
            settings: JSON values that decide the numbers. A setting that only one of the runs knows is no
                difference: the later run does something that the earlier one did not.
            parts: prefix of number columns, without the "/" that ends it -> fingerprint of what made them.
            again: parts whose old numbers are dropped although nothing differs.

        Raises:
            LMACError: the folder holds results of other settings, or is damaged.
        """
        self.file, self._keys, self._text = file, tuple(keys), {*keys, *text_columns}
        self._stamp = file.with_name(f"{file.stem}.settings.json")
        self._journal = file.with_name(f"{file.stem}.journal.jsonl")
        self.columns = [*keys, *text_columns, *number_columns]
        self.rows: dict[Key, Row] = {}
        self.dropped: tuple[str, ...] = ()
        parts = dict(parts or {})
        with plain_write_errors(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
        wanted = json.loads(json.dumps(dict(settings)))
        if file.exists():
            found, found_parts = self._read_settings()
            if different := sorted(k for k in wanted.keys() & found.keys() if wanted[k] != found[k]):
                raise LMACError(
                    f"'{file.parent.name}' already holds {file.name} of an evaluation with other settings "
                    f"({', '.join(different)}): choose another folder, or remove that file."
                )
            self.dropped = tuple(
                name for name, mark in found_parts.items() if parts.get(name, mark) != mark or name in again
            )
            self._read()
            wanted, parts = {**found, **wanted}, {**found_parts, **parts}
        self._write(self.rows.values())
        with plain_write_errors(self._stamp):
            text = json.dumps({"settings": wanted, "parts": parts}, indent=2, ensure_ascii=False)
            self._stamp.write_text(text + "\n", "utf-8")

    def add(self, rows: Iterable[Row]) -> None:
        """Merge finished numbers into the rows of their keys; None takes a value away.

        Args:
            rows: each with all key columns, and any others. Numbers are rounded to `DIGITS` digits; nan is
                no number.
        """
        lines = []
        for row in rows:
            key = tuple(str(row[name]) for name in self._keys)
            values = {name: _rounded(value) for name, value in row.items() if name not in self._keys}
            self._merge(key, values)
            lines.append(json.dumps([key, values], ensure_ascii=False) + "\n")
        with plain_write_errors(self._journal), self._journal.open("a", encoding="utf-8") as stream:
            stream.write("".join(lines))

    def finish(self, keys: Sequence[Key]) -> list[Row]:
        """Put the rows of `keys` first in the file, in that order, and return them."""
        wanted = {key: self.rows[key] for key in keys}
        self._write([*wanted.values(), *(row for key, row in self.rows.items() if key not in wanted)])
        return list(wanted.values())

    def _merge(self, key: Key, values: Mapping[str, Any]) -> None:
        row = self.rows.setdefault(key, dict(zip(self._keys, key, strict=True)))
        for name, value in values.items():
            if value is None:
                row.pop(name, None)
            else:
                row[name] = value

    def _write(self, rows: Iterable[Row]) -> None:
        fresh = self.file.with_suffix(".part")
        with plain_write_errors(self.file), fresh.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, self.columns, restval="")
            writer.writeheader()
            writer.writerows(map(_as_text, rows))
        os.replace(fresh, self.file)
        self._journal.unlink(missing_ok=True)

    def _read(self) -> None:
        reader = csv.DictReader(io.StringIO(self.file.read_text("utf-8")))
        old = [name for name in reader.fieldnames or () if not self._is_dropped(name)]
        for row in reader:
            key = tuple(row[name] for name in self._keys)
            self._merge(key, {name: self._value(name, row[name]) for name in old if row[name]})
        if self._journal.exists():
            for line in self._journal.read_text("utf-8").split("\n")[:-1]:  # the last one may be half a line
                key, values = json.loads(line)
                self._merge(tuple(key), {k: v for k, v in values.items() if not self._is_dropped(k)})
                old += [name for name in values if not self._is_dropped(name)]
        known = set(self.columns)
        self.columns += [name for name in dict.fromkeys(old) if name not in known]

    def _is_dropped(self, column: str) -> bool:
        return any(column.startswith(f"{part}/") for part in self.dropped)

    def _value(self, column: str, text: str) -> Any:
        return text if column in self._text else float(text)

    def _read_settings(self) -> tuple[dict[str, Any], dict[str, str]]:
        try:
            stamp = json.loads(self._stamp.read_text("utf-8"))
            return dict(stamp["settings"]), dict(stamp["parts"])
        except (OSError, ValueError, TypeError, KeyError):
            raise LMACError(
                f"'{self.file.parent.name}' holds {self.file.name}, but {self._stamp.name} does not say what made it: "
                "choose another folder, or remove that file."
            ) from None


def _rounded(value: Any) -> Any:
    """What reading the file would give, so that a resumed run has the numbers of an uninterrupted one."""
    if value is None or isinstance(value, str):
        return value
    return float(f"{value:.{DIGITS}g}") if value == value else None


def _as_text(row: Row) -> dict[str, str]:
    return {key: value if isinstance(value, str) else f"{value:.{DIGITS}g}" for key, value in row.items()}


def fingerprint(*models: object) -> str:
    """Short hash of models, or of objects that hold models; equal weights and settings, equal text.

    Settings are an object's own public texts and numbers: a layer, a number of steps.
    """
    digest = hashlib.sha256()
    for model in models:
        if not isinstance(model, nn.Module):
            plain = {k: v for k, v in vars(model).items() if isinstance(v, str | int | float) and k[0] != "_"}
            digest.update(repr(sorted(plain.items())).encode())
        parts = [model] if isinstance(model, nn.Module) else list(vars(model).values())
        for part in parts:
            if isinstance(part, nn.Module):
                for name, value in part.state_dict().items():
                    digest.update(name.encode())
                    digest.update(
                        value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
                    )
    return digest.hexdigest()[:16]
