"""Gradio's field for the recording's file: no player and no waveform, which the stage has; it is not seen itself."""

from typing import Any

import gradio as gr
from gradio.data_classes import FileData


def sound_file(path: str | None) -> gr.UploadButton:
    """A field that holds one file as it came; the scripts of the page press it, see source.js.

    Args:
        path: of the first sound.
    """
    field: Any = gr.UploadButton("Sound", value=path, interactive=True)
    # Its own way leaves an empty file at every event. Not a subclass: Gradio writes an interface file beside those.
    field.preprocess = path_of
    # Of an example, which Gradio writes into the page: its own is an address elsewhere.
    field.example_payload = field.example_value = lambda: None
    return field  # type: ignore[no-any-return]


def path_of(payload: object) -> str | None:
    """The path of an upload, which Gradio has checked; None where there is none."""
    return payload.path if isinstance(payload, FileData) else None
