"""Which classifier each visitor uses: loaded on demand beside the page's work, shared, and let go when nobody uses it."""

import gc
import logging
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any

from lmaczs.clap import BACKENDS, WITHOUT_WEIGHTS, entry_for, forget_backend, labels_for, load_backend
from lmaczs.clap.labels.folders import shown_name
from lmaczs.errors import LMACError
from lmaczs.release_names import decoder_release, embedded_releases
from lmaczs.types import Progress
from lmaczs.ui import text
from lmaczs.ui.handlers import Handlers
from lmaczs.ui.progress import PATIENCE_S, Stopped
from lmaczs.ui.request_order import SESSIONS_KEPT, Request, RequestOrder
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio
from lmaczs.ui.zero_gpu import resting_device

logger = logging.getLogger(__name__)
# For tests.
TEST = "debug"
# Offered only where the page was started with them.
HIDDEN = (TEST, *WITHOUT_WEIGHTS)
LOADED_AT_ONCE = 4


def offered(default: str) -> list[str]:
    """Keys of the classifiers that a visitor may choose, where the page was started with `default`."""
    known = [key for key in BACKENDS if key not in HIDDEN or key == default]
    return known if default in known else [default, *known]


def choices(default: str) -> list[dict[str, Any]]:
    """What the page says of each classifier before anything is loaded.

    Args:
        default: key of the one that the page was started with.

    Returns:
        For each: key, as visitors see it; label; licence; download_mb, 0 if it came with this installation; labels, how
        many of its own it has, null if it takes any prompt; decoder, whether an LMAC-ZS decoder for it came with this
        installation.
    """
    releases = embedded_releases()
    return [
        {
            "key": shown_name(key),
            "label": entry_for(key).label,
            "licence": entry_for(key).licence,
            "download_mb": entry_for(key).download_mb,
            "labels": len(labels_for(key) or ()) or None,
            "decoder": decoder_release(key, "stft") in releases,
        }
        for key in offered(default)
    ]


@dataclass
class Load:
    """A classifier on its way.

    Attributes:
        latest: share that is done, and what is being done.
        waiting: visitors who want it; when none is left, it stops at its next report.
        done: ends when it can be used, or cannot.
    """

    latest: tuple[float, str]
    waiting: int = 0
    done: "Future[None]" = field(default_factory=Future)

    def report(self, share: float, message: str) -> None:
        """See `lmaczs.types.Progress`.

        Raises:
            Stopped: nobody waits any more.
        """
        if not self.waiting:
            raise Stopped
        self.latest = (share, message)


