"""What transformers' save_pretrained wrote, read from files alone: no network, no foreign code, no random weights."""

from pathlib import Path
from typing import Any

import torch

from lmaczs.clap.quiet import quiet_transformers
from lmaczs.errors import CheckpointError


def open_pretrained(folder: Path, model: Any, others: tuple[Any, ...], whose: str, parts: str) -> list[Any]:
    """Read a model, which gets every weight that it has from its file, and what belongs to it.

    Args:
        folder: with all files; weights as safetensors.
        model: class with `from_pretrained`.
        others: more of them, e.g. of the feature extractor.
        whose: begins a message, "The classifier's".
        parts: what the folder holds, for a message.

    Returns:
        The model, float32 and in evaluation mode; then the others.

    Raises:
        CheckpointError: files are damaged, missing or do not belong together.
    """
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet_transformers():
            found = [other.from_pretrained(folder, **options) for other in others]
            made, report = model.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
            )
    except Exception as error:
        # transformers raises errors of many kinds, with paths in them.
        raise CheckpointError(
            f"{whose} files cannot be loaded ({type(error).__name__}): give a folder as transformers' save_pretrained "
            f"writes it, with {parts}."
        ) from error
    missing = sorted(report.get("missing_keys", ()))
    if missing:
        raise CheckpointError(
            f"{whose} weights lack '{missing[0]}', which its configuration asks for, and a decision by random weights "
            "explains nothing: save it again with save_pretrained."
        )
    return [made.eval(), *found]
