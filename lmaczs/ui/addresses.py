"""Sounds by address: off, or fetched from public addresses within the limits of uploads; and no relay for other pages.

Gradio fetches whatever address a program gives in the place of a file, of any size, and relays any public page under
`file=http...`. Both are functions of its modules, which are replaced here; a release of Gradio without them is noticed at
the start.
"""

import hashlib
import ipaddress
import os
import re
from pathlib import Path
from urllib.parse import urlparse

import gradio.processing_utils
import gradio.routes
import httpx
import safehttpx
from fastapi import HTTPException, Request
from gradio.exceptions import Error

from lmaczs.ui import text

VARIABLE = "LMACZS_ALLOW_URLS"
SECONDS = 30.0


def are_allowed() -> bool:
    """Whether the person who started the page lets programs give addresses."""
    return os.environ.get(VARIABLE, "").strip().lower() in ("1", "true", "yes")


def guard(most_bytes: int) -> None:
    """Put the page's own rules in the place of Gradio's.

    Args:
        most_bytes: of one sound.
    """

    async def fetch(url: str, cache_dir: str) -> str:
        if not are_allowed():
            raise Error(text.NO_ADDRESSES, print_exception=False)
        return await download(url, cache_dir, most_bytes)

    async def relay(url: str, request: Request) -> None:
        raise HTTPException(404)

    for module, name, ours in (
        (gradio.processing_utils, "async_ssrf_protected_download", fetch),
        (gradio.routes, "secure_url_stream_response", relay),
    ):
        assert hasattr(module, name), f"{module.__name__} has no {name} any more: what takes its place?"
        setattr(module, name, ours)


async def download(url: str, cache_dir: str, most_bytes: int) -> str:
    """Fetch a sound.

    Args:
        url: http or https; a redirection is not followed, since it may lead elsewhere.
        cache_dir: gets a folder for it.
        most_bytes: that are read.

    Returns:
        Path of the file.

    Raises:
        Error: the address is not public, does not answer in time, or has no file within the limit.
    """
    parsed = urlparse(url)
    try:
        # The connection goes to this address, whatever the name means a moment later.
        address = await safehttpx.async_validate_url(parsed.hostname or "")
        if parsed.scheme not in ("http", "https") or not ipaddress.ip_address(address).is_global:
            raise ValueError
    except Exception:
        raise Error(text.NOT_PUBLIC, print_exception=False) from None
    folder = Path(cache_dir, hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:32])
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", Path(parsed.path).name)[-100:].lstrip(".") or "sound"
    path, received = folder / name, 0
    try:
        transport = safehttpx.AsyncSecureTransport(address)
        async with (
            httpx.AsyncClient(transport=transport, timeout=SECONDS) as client,
            client.stream("GET", url) as answer,
        ):
            answer.raise_for_status()
            if answer.is_redirect:
                raise Error(text.NOT_FETCHED, print_exception=False)
            with open(path, "wb") as file:
                async for part in answer.aiter_bytes():
                    received += len(part)
                    if received > most_bytes:
                        size = round(most_bytes / 1e6)
                        raise Error(text.TOO_LARGE.format(megabytes=size), print_exception=False)
                    file.write(part)
    except (httpx.HTTPError, OSError):
        path.unlink(missing_ok=True)
        raise Error(text.NOT_FETCHED, print_exception=False) from None
    except Error:
        path.unlink(missing_ok=True)
        raise
    return str(path)
