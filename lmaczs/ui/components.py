"""The page's own components: templates without any value in them, filled by scripts through `textContent`.

A value inside a `gr.HTML` template is compiled as a template again, so that a prompt could run as a script;
these templates therefore never hold one.
"""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from gradio.processing_utils import save_file_to_cache

from lmaczs.ui.cache import visitors_folder
from lmaczs.ui.modules import joined
from lmaczs.ui.web_files import WEB, read


def notice() -> gr.HTML:
    """One plain sentence about what went wrong; value {"message": str, "turn": number, "serial": int}."""
    return _component("notice", None)


def scores(value: dict[str, Any] | None, facts: dict[str, Any]) -> gr.HTML:
    """The prompts with their scores, each a choice of what to explain.

    Args:
        value: `lmaczs.ui.payload.scores_payload`.
        facts: {"suggested": sentences that may be typed}, for the script only.
    """
    return _component("scores", value, facts=facts)


def source(facts: dict[str, Any]) -> gr.HTML:
    """Buttons that choose or record a sound; drops anywhere on the page, too.

    Args:
        facts: {"most_mb": of a file, "most_seconds": of a recording}, for the script only.
    """
    return _component("source", None, facts=facts)


def progress() -> gr.HTML:
    """Tells the player how far the work is, and shows nothing itself; value {"share", "message", "method"}."""
    return _component("progress", None)


def player(value: dict[str, Any] | None, facts: dict[str, Any]) -> gr.HTML:
    """Spectrograms, masks, sound and numbers.

    Args:
        value: `lmaczs.ui.handlers.Update.player`, with "turn" and "serial".
        facts: `lmaczs.ui.facts.page_facts`, for the script only.
    """
    return _component("player", value, script="player/player.js", facts=facts)


def model(facts: dict[str, Any]) -> gr.HTML:
    """The choice of the classifier; value as `lmaczs.ui.models.Models.choose` yields it.

    Args:
        facts: {"default": key, "embedded": key, "choices": `lmaczs.ui.models.choices`}, for the script only.
    """
    return _component("model", None, facts=facts)


def _component(name: str, value: Any, script: str | None = None, **props: Any) -> gr.HTML:
    return gr.HTML(
        value,
        html_template=read(f"{name}.html"),
        js_on_load=joined(WEB / (script or f"{name}.js")),
        apply_default_css=False,
        elem_id=f"lz-{name}",
        container=False,
        **props,
    )


def with_files(value: Any, folder: Path, copies: dict[str, str] | None = None) -> Any:
    """Turn every {"file": name} of a payload into what Gradio serves.

    Args:
        value: the payload, or a part of it.
        folder: names are relative to it.
        copies: name -> the visitors' copy, of files that were given out; those that were not are added. Gradio makes its
            own copies where there is None, and reads all of a value's files for that, each time that one is sent.
    """
    if isinstance(value, dict):
        if value.keys() == {"file"}:
            name, path = value["file"], str(folder / value["file"])
            if copies is not None and name not in copies:
                copies[name] = save_file_to_cache(path, visitors_folder().name)
            return FileData(path=path if copies is None else copies[name]).model_dump()
        return {key: with_files(item, folder, copies) for key, item in value.items()}
    if isinstance(value, list):
        return [with_files(item, folder, copies) for item in value]
    return value
