"""Where results go, and what of them is there already.

    settings.json                 what made the rows; another question needs another folder
    rows/UNIT.parquet             finished units
    unfinished/UNIT/CLIP.json     finished clips of a unit that is not complete, and clips that were begun
    files/..                      sounds and masks, where they were asked for

A clip has one name for its file, a file appears whole or not at all, and a unit's rows replace each other: whatever is
done twice, by a worker that was thought dead or by a run that was cut short, is in the results once.
"""

import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmaczs.errors import LMACError
from lmaczs.many.files import is_local, missing_extra, open_place, shown
from lmaczs.many.rows import Row, parquet_bytes
from lmaczs.many.units import FILES, Unit

SETTINGS, LOCK = "settings.json", ".running"


class Destination:
    """A folder of results, on this machine or at any fsspec URL that can be written to."""

    def __init__(self, url: str) -> None:
        """Point to it; nothing is made yet.

        Raises:
            LMACError: there is no such kind of place.
        """
        self._files, self._root = open_place(url)
        self.url = self._files.unstrip_protocol(self._root)  # whole, for workers in other folders
        self._local = is_local(self._files)

    @property
    def name(self) -> str:
        """For messages."""
        return shown(self._root)

    def prepare(self, settings: Mapping[str, Any]) -> None:
        """Make the folder, or check that it holds results of the same settings.

        Raises:
            LMACError: it holds other results or other files, or cannot be written to.
        """
        wanted = json.loads(json.dumps(dict(settings)))
        with self._plain_errors():
            there = self._files.ls(self._root, detail=False) if self._files.exists(self._root) else []
            stamp = self._path(SETTINGS)
            if self._files.exists(stamp):
                found = json.loads(self._files.cat_file(stamp))
                names = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
                if names and (self._row_files() or self._list(self._path("unfinished"))):
                    raise LMACError(
                        f"'{self.name}' holds results of other settings ({', '.join(names)}): choose another folder."
                    )
            elif any(not path.rstrip("/").endswith(f"/{LOCK}") for path in there):
                raise LMACError(f"'{self.name}' holds other files: choose a new folder for the results.")
            self._write(stamp, json.dumps(wanted, indent=2, ensure_ascii=False).encode())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep a second run out of a folder of this machine; the system lifts the lock whatever ends this one.

        Raises:
            LMACError: another run is writing there.
        """
        if not self._local:
            yield
            return
        from filelock import FileLock, Timeout

        with self._plain_errors():
            os.makedirs(self._root, exist_ok=True)
            lock = FileLock(self._path(LOCK))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise LMACError(
                    f"Another run is writing into '{self.name}': wait for its end, or choose another folder."
                ) from None
        try:
            yield
        finally:
            lock.release()

    def begun(self, unit: Unit) -> dict[str, int]:
        """Digest of each clip that is finished (0) or was begun (how often) in a unit."""
        return {digest: entry.get("begun", 0) for digest, entry in self._entries(unit.name)}

    def begin(self, unit: Unit, path: str, times: int) -> None:
        """Note that a clip is begun for the `times`-th time, for the case that nobody comes back from it."""
        self._write_entry(unit, path, {"path": path, "begun": times})

    def commit(self, unit: Unit, row: Row) -> None:
        """Keep a finished clip."""
        self._write_entry(unit, row["path"], {"row": row})

    def put_files(self, folder: Path, path: str) -> str:
        """Move a clip's files in; returns their folder below this one, which no user's text is part of."""
        digest = clip_digest(path)
        below = f"files/{digest[:2]}/{digest}"
        with self._plain_errors():
            self._files.makedirs(self._path(below), exist_ok=True)
            for file in sorted(folder.iterdir()):
                self._write(self._path(f"{below}/{file.name}"), file.read_bytes())
        return below

    def finish(self, name: str) -> int:
        """Turn a unit's finished clips into its Parquet file; returns how many there are."""
        rows = (entry["row"] for _, entry in self._entries(name) if "row" in entry)
        with self._plain_errors():
            data, count = parquet_bytes(rows)
            if count or not name.startswith(FILES):
                self._write(self._path(f"rows/{name}.parquet"), data)
            self.forget(name)
        return count

    def is_finished(self, name: str) -> bool:
        """Whether a unit is complete."""
        return bool(self._files.exists(self._path(f"rows/{name}.parquet")))

    def recover(self) -> dict[str, int]:
        """Tidy up after a run that was cut short.

        Clips that were finished in units of files become Parquet rows: the next run cuts new units from what is
        missing. A shard stays as it is, and is gone on with.

        Returns:
            Path -> how often a clip was begun that never came back.
        """
        begun: dict[str, int] = {}
        for path in self._list(self._path("unfinished")):
            name = path.rstrip("/").rpartition("/")[2]
            if self.is_finished(name):  # the run ended between the two steps of `finish`
                self.forget(name)
            elif name.startswith(FILES):
                entries = [entry for _, entry in self._entries(name)]
                begun |= {entry["path"]: entry["begun"] for entry in entries if "begun" in entry}
                self.finish(name)
        return begun

    def finished_paths(self, only: str = "") -> set[str]:
        """Clips that are in the Parquet files, those of failed ones too.

        Args:
            only: start of the names of the files to read.
        """
        return {path for table in self._tables(["path"], only) for path in table["path"].to_pylist()}

    def count(self) -> tuple[int, int, str]:
        """Clips in the Parquet files, how many of them failed, and the first failure's sentence."""
        total, failed, first = 0, 0, ""
        for table in self._tables(["error"]):
            total += table.num_rows
            sentences = [text for text in table["error"].to_pylist() if text is not None]
            failed += len(sentences)
            first = first or next(iter(sentences), "")
        return total, failed, first

    def drop_failed(self) -> int:
        """Take failed clips out of the finished units, so that they are tried again; returns how many."""
        dropped = 0
        for path in self._row_files():
            name = path.rpartition("/")[2].removesuffix(".parquet")
            rows = self._read(path, None).to_pylist()
            good = [row for row in rows if row["error"] is None]
            if len(good) == len(rows):
                continue
            dropped += len(rows) - len(good)
            for row in good:
                entry = {"row": {key: value for key, value in row.items() if value is not None}}
                self._write(self._entry_path(name, row["path"]), json.dumps(entry).encode())
            self._files.rm(path)  # from here on the unit is an unfinished one
        return dropped

    def _tables(self, columns: list[str], only: str = "") -> Iterator[Any]:
        for path in self._row_files(only):
            yield self._read(path, columns)

    def _row_files(self, only: str = "") -> list[str]:
        names = [(path, path.rpartition("/")[2]) for path in self._list(self._path("rows"))]
        return [
            path
            for path, name in names
            if name.endswith(".parquet") and name.startswith(only) and name[0] != "."
        ]

    def _read(self, path: str, columns: list[str] | None) -> Any:
        try:
            import pyarrow.parquet
        except ImportError:
            raise missing_extra("pyarrow") from None
        try:
            # No threads of Arrow's own: a short program can end before they do, and is then aborted.
            file = pyarrow.parquet.ParquetFile(io.BytesIO(self._files.cat_file(path)), pre_buffer=False)
            return file.read(columns=columns, use_threads=False)
        except (pyarrow.ArrowException, OSError) as error:
            raise LMACError(
                f"'{shown(path)}' in '{self.name}' cannot be read: remove it, and its clips are explained again."
            ) from error

    def _entries(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Digest and content of everything in a unit's unfinished folder."""
        for path in self._list(self._path(f"unfinished/{name}")):
            if path.endswith(".json"):
                digest = path.rpartition("/")[2].removesuffix(".json")
                yield digest, json.loads(self._files.cat_file(path))

    def _write_entry(self, unit: Unit, path: str, entry: Mapping[str, Any]) -> None:
        with self._plain_errors():
            self._write(self._entry_path(unit.name, path), json.dumps(entry).encode())

    def _entry_path(self, name: str, path: str) -> str:
        return self._path(f"unfinished/{name}/{clip_digest(path)}.json")

    def forget(self, name: str) -> None:
        """Remove what lies in a unit's unfinished folder."""
        folder = self._path(f"unfinished/{name}")
        if self._files.exists(folder):
            self._files.rm(folder, recursive=True)

    def _list(self, folder: str) -> list[str]:
        try:
            return sorted(self._files.ls(folder, detail=False, refresh=True))
        except FileNotFoundError:
            return []

    def _path(self, below: str) -> str:
        return f"{self._root}/{below}"

    def _write(self, path: str, data: bytes) -> None:
        """Write a file that appears whole or not at all, as object stores do by themselves."""
        if not self._local:
            self._files.pipe_file(path, data)
            return
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        fresh.write_bytes(data)
        os.replace(fresh, place)

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """Turn what a file system raises into one sentence."""
        try:
            yield
        except LMACError:
            raise
        except Exception as error:
            raise LMACError(
                f"The results cannot be written into '{self.name}' ({type(error).__name__}): choose another place, or "
                "see to it that you may write there and that there is room."
            ) from error


def clip_digest(path: str) -> str:
    """Name of a clip's files: as long for every clip, and without a character of its path."""
    return hashlib.sha1(path.encode()).hexdigest()
