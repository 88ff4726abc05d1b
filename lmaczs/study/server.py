"""The page of a study: it asks one thing at a time and keeps every rating before it goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from lmaczs.errors import LMACError
from lmaczs.study.answers import PRACTICE, Answers
from lmaczs.study.design import CONSENT, QUESTION, Item, Study

HERE = Path(__file__).parent
# Of a message from a browser.
MOST_BYTES = 2000
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
BAD = "This message does not fit the study: load the page again."


class Desk:
    """What the page can ask, as plain functions."""

    def __init__(self, study: Study, folder: Path) -> None:
        """Open the answers.

        Raises:
            LMACError: they cannot be used.
        """
        self.study, self.folder = study, folder
        self.answers = Answers(folder)
        items = [study.practice, *study.items]
        self.sounds = {item.sound for item in items} | {one.sound for item in items for one in item.stimuli}

    def greet(self) -> dict[str, Any]:
        """What is said before somebody takes part."""
        return {
            "title": self.study.title,
            "question": QUESTION,
            "consent": CONSENT,
            "items": len(self.study.items),
            "sounds": len(self.study.conditions),
        }

    def join(self, sent: dict[str, Any]) -> dict[str, Any]:
        """Take part; only who agrees does."""
        if sent.get("agreed") is not True:
            raise LMACError(BAD)
        return {"token": self.answers.join()}

    def show(self, sent: dict[str, Any]) -> dict[str, Any]:
        """What the listener is to rate now, with what they have rated of it already.

        Returns:
            {"done": True}, or number (0 is practice, else names the item), place among the items,
            items, label, sound, and stimuli: {"key", "sound", "value"} each.
        """
        listener = self._listener(sent)
        place, item, order = self._current(listener)
        if item is None:
            return {"done": True}
        number = place - 1
        before = len(self.answers.finished(listener) - {PRACTICE})
        values = {one.condition: one.value for one in self.answers.ratings(listener, number)}
        shown = [item.stimuli[index] for index in order]
        return {
            "number": place,
            "place": before + 1,
            "items": len(self.study.items),
            "label": item.label,
            "sound": item.sound,
            "stimuli": [
                {"key": key, "sound": one.sound, "value": values.get(one.condition)}
                for key, one in enumerate(shown)
            ],
        }

    def rate(self, sent: dict[str, Any]) -> dict[str, Any]:
        """Keep one rating of what is shown now."""
        listener = self._listener(sent)
        place, item, order = self._current(listener)
        key, value = _whole(sent, "key", len(order) - 1), _whole(sent, "value", 100)
        # A second window of the same listener may show what was left behind: its ratings are not those of this item.
        if item is None or sent.get("number") != place:
            raise LMACError(BAD)
        self.answers.rate(listener, place - 1, item.stimuli[order[key]].condition, value)
        return {"kept": True}

    def go_on(self, sent: dict[str, Any]) -> dict[str, Any]:
        """Leave an item behind, once everything of it is rated."""
        listener = self._listener(sent)
        place, item, order = self._current(listener)
        rated = self.answers.ratings(listener, place - 1)
        if item is None or sent.get("number") != place or len(rated) < len(order):
            raise LMACError("Rate every sound of this page before you go on.")
        self.answers.finish(listener, place - 1)
        return self.show(sent)

    def _listener(self, sent: dict[str, Any]) -> int:
        token = sent.get("token")
        found = self.answers.listener(token) if isinstance(token, str) else None
        if found is None:
            raise LMACError("This study does not know you: load the page again and begin anew.")
        return found

    def _current(self, listener: int) -> tuple[int, Item | None, list[int]]:
        """(0 for practice, else the item's number and 1), the item, and the places of its stimuli in order to show."""
        finished = self.answers.finished(listener)
        if PRACTICE not in finished:
            return 0, self.study.practice, list(range(len(self.study.practice.stimuli)))
        for item, order in self.study.order(listener):
            if item not in finished:
                return item + 1, self.study.items[item], order
        return 0, None, []


def _whole(sent: dict[str, Any], name: str, most: int) -> int:
    """A whole number from 0 that a browser sent.

    Raises:
        LMACError: it is none.
    """
    value = sent.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise LMACError(BAD)
    return value


def study_app(study: Study, folder: Path) -> Starlette:
    """The web application of a study.

    Raises:
        LMACError: the answers cannot be used.
    """
    desk = Desk(study, folder)

    def answering(action: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            try:
                body = await request.body()
                sent = json.loads(body) if len(body) <= MOST_BYTES else None
            except ValueError:
                sent = None
            if not isinstance(sent, dict):
                return JSONResponse({"message": BAD}, 400, HEADERS)
            try:
                return JSONResponse(await run_in_threadpool(action, sent), headers=HEADERS)
            except LMACError as error:
                return JSONResponse({"message": str(error)}, 400, HEADERS)

        return answer

    async def greeting(request: Request) -> Response:
        return JSONResponse(desk.greet(), headers=HEADERS)

    async def sound(request: Request) -> Response:
        name = f"sounds/{request.path_params['name']}"
        if name not in desk.sounds:
            return JSONResponse({"message": BAD}, 404, HEADERS)
        return FileResponse(folder / name, media_type="audio/wav", headers=HEADERS)

    def page(name: str) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return FileResponse(HERE / name, headers=HEADERS)

        return answer

    files = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
    actions = {"join": desk.join, "show": desk.show, "rate": desk.rate, "go-on": desk.go_on}
    return Starlette(
        routes=[
            *(Route(path, page(name)) for path, name in files.items()),
            Route("/greeting", greeting),
            Route("/sounds/{name}", sound),
            *(Route(f"/{name}", answering(action), methods=["POST"]) for name, action in actions.items()),
        ]
    )
