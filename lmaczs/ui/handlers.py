"""What the buttons do: plain values in, payloads out; an `LMACError` becomes one sentence on the page."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from lmaczs.errors import AudioError, LMACError
from lmaczs.explainers import DOMAINS, METHODS
from lmaczs.hearing import ExplainedPart
from lmaczs.types import ExplainResult, MaskDomain, Prediction, Progress, part_of
from lmaczs.ui import text
from lmaczs.ui.archive import write_archive, write_report_archive
from lmaczs.ui.area_key import split_area
from lmaczs.ui.cache import passing_folder
from lmaczs.ui.component_payload import component_payload
from lmaczs.ui.components import with_files
from lmaczs.ui.controls import PAGE_CONTROLS
from lmaczs.ui.part_payload import begun_payload, part_payload
from lmaczs.ui.payload import (
    check_payload,
    clip_payload,
    control_payload,
    explanation_payload,
    over_time_payload,
    scores_payload,
    write_original,
)
from lmaczs.ui.progress import Report, Stopped, watched
from lmaczs.ui.prompts import check_prompts, split_prompts
from lmaczs.ui.request_order import Request, RequestOrder
from lmaczs.ui.studio import CachedRecording, CachedResult, Studio

Result = TypeVar("Result")
# In one request.
MAX_METHODS = 30
MAX_PROMPTS = 8


@dataclass(frozen=True)
class Update:
    """New values of the page's components; None leaves one as it is.

    Attributes:
        scores: `scores_payload`.
        player: all that the request has found so far, or {"archive": file}. Browsers may pass over a value that is soon
            followed by another, so every value is complete.
        notice: `say`.
        progress: {"share": in [0, 1], "message": text, "method": key or None}.
    """

    scores: dict[str, Any] | None = None
    player: dict[str, Any] | None = None
    notice: dict[str, str | None] | None = None
    progress: dict[str, Any] | None = None


@dataclass(frozen=True)
class ExplanationRequest:
    """What is to be explained: one prompt of one recording.

    Attributes:
        heard: the recording.
        prompts: what probabilities are relative to.
        target: the sentence; None is the most probable prompt.
        domain: of the masks.
        at_s: where the visitor is in the recording, s: a long one is explained from there on.
    """

    heard: CachedRecording
    prompts: list[str]
    target: str | None
    domain: MaskDomain = "stft"
    at_s: float = 0.0


@dataclass
class Found:
    """What a request has found so far.

    Attributes:
        folder: of its files; paths in payloads are relative to it.
        offered: `Handlers.offer`.
        clip: `clip_payload` of the recording, once there is an explanation.
        results: `explanation_payload` of each.
        controls: `control_payload` of each.
        over_time: `over_time_payload`, where the scores change within a recording.
        copies: as `with_files` takes them.
    """

    folder: Path
    offered: dict[str, Any]
    clip: dict[str, Any] | None = None
    results: list[dict[str, Any]] = field(default_factory=list)
    controls: list[dict[str, Any]] = field(default_factory=list)
    over_time: dict[str, Any] | None = None
    copies: dict[str, str] = field(default_factory=dict)

    def update(self) -> Update:
        """As a value of the player."""
        value = self.offered | {
            "results": self.results,
            "controls": self.controls,
            "over_time": self.over_time,
        }
        return Update(player=with_files(value, self.folder, self.copies))


class Handlers:
    """The page's events, around one studio."""

    def __init__(self, studio: Studio, order: RequestOrder | None = None) -> None:
        self.studio = studio
        self.order = order or RequestOrder()

    def analyse(self, sound: str | None, typed: str, request: Request | None = None) -> Iterator[Update]:
        """Classify and explain the most probable prompt: scores first, then the explanation, then its check.

        Args:
            sound: path of the recording.
            typed: prompts, one per line.
            request: whose work it is, and which; see `stop`.
        """
        request = request or Request()
        with _Sentences() as said:
            prompts = split_prompts(typed, self.studio.own_labels)

            def work(report: Progress) -> tuple[CachedRecording, Prediction]:
                heard = self.studio.hear(sound, report)
                return heard, self.studio.classify(heard, prompts)

            heard, prediction = yield from self._watched(work, request)
            yield Update(scores=scores_payload(prediction, prediction.predicted), notice=_notes(heard))
            yield from self._explained(ExplanationRequest(heard, prompts, None), [None], request)
        yield from said

    def explain(
        self,
        sound: str | None,
        prompts: Sequence[str],
        target: int,
        methods: Sequence[str | None],
        domain: str = "stft",
        request: Request | None = None,
        at_s: float = 0.0,
        also: Sequence[int] = (),
    ) -> Iterator[Update]:
        """Explain one prompt with some methods, one after the other; each is shown as soon as it is there.

        Args:
            sound: path of the recording.
            prompts: what probabilities are relative to; may come from a browser, as all that follows.
            target: index of the prompt to explain.
            methods: keys of explainers or of `lmaczs.ui.controls.PAGE_CONTROLS`; None is the default explainer.
            domain: of the masks.
            request: whose work it is, and which; see `stop`.
            at_s: as in `ExplanationRequest`.
            also: indices of other prompts that the first method explains then, at most MAX_PROMPTS.
        """
        request = request or Request()
        with _Sentences() as said:
            checked, sentence, place = _choice(prompts, target, methods, domain, self.studio.own_labels)
            moment, others = _moment(at_s), _others(also, checked)
            heard = yield from self._watched(lambda report: self.studio.hear(sound, report), request)
            yield Update(notice=_notes(heard))
            question = ExplanationRequest(heard, checked, sentence, place, moment)
            yield from self._explained(question, methods, request, others)
        yield from said

    def archive(
        self, sound: str | None, prompts: Sequence[str], target: int, method: str | None, domain: str = "stft"
    ) -> Iterator[Update]:
        """Everything about one explanation in one file."""
        with _Sentences() as said:
            checked, sentence, place = _choice(prompts, target, [method], domain, self.studio.own_labels)

            def work(report: Progress) -> CachedResult:
                heard = self.studio.hear(sound, report)
                explained = self.studio.explain(heard, checked, sentence, method, place, report)
                self.studio.measure(heard, explained, report)
                return explained

            explained = yield from self._watched(work, Request())
            base, share = split_area(method)
            label = self.studio.method(base, place).label
            label += "" if share is None else text.AT_AREA.format(percent=round(100 * share))
            with passing_folder() as folder:
                write_archive(
                    explained.result, Path(folder, "explanation.zip"), self.studio.backend_name, label
                )
                yield Update(player=with_files({"archive": {"file": "explanation.zip"}}, Path(folder)))
        yield from said

    def report(
        self,
        sound: str | None,
        prompts: Sequence[str],
        target: int,
        methods: Sequence[str | None],
        domain: str = "stft",
    ) -> Iterator[Update]:
        """The pages of `lmaczs report` for one prompt of one recording and some methods, in one file."""
        with _Sentences() as said:
            checked, sentence, place = _choice(prompts, target, methods, domain, self.studio.own_labels)
            names = [name for name in dict.fromkeys(methods) if name in METHODS]
            if not names:
                raise LMACError(text.BAD_REQUEST)

            def work(report: Progress) -> list[ExplainResult]:
                heard, results = self.studio.hear(sound, report), []
                for number, name in enumerate(names):
                    step = part_of(report, number / len(names), (number + 1) / len(names))
                    explained = self.studio.explain(heard, checked, sentence, name, place, step)
                    self.studio.measure(heard, explained, step)
                    results.append(explained.result)
                return results

            results = yield from self._watched(work, Request())
            with passing_folder() as folder:
                write_report_archive(results, Path(folder, "report.zip"), self.studio.backend_name)
                yield Update(player=with_files({"archive": {"file": "report.zip"}}, Path(folder)))
        yield from said

    def stop(self, request: Request) -> None:
        """End what a session asked for before this request, whether it runs or waits."""
        self.order.advance(request)

    def offer(self) -> dict[str, Any]:
        """What can be asked for, as soon as the models are loaded.

        Returns:
            methods: domain -> key -> name for people; closed: key -> prompts, for methods that do not take any.
        """
        try:
            return {"methods": self.studio.labels(), "closed": self.studio.closed_sets()}
        except LMACError:
            # The visitor's first request says why.
            return {"methods": {}, "closed": {}}

    def _explained(
        self,
        question: ExplanationRequest,
        methods: Sequence[str | None],
        request: Request,
        others: Sequence[str] = (),
    ) -> Generator[Update, None, None]:
        """Each method's explanation as soon as it can be played, then again with the check of its parts.

        Args:
            question: answered by all methods.
            methods: in this order.
            request: whose work it is.
            others: prompts that the first method explains then.
        """
        failed = []
        asked = [(question, method) for method in methods]
        asked += [(replace(question, target=prompt), methods[0]) for prompt in others]
        # What visitors get are copies: see `Found.update`.
        with passing_folder() as name:
            found = Found(Path(name), self.offer())
            for one, method in asked:
                try:
                    yield from self._one(one, method, found, request)
                except LMACError as error:
                    # The others may work.
                    failed.append(str(error))
            if found.results:
                yield from self._over_time(question, found, request)
        if failed:
            yield Update(notice=say(" ".join(dict.fromkeys(failed)), "question"))

    def _over_time(
        self, question: ExplanationRequest, found: Found, request: Request
    ) -> Generator[Update, None, None]:
        """How the scores change within the recording: last, as nothing else waits for it."""
        heard, prompts = question.heard, question.prompts
        places = yield from self._watched(
            lambda report: self.studio.over_time(heard, prompts, report), request
        )
        if places is not None:
            found.over_time = over_time_payload(heard.id, prompts, *places)
            yield found.update()

    def _one(
        self, question: ExplanationRequest, method: str | None, found: Found, request: Request
    ) -> Generator[Update, None, None]:
        heard, domain = question.heard, question.domain
        yield from self._parts(question, method, found, request)

        def work(report: Progress) -> CachedResult:
            return self.studio.explain(heard, question.prompts, question.target, method, domain, report)

        explained = yield from self._watched(work, request, method)
        result = explained.result
        base, _ = split_area(method)
        if base in PAGE_CONTROLS:
            payload = control_payload(result, result.explanation.method, heard.id)
            found.controls.append(payload)
        else:
            if found.clip is None:
                found.clip = clip_payload(result, heard.id, found.folder)
            folder = found.folder / str(len(found.results))
            folder.mkdir()
            payload = explanation_payload(result, found.clip, folder, explained.seconds)
            payload |= component_payload(result, folder)
            found.results.append(payload)
            yield found.update()
        yield from self._watched(
            lambda report: self.studio.measure(heard, explained, report), request, method
        )
        payload |= check_payload(result)
        yield found.update()

    def _parts(
        self, question: ExplanationRequest, method: str | None, found: Found, request: Request
    ) -> Generator[Update, None, None]:
        """The parts of a long recording, each as soon as it is explained, the one where the visitor is first.

        Nothing where all comes in one piece.
        """
        heard, studio = question.heard, self.studio
        asked = (heard, question.prompts, question.target, method, question.domain)
        beginning = self._begin(lambda report: studio.partwise(*asked), request)
        # Meanwhile: the browser has to read it before it shows anything.
        write_original(heard.recording.clip, found.folder)
        work = yield from _reported(beginning, method)
        if work is None:
            return
        left = set(range(len(work)))

        def begin() -> Generator[Report, None, ExplainedPart]:
            moment = self.order.moment(request)
            number = next(n for n in work.order(question.at_s if moment is None else moment) if n in left)
            done = len(work) - len(left)
            left.remove(number)
            first, last = done / len(work), (done + 1) / len(work)
            return self._begin(
                lambda report: studio.explain_part(work, number, part_of(report, first, last)), request
            )

        # While a part is written and sent, the next one is being explained.
        steps = begin()
        if found.clip is None:
            found.clip = clip_payload(work, heard.id, found.folder)
        folder = found.folder / f"parts-{len(found.results)}"
        folder.mkdir()
        begun = begun_payload(work, found.clip)
        found.results.append(begun)
        yield found.update()
        for _ in range(len(work)):
            part = yield from _reported(steps, method)
            if left:
                steps = begin()
            begun["parts"].append(part_payload(work, part, folder))
            yield found.update()
        found.results.remove(begun)

    def _watched(
        self, work: Callable[[Progress], Result], request: Request, method: str | None = None
    ) -> Generator[Update, None, Result]:
        """Run work that may be long; yields how far it is.

        Raises:
            Stopped: the visitor has asked for something else.
        """
        return (yield from _reported(self._begin(work, request), method))

    def _begin(self, work: Callable[[Progress], Result], request: Request) -> Generator[Report, None, Result]:
        """Queue work that may be long; see `watched`."""
        return watched(work, self.studio.queue, lambda: self.order.is_over(request))


