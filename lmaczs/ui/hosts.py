"""Under which names the page answers: no foreign page may reach a local one by a name of its own choice."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from lmaczs.ui import text
from lmaczs.ui.headers import Receive, Scope, Send, refuse

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def allowed_hosts(server_name: str, named: str) -> tuple[str, ...] | None:
    """Names that a page answers to.

    Args:
        server_name: address that it is bound to.
        named: further names with spaces between, "*" for any.

    Returns:
        Names without ports, in small letters; None: any. A page that is bound to more than this machine answers to any
        name, unless some are given.
    """
    names = tuple(named.lower().split())
    local = server_name.strip().lower().strip("[]") in ("", "localhost", "::1") or server_name.startswith(
        "127."
    )
    if "*" in names or not (names or local):
        return None
    return (*LOOPBACK, *names)


def name_of(host: str) -> str:
    """What stands before the port of a Host header: "[::1]:80" -> "[::1]"."""
    name, _, port = host.lower().rpartition(":")
    return name if name and port.isdecimal() and not name.endswith(":") else host.lower()


class KnownHosts:
    """ASGI middleware that refuses requests for another name (DNS rebinding)."""

    def __init__(
        self, app: Callable[[Scope, Receive, Send], Awaitable[None]], hosts: Collection[str]
    ) -> None:
        """Wrap an app; `hosts` as `allowed_hosts` gives them."""
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or self._knows(scope):
            return await self.app(scope, receive, send)
        await refuse(send, 421, text.OTHER_HOST)

    def _knows(self, scope: Scope) -> bool:
        given: list[Any] = [value for name, value in scope["headers"] if name.lower() == b"host"]
        return len(given) == 1 and name_of(given[0].decode("latin-1")) in self.hosts
