"""The sounds that came with this installation."""

import json
from dataclasses import dataclass
from pathlib import Path

from lmaczs.release_names import asset_folders


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
