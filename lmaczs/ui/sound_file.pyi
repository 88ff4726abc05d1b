"""Gradio's field for the recording's file: no player and no waveform, which the stage has; it is not seen itself."""

import gradio as gr
from gradio.data_classes import FileData, ListFiles

class SoundFile(gr.UploadButton):
    """Holds one file as it came; the scripts of the page press it, see source.js."""

    is_template = True

    def preprocess(self, payload: ListFiles | FileData | None) -> str | None:
        """The path of the upload, which Gradio has checked; nothing is copied, unlike in its own field."""
        return payload.path if isinstance(payload, FileData) else None
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component
