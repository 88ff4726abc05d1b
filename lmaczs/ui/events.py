"""What happens when a visitor presses something: which handler runs, with what, and where its answers go."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import gradio as gr

from lmaczs.study.comparisons import Comparisons
from lmaczs.ui.examples import Example
from lmaczs.ui.handlers import Update
from lmaczs.ui.models import Models
from lmaczs.ui.prompts import add_prompts
from lmaczs.ui.request_order import Request, read_turn

# Each request carries the number of the visitor's turn and its answers bring it back: what comes late is dropped. What
# these scripts call is described in bus.js.
ANALYSE = "(sound, typed) => [sound, typed, window.lmaczs.analyse(sound, typed)]"
# Of the rows, which are newer than Gradio's field: that follows.
ROWS = "(sound) => { const typed = window.lmaczs.prompts(); return [sound, typed, window.lmaczs.analyse(sound, typed)]; }"
COME = "(sound, typed) => { window.lmaczs.coming(); return [sound, typed, window.lmaczs.analyse(sound, typed)]; }"
TYPED, SHOW_TYPED = "() => window.lmaczs.prompts()", "(typed) => window.lmaczs.typed(typed)"
IDLE = "() => window.lmaczs.idle()"
FAILED = "() => window.lmaczs.failed()"
TRY = "() => [window.lmaczs.coming()]"
RATED, NOT_RATED = "() => window.lmaczs.rated(true)", "() => window.lmaczs.rated(false)"
OFFER = "(offered, sound, typed) => window.lmaczs.offer(offered, sound, typed)"
FORMER = "() => window.lmaczs.former()"
# Whose work is under way or waits; more wait until one of them is done.
VISITORS = 32
LIGHT: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
HEAVY: dict[str, Any] = {
    "concurrency_id": "visitors",
    # Each waits in the studio's queue, which tells its place.
    "concurrency_limit": VISITORS,
    # The player shows its own.
    "show_progress": "hidden",
    # The newest request wins, also while an older one is under way.
    "trigger_mode": "multiple",
    "api_visibility": "private",
}


@dataclass(frozen=True)
class Try:
    """An example on the page.

    Attributes:
        example: its recording and prompts.
        stored: `load_stored` of it; None: it is explained when it is pressed.
        button: that a visitor presses.
    """

    example: Example
    stored: dict[str, Any] | None
    button: gr.Button


@dataclass(frozen=True)
class Parts:
    """The parts of the page that events belong to.

    Attributes:
        sound: the recording's file.
        typed: the prompts, as text.
        results: by name of an update's value: scores, player, notice, progress.
        tries: the examples.
        sets: buttons, and the prompts that each adds.
    """

    sound: gr.UploadButton
    typed: gr.Textbox
    results: dict[str, gr.HTML]
    tries: list[Try]
    sets: dict[gr.Button, list[str]]


class Actions:
    """The handlers of whichever classifier a visitor has chosen, as Gradio calls them."""

    def __init__(self, models: Models, names: Iterable[str], comparisons: Comparisons | None = None) -> None:
        """Take the classifiers.

        Args:
            models: of the page.
            names: of an update's values, in the order of the outputs.
            comparisons: keeps blind ratings; None: nobody does.
        """
        self.models, self.comparisons = models, comparisons
        self.names = tuple(names)

    def analyse(self, path: str | None, prompts: str, turn: float, request: gr.Request) -> Iterator[Any]:
        """See `Handlers.analyse`; nothing is done about turn -1: a sound or prompts are missing."""
        if turn == -1:
            return
        asked = _asked(request, turn)
        yield from numbered(self.models.of(asked).analyse(path, prompts, asked), asked, self.names)

    def ask(self, path: str | None, event: gr.EventData, request: gr.Request) -> Iterator[Any]:
        """See `Handlers.explain`."""
        data = _sent(event)
        asked = _asked(request, data["turn"])
        found = self.models.of(asked).explain(
            path,
            data["prompts"],
            data["target"],
            data["methods"],
            data["domain"],
            asked,
            data["at"],
            data["also"],
        )
        yield from numbered(found, asked, self.names)

    def archive(self, path: str | None, event: gr.EventData, request: gr.Request) -> Iterator[Any]:
        """See `Handlers.archive`."""
        data = _sent(event)
        asked = _asked(request, data["turn"])
        found = self.models.of(asked).archive(
            path, data["prompts"], data["target"], data["method"], data["domain"]
        )
        yield from numbered(found, asked, self.names)

    def bring(self, one: Try) -> Any:
        """The event that brings an example, and what is stored of it unless the visitor chose another classifier."""
        filled = (str(one.example.path), "\n".join(one.example.prompts))

        def fill(turn: float, request: gr.Request) -> tuple[Any, ...]:
            asked = _asked(request, turn)
            if one.stored is None or self.models.of(asked).studio is not self.models.default:
                return *filled, gr.skip(), gr.skip()
            marks = {"turn": asked.turn, "serial": -1}
            return *filled, one.stored["scores"] | marks, one.stored["player"] | marks | {"stored": True}

        return fill

    def report(self, path: str | None, event: gr.EventData, request: gr.Request) -> Iterator[Any]:
        """See `Handlers.report`."""
        data = _sent(event)
        asked = _asked(request, data["turn"])
        found = self.models.of(asked).report(
            path, data["prompts"], data["target"], data["methods"], data["domain"]
        )
        yield from numbered(found, asked, self.names)

    def halt(self, event: gr.EventData, request: gr.Request) -> None:
        """Stop what was asked for before."""
        self.models.stop(_asked(request, _sent(event)["turn"]))

    def move(self, event: gr.EventData, request: gr.Request) -> None:
        """Explain from another place in the recording on; a place that is no number changes nothing."""
        data = _sent(event)
        at_s, asked = data["at"], _asked(request, data["turn"])
        if type(at_s) in (int, float) and isfinite(at_s):
            self.models.move(asked, float(at_s))

    def rate(self, event: gr.EventData) -> None:
        """Keep the ratings of a blind comparison; nothing of them goes to the log, whatever was sent."""
        sent = event._data if isinstance(event._data, dict) else {}
        if self.comparisons is not None:
            self.comparisons.keep(*(sent.get(name) for name in ("listener", "clip", "prompt", "ratings")))

    def offer(self, request: gr.Request) -> dict[str, Any]:
        """See `Handlers.offer`."""
        return self.models.of(_asked(request, 0)).offer()


def wire(
    demo: gr.Blocks,
    models: Models,
    parts: Parts,
    comparisons: Comparisons | None = None,
) -> None:
    """Connect the parts of the page with what they do.

    Args:
        demo: the page, being built.
        models: its classifiers.
        parts: of the page.
        comparisons: keeps blind ratings; None: nobody does.
    """
    actions, sound, typed = Actions(models, parts.results, comparisons), parts.sound, parts.typed
    outputs, player = list(parts.results.values()), parts.results["player"]
    turn = gr.Number(0, visible=False)
    asked, scores = [sound, typed, turn], parts.results["scores"]

    def when(event: Any, js: str) -> Any:
        return event(actions.analyse, asked, outputs, js=js, **HEAVY)

    # A sound that has just come, and every change of the prompts, are heard at once.
    running = [
        when(sound.upload, COME),
        when(scores.score, ROWS),
        player.ask(actions.ask, [sound], outputs, **HEAVY),
        player.archive(actions.archive, [sound], outputs, **HEAVY),
        player.report(actions.report, [sound], outputs, **HEAVY),
    ]
    scores.score(None, None, [typed], js=TYPED, **LIGHT)
    typed.change(None, [typed], None, js=SHOW_TYPED, **LIGHT)
    brought = [sound, typed, scores, player]
    for one in parts.tries:
        # In two steps: a sound that is an output of a stream of answers would be spoilt by those that leave it alone.
        filled = one.button.click(actions.bring(one), [turn], brought, js=TRY, **LIGHT)
        running.append(when(filled.success, ANALYSE))
        filled.failure(None, js=FAILED)
    for button, prompts in parts.sets.items():
        running.append(when(button.click(_add(prompts), [typed], [typed], **LIGHT).success, ANALYSE))
    for event in running:
        event.success(None, js=IDLE)
        event.failure(None, js=FAILED)
    player.halt(actions.halt, None, None, **LIGHT)
    player.move(actions.move, None, None, **LIGHT)
    player.back(None, None, [sound, typed], js=FORMER, **LIGHT)
    rated = player.rate(actions.rate, None, None, **LIGHT)
    rated.success(None, js=RATED)
    rated.failure(None, js=NOT_RATED)
    # The models may still be loading when a visitor comes: until they are there the player shows the stored example. Not
    # a value of the player: browsers may pass over a value that is soon followed by another.
    offered = gr.JSON(visible=False)
    demo.load(actions.offer, None, [offered], **LIGHT).then(None, [offered, sound, typed], None, js=OFFER)


def numbered(updates: Iterator[Update], asked: Request, names: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Mark every value with its turn, and make it new, so that the browser notices two equal ones.

    Args:
        updates: of a handler.
        asked: what they answer.
        names: of an update's values, in the order of the outputs.
    """
    for serial, update in enumerate(updates):
        marks = {"turn": asked.turn, "serial": serial}
        values = [getattr(update, name) for name in names]
        yield tuple(gr.skip() if value is None else {**value, **marks} for value in values)


def _asked(request: gr.Request, turn: object) -> Request:
    return Request(request.session_hash or "", read_turn(turn))


def _sent(event: gr.EventData) -> dict[str, Any]:
    """What the browser sent with an event: anything at all, or None; the handlers check it."""
    sent = event._data if isinstance(event._data, dict) else {}
    return {
        name: sent.get(name)
        for name in ("prompts", "target", "methods", "method", "domain", "turn", "at", "also")
    }


def _add(prompts: list[str]) -> Any:
    return lambda typed: add_prompts(typed, prompts)