class _Sentences:
    """Turns the errors that people can mend into sentences; work that was stopped says nothing."""

    def __enter__(self) -> list[Update]:
        self.said: list[Update] = []
        return self.said

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, LMACError):
            refused = "sound" if isinstance(error, AudioError) else "question"
            self.said.append(Update(notice=say(str(error), refused)))
        return isinstance(error, LMACError | Stopped)


def _reported(steps: Generator[Report, None, Result], method: str | None) -> Generator[Update, None, Result]:
    """Tell the page how far work is; returns its result."""
    try:
        while True:
            share, message, before = next(steps)
            if before:
                yield Update(progress={"share": 0.0, "message": text.WAITING.format(before), "method": None})
            else:
                yield Update(progress={"share": share, "message": message, "method": method})
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        steps.close()


def _choice(
    prompts: Any, target: Any, methods: Any, domain: Any, labels: Sequence[str] | None
) -> tuple[list[str], str, MaskDomain]:
    """Prompts, the sentence to explain and the domain, checked: a browser may have sent anything.

    Raises:
        LMACError: what was sent does not fit the page.
    """
    checked = check_prompts(prompts, labels)
    if type(target) is not int or not 0 <= target < len(checked):
        raise LMACError(text.BAD_REQUEST)
    if not isinstance(methods, list) or not 0 < len(methods) <= MAX_METHODS or domain not in DOMAINS:
        raise LMACError(text.BAD_REQUEST)
    if not all(isinstance(method, str | None) for method in methods):
        raise LMACError(text.BAD_REQUEST)
    return checked, checked[target], domain


