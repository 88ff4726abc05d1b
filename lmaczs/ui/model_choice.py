"""The choice of the classifier on the page: its component, and what happens when a visitor uses it."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from lmaczs.clap import EMBEDDED
from lmaczs.clap.labels.folders import shown_name
from lmaczs.ui import components
from lmaczs.ui.models import Models, choices

# Who wait for a classifier at the same time.
VISITORS = 32


def add_model_choice(demo: gr.Blocks, models: Models) -> None:
    """Add it to a page.

    Args:
        demo: the page, being built.
        models: its classifiers.
    """
    default = models.settings.backend
    model = components.model(
        {"default": shown_name(default), "embedded": EMBEDDED, "choices": choices(default)}
    )

    def choose(event: gr.EventData, request: gr.Request) -> Iterator[dict[str, Any]]:
        sent = event._data if isinstance(event._data, dict) else {}
        for serial, told in enumerate(models.choose(sent.get("key"), request.session_hash or "")):
            yield told | {"turn": sent.get("turn"), "serial": serial}

    def leave(request: gr.Request) -> None:
        models.leave(request.session_hash or "")

    model.choose(
        choose,
        None,
        [model],
        # Its own line: no quick result waits behind a download.
        concurrency_id="models",
        concurrency_limit=VISITORS,
        show_progress="hidden",
        trigger_mode="multiple",
        api_visibility="private",
    ).failure(None, js="() => window.lmaczs.modelFailed()")
    demo.unload(leave)
