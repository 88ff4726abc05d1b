"""A run remembers whose decisions it learns to explain, so that it goes on, and is released, for no other weights."""

import json
from pathlib import Path

from torch import nn

from lmaczs.errors import CheckpointError
from lmaczs.hub import trained_for
from train.checkpoints import write_whole

FILE = "explained.json"


def remember_explained(
    run: Path, backend: nn.Module, head: nn.Module | None = None, write: bool = True
) -> None:
    """Keep the hashes of a classifier in a run's folder, or compare with those that are there.

    Args:
        run: folder.
        backend: the CLAP.
        head: on it, where its decision is explained.
        write: in one of several processes only.

    Raises:
        CheckpointError: the run was begun for other weights.
    """
    if (run / FILE).exists():
        check_explained(run, backend, head)
    elif write:
        run.mkdir(parents=True, exist_ok=True)
        text = json.dumps(trained_for(backend, head), indent=2)
        write_whole(run / FILE, lambda path: path.write_text(text))


def check_explained(run: Path, backend: nn.Module, head: nn.Module | None = None) -> None:
    """Refuse a classifier with other weights than those that a run was begun for; older runs do not say.

    Raises:
        CheckpointError: they differ.
    """
    if (run / FILE).exists() and json.loads((run / FILE).read_text()) != trained_for(backend, head):
        raise CheckpointError(
            f"The run '{run.name}' was begun for a classifier with other weights than those that are loaded: load "
            "those, or train again in another folder."
        )
