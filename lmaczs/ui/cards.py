"""The cards of the embedded models, to be read beside the page: whose work they are, and what they may be used for."""

from pathlib import Path

from lmaczs.release_names import asset_folders
from lmaczs.ui.headers import App, Receive, Scope, Send

PATH = "/cards/"


def cards() -> dict[str, Path]:
    """Name of each embedded release -> its card, in the order of their names."""
    found = (path for root in asset_folders() for path in root.glob("releases/*/README.md"))
    return {path.parent.name: path for path in sorted(found)}


class Cards:
    """ASGI middleware that serves the cards as text."""

    def __init__(self, app: App) -> None:
        """Wrap an app."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        path = scope["path"] if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else ""
        # Only names that are known: nothing of the address becomes a path.
        card = cards().get(path.removeprefix(PATH)) if path.startswith(PATH) else None
        if card is None:
            return await self.app(scope, receive, send)
        body = card.read_bytes()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