class Models:
    """The handlers of every classifier in use, and each session's choice; safe to call from several threads.

    Files are fetched and read by threads of their own. The work for all visitors stands in one line, whichever
    classifier it is for, so that a quick result waits for one piece of work at most as it does without a choice.
    """

    def __init__(self, settings: Settings) -> None:
        """Load nothing yet.

        Args:
            settings: of the page; their backend is what visitors begin with, and it stays.
        """
        self.settings = settings
        self.default = Studio(settings)
        self._order = RequestOrder()
        self._handlers = {settings.backend: Handlers(self.default, self._order)}
        # Session -> key of what it uses.
        self._chosen: OrderedDict[str, str] = OrderedDict()
        # Session -> its newest request.
        self._wanted: OrderedDict[str, object] = OrderedDict()
        self._loads: dict[str, Load] = {}
        self._loaders = ThreadPoolExecutor(LOADED_AT_ONCE, "loading")
        self._lock = RLock()

    def of(self, request: Request) -> Handlers:
        """The handlers of the classifier that a session has chosen."""
        with self._lock:
            return self._handlers[self._chosen.get(request.session, self.settings.backend)]

    def stop(self, request: Request) -> None:
        """See `Handlers.stop`; whichever classifier is at work."""
        self._order.advance(request)

    def move(self, request: Request, at_s: float) -> None:
        """See `RequestOrder.move`."""
        self._order.move(request, at_s)

    def in_use(self) -> tuple[str, ...]:
        """Keys of the classifiers that are kept for visitors, the page's own first."""
        with self._lock:
            return tuple(self._handlers)

    def choose(self, key: object, session: str) -> Iterator[dict[str, Any]]:
        """Load a classifier and make it a session's own; until then the session keeps the one it has.

        Args:
            key: of `choices`; may come from a browser.
            session: whose choice it is; a newer one of the same session ends this one.

        Yields:
            state: "loading", "ready" or "failed"; key; share in [0, 1] and message while loading; a failure's message
            is one sentence.
        """
        names = {shown_name(name): name for name in offered(self.settings.backend)}
        if not isinstance(key, str) or key not in names:
            yield _status("failed", "", text.BAD_REQUEST)
            return
        name, shown, request = names[key], key, object()
        with self._lock:
            self._wanted[session] = request
            _bound(self._wanted)
            load = None if name in self._handlers else self._join(name)
            if load is None:
                self._use(name, session)
        if load is None:
            yield _status("ready", shown)
            return
        try:
            while not wait([load.done], PATIENCE_S).done:
                if self._is_over(session, request):
                    return
                share, message = load.latest
                yield _status("loading", shown, message, share)
            error = load.done.exception()
            with self._lock:
                if self._is_over(session, request):
                    return
                if error is None:
                    self._use(name, session)
        finally:
            self._part(name, load)
        # By those who wanted it before, at the moment when this visitor came.
        if isinstance(error, Stopped):
            yield from self.choose(key, session)
        elif error is not None:
            yield _status("failed", shown, str(error))
        else:
            yield _status("ready", shown)

    def leave(self, session: str) -> None:
        """A visitor is gone."""
        with self._lock:
            self._wanted.pop(session, None)
            self._chosen.pop(session, None)
            self._let_go()

    def _join(self, name: str) -> Load:
        """Wait for a classifier with those who wait already, or be the first."""
        load = self._loads.get(name)
        if load is None:
            load = self._loads[name] = Load((0.0, text.OPENING.format(model=entry_for(name).label)))
            self._loaders.submit(self._load, name, load)
        load.waiting += 1
        return load

    def _part(self, name: str, load: Load) -> None:
        with self._lock:
            load.waiting -= 1
            if not load.waiting and load.done.done() and self._loads.get(name) is load:
                del self._loads[name]
            self._let_go()

    def _load(self, name: str, load: Load) -> None:
        """Load a classifier and all that explains it; runs in a thread of its own."""
        try:
            handlers = Handlers(self._studio(name, load.report), self._order)
            with self._lock:
                # The load stays known until those who wait have chosen it.
                self._handlers[name] = handlers
                load.done.set_result(None)
                if not load.waiting:
                    del self._loads[name]
                self._let_go()
        except Exception as error:
            with self._lock:
                # The next visitor tries again.
                del self._loads[name]
                load.done.set_exception(self._sentence(name, error))

    def _studio(self, name: str, progress: Progress) -> Studio:
        backend = load_backend(name, resting_device(self.settings.device), progress=progress)
        studio = Studio(replace(self.settings, backend=name), self.default.queue, backend)
        # Reads what explains it.
        studio.labels()
        return studio

    @staticmethod
    def _sentence(name: str, error: Exception) -> Exception:
        if isinstance(error, LMACError | Stopped):
            return error
        logger.exception("loading %s failed", name, exc_info=error)
        return LMACError(text.NOT_LOADED.format(model=entry_for(name).label))

    def _is_over(self, session: str, request: object) -> bool:
        with self._lock:
            return self._wanted.get(session) is not request

    def _use(self, name: str, session: str) -> None:
        self._chosen[session] = name
        self._chosen.move_to_end(session)
        _bound(self._chosen)
        self._let_go()

    def _let_go(self) -> None:
        """Drop classifiers that nobody uses or waits for; work that still runs keeps its own until it ends."""
        used = {self.settings.backend, *self._chosen.values(), *self._loads}
        unused = [name for name in self._handlers if name not in used]
        for name in unused:
            forget_backend(self._handlers.pop(name).studio.backend)
        if unused:
            # Modules point at each other.
            self._loaders.submit(gc.collect)


def _status(state: str, key: str, message: str = "", share: float = 0.0) -> dict[str, Any]:
    return {"state": state, "key": key, "message": message, "share": share}


def _bound(sessions: OrderedDict[str, Any]) -> None:
    while len(sessions) > SESSIONS_KEPT:
        sessions.popitem(last=False)
