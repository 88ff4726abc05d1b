"""The examples' stored explanations: the page shows its point before any model is loaded.

Stored is what the player is sent: the recording, what is kept of it, the pictures and the numbers.
"""

import json
from pathlib import Path
from typing import Any

from lmaczs.ui.components import with_files
from lmaczs.ui.examples import Example

# Beside the examples, a folder for each.
STORED = "stored"
PAYLOAD = "payload.json"


def load_stored(example: Example) -> dict[str, Any] | None:
    """What `lmaczs.ui.build_stored` wrote: "backend", "scores" and "player"; None if there is nothing.

    "player" is what an event gives the player.

    Args:
        example: in a folder that Gradio may serve from.
    """
    folder = folder_of(example)
    if not (folder / PAYLOAD).is_file():
        return None
    stored: dict[str, Any] = json.loads((folder / PAYLOAD).read_text("utf-8"))
    return stored | {"player": with_files(stored["player"], folder)}


def folder_of(example: Example) -> Path:
    """Where its stored explanation lies."""
    return example.path.parent / STORED / example.path.stem
