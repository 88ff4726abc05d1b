"""What is seen of the page before it runs: elsewhere a link's words and picture, on a slow network the page's outline."""

import html
import os
import re
from pathlib import Path

from lmaczs.ui import text
from lmaczs.ui.headers import App, Receive, Scope, Send
from lmaczs.ui.web_files import read

PICTURE = Path(__file__).with_name("preview.png")
ICON = Path(__file__).with_name("icon.png")
PATH = "/preview.png"
ROOT = "GRADIO_ROOT_PATH"
# Gradio's template tells of Gradio.
OTHERS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')
# It leads to an icon that is only for pages that can be installed, which this one is not.
MANIFEST = re.compile(rb'<link rel="manifest"[^>]*>\s*')
# Nothing is drawn before such a style sheet is there; the outline does without it, and the rest comes later anyhow.
STYLES = re.compile(rb'<link rel="stylesheet" (?=[^>]*href="\./assets/)')
LATER = b'<link rel="stylesheet" media="print" onload="this.media=\'all\'" '
HEAD = b"<head>"
BODY = re.compile(rb"<body[^>]*>")


class LinkPreview:
    """ASGI middleware: rewrites the page as Gradio sends it, and serves its picture."""

    def __init__(self, app: App) -> None:
        """Wrap an app."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return await self.app(scope, receive, send)
        if scope["path"] == PATH:
            picture = PICTURE.read_bytes()
            return await _answer(send, 200, [(b"content-type", b"image/png")], picture, scope["method"])
        if scope["path"] not in ("", "/"):
            return await self.app(scope, receive, send)
        await self._page(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the page, once all of it is there."""
        start: dict[str, object] = {}
        body = b""

        async def gather(message: Scope) -> None:
            nonlocal body
            if message["type"] == "http.response.start":
                start.update(message)
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")

        await self.app(scope, receive, gather)
        headers = [pair for pair in start.get("headers", ()) if pair[0].lower() != b"content-length"]  # type: ignore[attr-defined]
        if HEAD in body:
            body = MANIFEST.sub(b"", OTHERS.sub(b"", body))
            body = STYLES.sub(LATER, body).replace(HEAD, HEAD + own_tags(scope).encode(), 1)
            body = BODY.sub(lambda found: found.group() + outline().encode(), body, count=1)
        await _answer(send, start["status"], headers, body, scope["method"])


def own_tags(scope: Scope) -> str:
    """The tags that tell of this page.

    Args:
        scope: of the request, for the address that others reach the page at.
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    said = headers.get("x-forwarded-proto", "").split(",")[0].strip()
    scheme = said if said in ("http", "https") else scope.get("scheme", "http")
    url = _under_root(f"{scheme}://{headers.get('host', 'localhost')}")
    tags = {
        'property="og:title"': text.TITLE,
        'property="og:type"': "website",
        'property="og:url"': url + "/",
        'property="og:description"': text.LEAD,
        'property="og:image"': url + PATH,
        'name="description"': text.LEAD,
        'name="twitter:card"': "summary_large_image",
    }
    return "".join(
        f'\n\t\t<meta {name} content="{html.escape(value, quote=True)}" />' for name, value in tags.items()
    )


def _under_root(address: str) -> str:
    """An address of the server with the prefix of a proxy, which Gradio reads too and which may be a whole address."""
    root = os.environ.get(ROOT, "").rstrip("/")
    if re.match(r"https?://", root):
        return root
    return f"{address}/{root.lstrip('/')}" if root else address


def outline() -> str:
    """What stands in the page until its scripts have come."""
    template = read("skeleton.html")
    return template.replace("{title}", html.escape(text.TITLE)).replace("{lead}", html.escape(text.LEAD))


async def _answer(
    send: Send, status: object, headers: list[tuple[bytes, bytes]], body: bytes, method: str
) -> None:
    sized = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
