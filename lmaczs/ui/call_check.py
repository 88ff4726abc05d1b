"""Calls of programs that cannot be answered are refused before they stand in line: nonsense keeps nobody waiting."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from gradio_client.utils import is_file_obj_with_meta

from lmaczs.ui import text
from lmaczs.ui.cache import visitors_folder
from lmaczs.ui.headers import App, Receive, Scope, Send, refuse

CALL = "/gradio_api/call/"
# Of a call: sentences, and the name of a file.
MOST_BYTES = 2_000_000
ADDRESSES = ("http://", "https://")


def fault_of(data: Any) -> str | None:
    """What is wrong with the values of a call that is about a sound, in one sentence; None: they may be tried.

    Args:
        data: as a program sent it.
    """
    if not isinstance(data, list) or not data:
        return text.CALL_FAILED
    audio, *others = data
    if not is_file_obj_with_meta(audio) or not isinstance(audio.get("path"), str):
        return text.NO_UPLOAD
    if not audio["path"].startswith(ADDRESSES) and not _is_upload(audio["path"]):
        return text.NO_UPLOAD
    if not others or not isinstance(others[0], list | str):
        return text.NO_PROMPT_LIST
    return None


def _is_upload(path: str) -> bool:
    """Whether it is a file of a visitor; nothing is told of any other file."""
    folder = Path(visitors_folder().name).resolve()
    try:
        place = Path(path).resolve()
        return place.is_relative_to(folder) and place.is_file()
    except (OSError, ValueError):
        return False


class CallCheck:
    """ASGI middleware that reads what programs ask for, and refuses what does not fit with status 422."""

    def __init__(self, app: App, about_sounds: Collection[str]) -> None:
        """Wrap an app.

        Args:
            app: the page.
            about_sounds: names of the endpoints whose first two values are a sound and prompts.
        """
        self.app, self.about_sounds = app, about_sounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        _, found, name = scope["path"].partition(CALL)
        if not found or name not in self.about_sounds:
            return await self.app(scope, receive, send)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
            if len(body) > MOST_BYTES:
                return await refuse(send, 413, text.CALL_FAILED)
        try:
            sent = json.loads(body)
        except (ValueError, RecursionError):
            sent = None
        fault = fault_of(sent.get("data")) if isinstance(sent, dict) else text.CALL_FAILED
        if fault is not None:
            return await refuse(send, 422, fault)
        sent_again = False

        async def again() -> Any:
            nonlocal sent_again
            if sent_again:
                return await receive()
            sent_again = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)
