"""Errors that nobody foresaw, in one line of the log each; what a visitor sent stays out of it."""

import logging
import sys
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from lmaczs.ui import text
from lmaczs.ui.headers import Receive, Scope, Send, refuse

logger = logging.getLogger(__name__)


def one_line(error: BaseException) -> str:
    """Kind of an error and where it arose; never its message, which may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


class _OneLine:
    """In the place of the module `traceback`, where Gradio prints what it has caught."""

    def print_exc(self, *_: Any, **__: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None:
            logger.error("A call failed: %s", one_line(error))

    def __getattr__(self, name: str) -> Any:
        return getattr(traceback, name)


def keep_log_short() -> None:
    """Let Gradio log an error as one line from now on, in this process."""
    from gradio import queueing, route_utils, routes

    for module in (queueing, route_utils, routes):
        module.traceback = _OneLine()  # type: ignore[attr-defined]


class SafeErrors:
    """ASGI middleware: an error is answered in one sentence and logged in one line."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        """Wrap an app."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = False

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            logger.error("A call failed: %s", one_line(error))
            if not started:
                await refuse(send, 500, text.CALL_FAILED)