def _moment(at_s: Any) -> float:
    """A place in a recording, checked: a browser may have sent anything.

    Raises:
        LMACError: it is no number.
    """
    if type(at_s) not in (int, float) or not math.isfinite(at_s):
        raise LMACError(text.BAD_REQUEST)
    return float(at_s)


def _others(also: Any, prompts: Sequence[str]) -> list[str]:
    """Other prompts to explain, by their indices, checked as in `_choice`.

    Raises:
        LMACError: what was sent does not fit the page.
    """
    if not isinstance(also, list | tuple) or len(also) > MAX_PROMPTS:
        raise LMACError(text.BAD_REQUEST)
    if not all(type(index) is int and 0 <= index < len(prompts) for index in also):
        raise LMACError(text.BAD_REQUEST)
    return [prompts[index] for index in dict.fromkeys(also)]


def _notes(heard: CachedRecording) -> dict[str, str | None]:
    """What a listener has to know about a recording, e.g. that its file is cut off; mostly nothing."""
    return say(" ".join(heard.recording.clip.notes))


def say(message: str, refused: str | None = None) -> dict[str, str | None]:
    """The notice's value.

    Args:
        message: one sentence; an empty one hides the notice.
        refused: what of the request could not be used: "sound" or "question"; None: it goes on.
    """
    return {"message": message, "refused": refused}
