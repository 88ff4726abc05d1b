"""One row per clip in a CSV that grows with the evaluation, so that a run that was cut short can go on."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lmaczs.errors import LMACError, plain_write_errors

Row = dict[str, Any]  # text and numbers, by column


class ResultRows:
    """Rows by key, on disk after every `add`.

    Beside the CSV lies a JSON file with the settings that made it. Rows of other settings are never mixed in.
    """

    def __init__(
        self,
        file: Path,
        text_columns: Sequence[str],
        number_columns: Sequence[str],
        settings: Mapping[str, Any],
    ) -> None:
        """Open, and read what an earlier run has finished.

        Args:
            file: the CSV.
            text_columns: its first columns, in order; the very first is the key.
            number_columns: its other columns; a cell without a number is empty.
            settings: JSON values that decide the numbers.

        Raises:
            LMACError: the folder holds results of other settings, or is damaged.
        """
        self.file, self.text_columns, self.columns = file, set(text_columns), [*text_columns, *number_columns]
        self.rows: dict[str, Row] = {}
        with plain_write_errors(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
        stamp = file.with_name(f"{file.stem}.settings.json")
        wanted = json.loads(json.dumps(settings))
        if file.exists():
            found = _read_settings(stamp)
            keys = wanted.keys() | found.keys()
            different = sorted(key for key in keys if wanted.get(key) != found.get(key))
            if different:
                raise LMACError(
                    f"'{file.parent.name}' already holds {file.name} of an evaluation with other settings "
                    f"({', '.join(different)}): choose another folder, or remove that file."
                )
            self._read()
        else:
            with plain_write_errors(stamp):
                stamp.write_text(json.dumps(wanted, indent=2, ensure_ascii=False) + "\n", "utf-8")
            self._write(())

    def add(self, rows: Iterable[Row]) -> None:
        """Append finished rows; a row whose key is known replaces the older one at the next `finish`."""
        rows = list(rows)
        with plain_write_errors(self.file), self.file.open("a", encoding="utf-8", newline="") as stream:
            csv.DictWriter(stream, self.columns, restval="").writerows(map(_as_text, rows))
        self.rows |= {str(row[self.columns[0]]): row for row in rows}

    def finish(self, keys: Sequence[str]) -> list[Row]:
        """Put the file in the order of `keys`, one row each, and return the rows."""
        ordered = [self.rows[key] for key in keys]
        self._write(ordered)
        return ordered

    def _write(self, rows: Iterable[Row]) -> None:
        fresh = self.file.with_suffix(".part")
        with plain_write_errors(self.file), fresh.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, self.columns, restval="")
            writer.writeheader()
            writer.writerows(map(_as_text, rows))
        os.replace(fresh, self.file)

    def _read(self) -> None:
        text = self.file.read_text("utf-8")
        if not text.endswith("\n"):  # the run was killed while it wrote a line
            text = text[: text.rfind("\n") + 1]
        for row in csv.DictReader(io.StringIO(text)):
            self.rows[row[self.columns[0]]] = {
                key: value if key in self.text_columns else float(value)
                for key, value in row.items()
                if value
            }
        self._write(self.rows.values())


def _read_settings(stamp: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(stamp.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _as_text(row: Row) -> dict[str, str]:
    """Numbers with all their digits, so that what is read back is what was written; nan is an empty cell."""
    return {
        key: value if isinstance(value, str) else repr(value) for key, value in row.items() if value == value
    }


def fingerprint(*models: object) -> str:
    """Short hash of all weights of models, or of objects that hold models; equal weights, equal text."""
    digest = hashlib.sha256()
    for model in models:
        parts = [model] if isinstance(model, nn.Module) else list(vars(model).values())
        for part in parts:
            if isinstance(part, nn.Module):
                for name, value in part.state_dict().items():
                    digest.update(name.encode())
                    digest.update(
                        value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
                    )
    return digest.hexdigest()[:16]
