"""The sounds that came with this installation, and the stored explanation of the first one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmaczs.release_names import asset_folders

FIRST_PAINT = "first_paint"


@dataclass(frozen=True)
class Example:
    """A sound made by this project.

    Attributes:
        path: of the recording.
        title: a few words for its button.
        prompts: to start with.
    """

    path: Path
    title: str
    prompts: tuple[str, ...]


def examples_folder() -> Path | None:
    """Where examples.json lies, or None if this installation has no examples."""
    found = (root / "examples" for root in asset_folders())
    return next((folder for folder in found if (folder / "examples.json").is_file()), None)


def load_examples(folder: str | Path) -> list[Example]:
    """In the order of examples.json; the first one is shown at the first paint.

    Args:
        folder: `examples_folder()` or a copy of it.
    """
    path = Path(folder, "examples.json")
    entries = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return [
        Example(path.parent / entry["file"], entry["title"], tuple(entry["prompts"])) for entry in entries
    ]


def load_first_paint(folder: str | Path) -> dict[str, Any] | None:
    """What `lmaczs.ui.build_first_paint` wrote: "backend", "example", "scores" and "player".

    "player" is what an event gives the player: results and controls; paths are relative to the folder FIRST_PAINT.

    Args:
        folder: `examples_folder()` or a copy of it.
    """
    path = Path(folder, FIRST_PAINT, "payload.json")
    return json.loads(path.read_text("utf-8")) if path.is_file() else None
