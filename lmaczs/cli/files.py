"""Results that appear complete or not at all."""

import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from lmaczs.errors import LMACError, plain_write_errors

# Ends the name of what is not whole yet.
HALF = ".half"


@contextmanager
def temporary_files_removed_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the program as an exception does, with exit code 143, so that nothing half-written stays."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # only the main thread may
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextmanager
def folder_written_whole(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; at the end its files move to `target`, after an error none do.

    A folder that is there already keeps its other files.

    Raises:
        LMACError: the place cannot be written to.
    """
    if target.exists() and not target.is_dir():
        raise LMACError(f"'{target.name}' is a file, not a folder: choose another name for the results.")
    with plain_write_errors(target):
        target = target.absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        temporary = Path(tempfile.mkdtemp(prefix=_half(target), suffix=HALF, dir=target.parent))
    try:
        yield temporary
        with plain_write_errors(target):
            temporary.chmod(0o755)  # mkdtemp makes private folders
            if target.exists():
                for path in sorted(path for path in temporary.rglob("*") if path.is_file()):
                    place = target / path.relative_to(temporary)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(path, place)
            else:
                os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _half(path: Path) -> str:
    """Begins the name of what is not whole yet; a name may have 255 bytes."""
    return f".{path.name[:40]}-"


def _sweep(path: Path) -> None:
    """Remove what a program that was killed had half written in the place of this file or folder."""
    half = re.compile(rf"{re.escape(_half(path))}[a-z0-9_]{{8}}{re.escape(HALF)}")
    with suppress(OSError):
        for other in path.parent.iterdir():
            if half.fullmatch(other.name):
                shutil.rmtree(other, ignore_errors=True) if other.is_dir() else other.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file that appears complete or not at all.

    Raises:
        LMACError: the place cannot be written to, or is a folder or a device.
    """
    if path.exists() and not path.is_file():
        raise LMACError(
            f"'{path.name}' is a folder or a device, not a file: choose another name for the results."
        )
    with plain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        handle, temporary = tempfile.mkstemp(prefix=_half(path), suffix=HALF, dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(temporary, 0o644)  # mkstemp makes private files
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def write_json_whole(path: Path, value: Any, digits: int | None = None) -> None:
    """Write JSON values and numbers; JSON has no nan: null instead.

    Args:
        path: of the file.
        value: dictionaries and lists of texts and numbers.
        digits: significant ones to keep; None keeps all.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [plain(entry) for entry in value]
        if isinstance(value, float):
            if value != value:
                return None
            return value if digits is None else float(f"{value:.{digits}g}")
        return value

    write_text_whole(path, json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")
