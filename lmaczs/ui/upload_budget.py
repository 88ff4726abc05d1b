"""How much one address may bring in the time that files are kept, so that nobody fills the disk for all others."""

import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from lmaczs.ui import text
from lmaczs.ui.headers import Receive, Scope, Send, refuse

UPLOAD = "/gradio_api/upload"
# Whose uploads are counted at the same time; the one that came first is forgotten first.
ADDRESSES = 10_000


class UploadBudget:
    """ASGI middleware that refuses uploads of an address which has brought too much lately."""

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        most_bytes: int,
        window_s: float,
        behind_proxy: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wrap an app.

        Args:
            app: the page.
            most_bytes: of one address within the window.
            window_s: s.
            behind_proxy: the last entry of X-Forwarded-For, which the proxy itself has written, is the address.
            clock: s.
        """
        self.app, self.most_bytes, self.window_s = app, most_bytes, window_s
        self.behind_proxy, self.clock = behind_proxy, clock
        self._brought: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith(UPLOAD):
            return await self.app(scope, receive, send)
        address = self._address(scope)
        if self._lately(address) + _stated(scope) > self.most_bytes:
            return await refuse(send, 429, text.TOO_MANY_BYTES.format(most=self.most_bytes // 10**6))

        async def counted() -> MutableMapping[str, Any]:
            # What is stated need not be what comes.
            message: MutableMapping[str, Any] = await receive()
            self._count(address, len(message.get("body", b"")))
            return {"type": "http.disconnect"} if self._lately(address) > self.most_bytes else message

        await self.app(scope, counted, send)

    def _address(self, scope: Scope) -> str:
        if self.behind_proxy:
            given = [value for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
            if given:
                last: str = given[-1].decode("latin-1").split(",")[-1].strip()
                return last
        return str((scope.get("client") or ("",))[0])

    def _count(self, address: str, count: int) -> None:
        if count:
            self._brought.setdefault(address, deque()).append((self.clock(), count))
            self._brought.move_to_end(address)
            while len(self._brought) > ADDRESSES:
                self._brought.popitem(last=False)

    def _lately(self, address: str) -> int:
        """Bytes of an address within the window."""
        brought = self._brought.get(address, deque())
        while brought and brought[0][0] < self.clock() - self.window_s:
            brought.popleft()
        return sum(count for _, count in brought)


def _stated(scope: Scope) -> int:
    """Length that a request states; 0: none, or no number."""
    for name, value in scope["headers"]:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value[:18])
    return 0
