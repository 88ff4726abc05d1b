"""Where results go, and what of them is there already.

    settings.json                 what made the rows, with hashes of all weights; anything else needs another folder
    rows/UNIT.parquet             finished units
    finished/UNIT.json            hash of the Parquet file, and of the shard that it tells of; written last
    unfinished/UNIT/CLIP.json     finished clips of a unit that is not complete, and clips that were begun
    files/..                      sounds and masks, where they were asked for

A clip has one name for its file, a file appears whole or not at all, and a unit's rows replace each other: whatever is
done twice, by a worker that was thought dead or by a run that was cut short, is in the results once. A row knows the
hash of its recording's bytes, so that another sound under the same name is another clip.
"""

import hashlib
import io
import json
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmaczs.data.places import is_local, open_place, shown
from lmaczs.errors import LMACError, StorageError
from lmaczs.many.rows import Row, missing_extra, parquet_bytes
from lmaczs.many.units import FILES, Unit

SETTINGS, LOCK = "settings.json", ".running"
# Names of `Destination._write` for a file that is not whole yet.
HALF_WRITTEN = re.compile(r"\..+\.[0-9a-f]{8}")
Entry = dict[str, Any]  # {"row": …} of a finished clip; {"path": …, "begun": …} of one that was begun


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
            for folder in ("", "/rows", "/finished"):
                self._sweep(self._root + folder)
            there = self._list(self._root)
            if self._files.exists(self._path(SETTINGS)):
                found = self.settings()
                names = sorted(key for key in {*wanted, *found} if wanted.get(key) != found.get(key))
                if names and (self._row_files() or self._list(self._path("unfinished"))):
                    raise LMACError(
                        f"'{self.name}' holds results of other settings ({', '.join(names)}): choose another folder."
                    )
            elif any(not path.rstrip("/").endswith(f"/{LOCK}") for path in there):
                raise LMACError(f"'{self.name}' holds other files: choose a new folder for the results.")
            self._write(self._path(SETTINGS), json.dumps(wanted, indent=2, ensure_ascii=False).encode())

    def settings(self) -> dict[str, Any]:
        """What made the rows; empty where the file is damaged, which then equals no settings."""
        return self._read_json(self._path(SETTINGS))

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

    def entries(self, name: str) -> Iterator[tuple[str, Entry]]:
        """Digest and content of everything in a unit's unfinished folder; damaged files are passed over.

        Their clips are done again, and replace them.
        """
        for path in self._list(self._path(f"unfinished/{name}")):
            entry = self._read_json(path) if path.endswith(".json") else {}
            if isinstance(entry.get("row"), dict) or isinstance(entry.get("begun"), int):
                yield path.rpartition("/")[2].removesuffix(".json"), entry

    def begin(self, unit: Unit, path: str, times: int) -> None:
        """Note that a clip is begun for the `times`-th time, for the case that nobody comes back from it."""
        self._write_entry(unit.name, path, {"path": path, "begun": times})

    def commit(self, unit: Unit, row: Row) -> None:
        """Keep a finished clip."""
        self._write_entry(unit.name, row["path"], {"row": row})

    def put_files(self, folder: Path, path: str) -> str:
        """Move a clip's files in; returns their folder below this one, which no user's text is part of."""
        digest = clip_digest(path)
        below = f"files/{digest[:2]}/{digest}"
        with self._plain_errors():
            self._files.makedirs(self._path(below), exist_ok=True)
            self._sweep(self._path(below))
            for file in sorted(folder.iterdir()):
                self._write(self._path(f"{below}/{file.name}"), file.read_bytes())
        return below

    def finish(self, name: str, source: str = "", only: Collection[str] | None = None) -> None:
        """Turn a unit's finished clips into its Parquet file.

        Args:
            name: of the unit.
            source: SHA-256 of the shard that it tells of.
            only: digests of the clips that the shard still has; None keeps all.
        """
        rows = (
            entry["row"]
            for digest, entry in self.entries(name)
            if "row" in entry and (only is None or digest in only)
        )
        with self._plain_errors():
            data, count = parquet_bytes(rows)
            if count or not name.startswith(FILES):
                marker = {"sha256": hashlib.sha256(data).hexdigest(), "source": source}
                self._write(self._path(f"rows/{name}.parquet"), data)
                self._write(self._marker(name), json.dumps(marker).encode())
            self.forget(name)

    def is_finished(self, name: str) -> bool:
        """Whether a unit is complete."""
        return bool(self._files.exists(self._marker(name)))

    def source_of(self, name: str) -> str:
        """SHA-256 of the shard that a finished unit tells of; "" of other units."""
        return str(self._read_json(self._marker(name)).get("source", ""))

    def tidy(self) -> tuple[dict[str, int], list[str]]:
        """Clear up after a run that was cut short, and take out what is damaged.

        Clips that were finished in units of files become Parquet rows: the next run cuts new units from what is
        missing. A shard stays as it is, and is gone on with.

        Returns:
            Path -> how often a clip was begun that never came back; Parquet files that were damaged, which are removed.
        """
        begun: dict[str, int] = {}
        damaged: list[str] = []
        with self._plain_errors():
            for path in self._row_files():
                name, marked = _stem(path), self._read_json(self._marker(_stem(path))).get("sha256")
                if marked != hashlib.sha256(self._files.cat_file(path)).hexdigest():
                    # Without a marker the run ended between two steps of `finish` or `drop`: the clips still lie apart.
                    damaged += [f"{name}.parquet"] if self._files.exists(self._marker(name)) else []
                    self._remove(self._marker(name))
                    self._remove(path)
            for path in self._list(self._path("finished")):
                if not self._files.exists(self._path(f"rows/{_stem(path)}.parquet")):
                    self._remove(path)
        for path in self._list(self._path("unfinished")):
            name = path.rstrip("/").rpartition("/")[2]
            if self.is_finished(name):  # the run ended between the last two steps of `finish`
                self.forget(name)
            elif name.startswith(FILES):
                entries = [entry for _, entry in self.entries(name)]
                begun |= {entry["path"]: entry["begun"] for entry in entries if "begun" in entry}
                self.finish(name)
        return begun, damaged

    def finished_clips(self, kind: str) -> dict[str, str | None]:
        """Path and fingerprint of the clips in the Parquet files of a kind of units, those of failed ones too."""
        found: dict[str, str | None] = {}
        for path in self._row_files(kind):
            table = self._read(path, ["path", "sha256"])
            found |= dict(zip(table["path"].to_pylist(), table["sha256"].to_pylist(), strict=True))
        return found

    def count(self) -> tuple[int, int, str]:
        """Clips in the Parquet files, how many of them failed, and the first failure's sentence."""
        total, failed, first = 0, 0, ""
        for path in self._row_files():
            table = self._read(path, ["error"])
            total += table.num_rows
            sentences = [text for text in table["error"].to_pylist() if text is not None]
            failed += len(sentences)
            first = first or next(iter(sentences), "")
        return total, failed, first

    def drop(self, unwanted: Callable[[Row], bool], reopen: Collection[str] = ()) -> None:
        """Take rows out of the finished units, so that their clips are done again; `tidy` has to follow.

        Args:
            unwanted: whether a row is to go.
            reopen: units that become unfinished ones whatever their rows.
        """
        for path in self._row_files():
            name, rows = _stem(path), self._read(path, None).to_pylist()
            good = [row for row in rows if not unwanted(row)]
            if len(good) == len(rows) and name not in reopen:
                continue
            for row in good:
                self._write_entry(name, row["path"], {"row": {k: v for k, v in row.items() if v is not None}})
            with self._plain_errors():
                for files in {row["files"] for row in rows if row["files"]} - {row["files"] for row in good}:
                    self._remove(self._path(files))
                self._remove(self._marker(name))  # from here on the unit is an unfinished one
                self._remove(path)

    def forget(self, name: str) -> None:
        """Remove what lies in a unit's unfinished folder."""
        self._remove(self._path(f"unfinished/{name}"))

    def _row_files(self, only: str = "") -> list[str]:
        names = [path for path in self._list(self._path("rows")) if path.endswith(".parquet")]
        return [path for path in names if _stem(path).startswith(only) and _stem(path)[:1] != "."]

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

    def _read_json(self, path: str) -> dict[str, Any]:
        """Content of a file; empty where it is missing or damaged."""
        try:
            content = json.loads(self._files.cat_file(path))
        except (FileNotFoundError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write_entry(self, name: str, path: str, entry: Entry) -> None:
        with self._plain_errors():
            self._write(self._path(f"unfinished/{name}/{clip_digest(path)}.json"), json.dumps(entry).encode())

    def _marker(self, name: str) -> str:
        return self._path(f"finished/{name}.json")

    def _remove(self, path: str) -> None:
        if self._files.exists(path):
            self._files.rm(path, recursive=True)

    def _sweep(self, folder: str) -> None:
        """Remove what a run that was killed had half written; `alone` keeps others out."""
        for path in self._list(folder) if self._local else ():
            if HALF_WRITTEN.fullmatch(path.rpartition("/")[2]):
                self._remove(path)

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
        try:
            fresh.write_bytes(data)
            os.replace(fresh, place)
        finally:
            fresh.unlink(missing_ok=True)

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """Turn what a file system raises into one sentence."""
        try:
            yield
        except LMACError:
            raise
        except Exception as error:
            raise StorageError(
                f"The results cannot be written into '{self.name}' ({type(error).__name__}): choose another place, or "
                "see to it that you may write there and that there is room."
            ) from error


def clip_digest(path: str) -> str:
    """Name of a clip's files: as long for every clip, and without a character of its path."""
    return hashlib.sha1(path.encode()).hexdigest()


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
