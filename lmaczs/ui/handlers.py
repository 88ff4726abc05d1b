"""What the buttons do: plain values in, payloads out; an `LMACError` becomes one sentence on the page."""

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, TypeVar

import gradio as gr

from lmaczs.errors import LMACError
from lmaczs.ui import text
from lmaczs.ui.archive import write_archive
from lmaczs.ui.components import with_files
from lmaczs.ui.payload import player_payload, scores_payload
from lmaczs.ui.progress import Report, Stopped, watched
from lmaczs.ui.prompts import check_prompts, read_prompts
from lmaczs.ui.studio import Heard, Studio

Outputs = tuple[Any, Any, Any]  # scores, player, notice
Result = TypeVar("Result")


class Handlers:
    """The page's events, around one studio."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._running: dict[str, Event] = {}

    def analyse(self, sound: str | None, typed: str, session: str = "") -> Iterator[Outputs]:
        """Classify and explain the most probable prompt: scores first, then the explanation, then its check.

        Args:
            sound: path of the recording.
            typed: prompts, one per line.
            session: whose work it is; see `stop`.
        """
        try:
            prompts = read_prompts(typed)
            heard = yield from self._three(lambda report: self.studio.hear(sound, report), session)
            prediction = self.studio.classify(heard, prompts)
            scores = scores_payload(prediction, prediction.predicted)
            yield scores, gr.skip(), say("")
            for payload in self._explained(heard, prompts, None, None, session):
                yield gr.skip(), payload, gr.skip()
        except Stopped:
            return
        except LMACError as error:
            yield gr.skip(), gr.skip(), say(str(error))

    def explain(
        self, sound: str | None, prompts: Sequence[str], target: int, method: str | None, session: str = ""
    ) -> Iterator[tuple[Any, Any]]:
        """Explain one prompt with one method; yields (player, notice).

        Args:
            sound: path of the recording.
            prompts: what probabilities are relative to; may come from a browser.
            target: index of the prompt to explain; may come from a browser.
            method: key of an explainer, or None for the default; may come from a browser.
            session: whose work it is; see `stop`.
        """
        try:
            checked, sentence = self._choice(prompts, target, method)
            heard = self.studio.hear(sound)
            for payload in self._explained(heard, checked, sentence, method, session):
                yield payload, say("")
        except Stopped:
            return
        except LMACError as error:
            yield gr.skip(), say(str(error))

    def archive(
        self, sound: str | None, prompts: Sequence[str], target: int, method: str | None
    ) -> Iterator[tuple[Any, Any]]:
        """Everything about one explanation in one file; yields (player, notice)."""
        try:
            checked, sentence = self._choice(prompts, target, method)
            heard = self.studio.hear(sound)
            result = self.studio.explain(heard, checked, sentence, method, score=True)
            label = self.studio.explainer(method).label
            with TemporaryDirectory(prefix="lmaczs-") as folder:
                write_archive(result, Path(folder, "explanation.zip"), self.studio.settings.backend, label)
                yield with_files({"archive": {"file": "explanation.zip"}}, Path(folder)), gr.skip()
        except LMACError as error:
            yield gr.skip(), say(str(error))

    def stop(self, session: str) -> None:
        """End what is under way for a session: its sound was taken away."""
        if running := self._running.get(session):
            running.set()

    def _explained(
        self, heard: Heard, prompts: list[str], sentence: str | None, method: str | None, session: str
    ) -> Generator[Any, None, None]:
        """The explanation as soon as it can be played, then again with the check of its parts."""
        result = yield from self._watched(
            lambda report: self.studio.explain(heard, prompts, sentence, method, report), session
        )
        methods = {name: explainer.label for name, explainer in self.studio.explainers.items()}
        with TemporaryDirectory(prefix="lmaczs-") as folder:  # Gradio serves its own copies
            payload = player_payload(result, heard.id, methods, Path(folder))
            yield with_files({"show": [payload]}, Path(folder))
            payload["probability"] = yield from self._watched(
                lambda report: self.studio.listen(result, report), session
            )
            yield with_files({"show": [payload]}, Path(folder))

    def _watched(self, work: Callable[[Report], Result], session: str) -> Generator[Any, None, Result]:
        """Run work that may be long; yields the player's values that say how far it is."""
        stopped = self._running[session] = Event()
        steps = watched(work, self.studio.worker, stopped)
        try:
            while True:
                share, message = next(steps)
                yield {"progress": share, "message": message}
        except StopIteration as end:
            return end.value
        finally:
            steps.close()
            self._running.pop(session, None)

    def _three(self, work: Callable[[Report], Result], session: str) -> Generator[Outputs, None, Result]:
        """The same for events that fill scores, player and notice."""
        steps = self._watched(work, session)
        try:
            while True:
                yield gr.skip(), next(steps), gr.skip()
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    def _choice(self, prompts: Sequence[str], target: int, method: str | None) -> tuple[list[str], str]:
        """Prompts and the sentence to explain.

        Raises:
            LMACError: a browser sent something else.
        """
        checked = check_prompts(prompts)
        if type(target) is not int or not 0 <= target < len(checked) or not isinstance(method, str | None):
            raise LMACError(text.BAD_REQUEST)
        return checked, checked[target]


def say(message: str) -> dict[str, Any]:
    """The notice's value; an empty message hides it."""
    return {"message": message}
