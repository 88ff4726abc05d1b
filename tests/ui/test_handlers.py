"""What the buttons do, without a browser and without trained weights."""

import math
import time
from pathlib import Path
from threading import Event

import gradio as gr
import numpy as np
import pytest

from lmaczs.hearing import explain_clip
from lmaczs.metrics.registry import explanation_keys
from lmaczs.signal.audio import load_clip
from lmaczs.ui import progress, text
from lmaczs.ui.controls import PAGE_CONTROLS
from lmaczs.ui.events import numbered
from lmaczs.ui.handlers import Handlers, Update, say
from lmaczs.ui.prompts import MAX_PROMPTS
from lmaczs.ui.request_order import SESSIONS_KEPT, Request, RequestOrder, read_turn
from lmaczs.ui.work_queue import WorkQueue

FAST = ["grad-cam", "grad-cam++", "saliency"]
PROMPTS = ["a beep", "rain", "a dog"]


def said(updates) -> str:
    """The one sentence that is all that the updates bring."""
    (update,) = (update for update in updates if update.notice != say("") and not update.progress)
    assert update.scores is None and update.player is None
    return update.notice["message"]


def skipped(value) -> bool:
    return value == gr.skip()


def test_one_click_gives_scores_then_the_explanation_then_its_check(handlers: Handlers, clip: str):
    kinds = []
    for update in handlers.analyse(clip, "\n".join(PROMPTS)):
        if scores := update.scores:
            kinds.append("scores")
            assert scores["prompts"] == PROMPTS
            assert sum(scores["probabilities"]) == pytest.approx(1, abs=1e-4)
            assert scores["predicted"] == int(np.argmax(scores["probabilities"])) == scores["target"]
            assert update.notice == say("")
        if update.player:
            (payload,) = update.player["results"]
            kinds.append("check" if payload["probability"] else "explanation")
            assert payload["prompts"][payload["target"]] == PROMPTS[scores_of(handlers, clip)]
    assert kinds == ["scores", "explanation", "check"]
    assert set(payload["probability"]) == {"original", "kept", "removed"}
    assert set(explanation_keys()) == set(payload["metrics"])


def scores_of(handlers: Handlers, clip: str) -> int:
    return handlers.studio.classify(handlers.studio.hear(clip), PROMPTS).predicted


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "No prompt"),
        (" \n\t\n", "No prompt"),
        ("\n".join(f"prompt {i}" for i in range(MAX_PROMPTS + 1)), "101 prompts"),
        ("rain\n" + "x" * 10_000, "Prompt 2 has 10,000"),
    ],
)
def test_bad_prompts_become_one_sentence_and_change_nothing_else(
    handlers: Handlers, clip: str, typed: str, words: str
):
    assert words in said(handlers.analyse(clip, typed))


def test_bad_sounds_become_one_sentence(handlers: Handlers, tmp_path: Path):
    corrupt = tmp_path / "corrupt.wav"
    corrupt.write_bytes(b"nothing " * 100)
    for sound, words in (
        (None, text.NO_SOUND),
        (str(tmp_path / "gone.wav"), text.GONE),
        (str(corrupt), "corrupt.wav"),
    ):
        message = said(handlers.analyse(sound, "rain"))
        assert words in message
        assert str(tmp_path) not in message


@pytest.mark.parametrize(
    ("prompts", "target", "method", "domain"),
    [
        (PROMPTS, 3, None, "stft"),
        (PROMPTS, -1, None, "stft"),
        (PROMPTS, "0", None, "stft"),
        (PROMPTS, None, None, "stft"),
        (None, 0, None, "stft"),
        ([1, 2], 0, None, "stft"),
        ({"a": "b"}, 0, None, "stft"),
        ([], 0, None, "stft"),
        (PROMPTS, 0, "no such method", "stft"),
        (PROMPTS, 0, ["grad-cam++"], "stft"),
        (PROMPTS, True, {}, "stft"),
        (PROMPTS, 0, None, "no such domain"),
        (PROMPTS, 0, None, ["stft"]),
    ],
)
def test_whatever_a_browser_sends_gets_a_plain_answer(
    handlers: Handlers, clip: str, prompts, target, method, domain
):
    assert "Traceback" not in said(handlers.explain(clip, prompts, target, [method], domain))
    assert "Traceback" not in said(handlers.archive(clip, prompts, target, method, domain))


@pytest.mark.parametrize("methods", [None, [], "grad-cam", {}, [None] * 31])
def test_lists_of_methods_are_checked_too(handlers: Handlers, clip: str, methods):
    assert said(handlers.explain(clip, PROMPTS, 0, methods)) == text.BAD_REQUEST


def test_methods_come_one_by_one_and_each_answer_holds_the_earlier_ones(handlers: Handlers, clip: str):
    answers = [
        update.player
        for update in handlers.explain(clip, PROMPTS, 1, ["random", *FAST, "energy"])
        if update.player
    ]
    order = [
        [payload["method"] for payload in (*answer["results"], *answer["controls"])] for answer in answers
    ]
    for before, after in zip(order, order[1:], strict=False):
        assert set(before) <= set(after)
    assert [payload["method"] for payload in answers[-1]["results"]] == FAST
    assert [payload["method"] for payload in answers[-1]["controls"]] == list(PAGE_CONTROLS)
    assert all(payload["metrics"] for payload in (*answers[-1]["results"], *answers[-1]["controls"]))
    assert {payload["clip"]["original"]["path"] for payload in answers[-1]["results"]} == {
        answers[-1]["results"][0]["clip"]["original"]["path"]
    }


def test_method_that_fails_leaves_the_others(handlers: Handlers, clip: str):
    updates = list(handlers.explain(clip, PROMPTS, 0, ["grad-cam", "no such method", "saliency"]))
    last = [update.player for update in updates if update.player][-1]
    assert [payload["method"] for payload in last["results"]] == ["grad-cam", "saliency"]
    assert "no such method" in updates[-1].notice["message"]


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_numbers_are_those_of_the_command_line(handlers: Handlers, clip: str, domain: str):
    updates = handlers.explain(clip, PROMPTS, 2, ["grad-cam", "integrated-gradients"], domain)
    payloads = [update.player for update in updates if update.player][-1]["results"]
    for payload in payloads:
        explainer = handlers.studio.method(payload["method"], domain)
        result = explain_clip(load_clip(clip), PROMPTS, handlers.studio.backend, explainer, target=PROMPTS[2])
        assert payload["domain"] == domain
        # JSON has no "not a number": what a mask without cells has no value for is null on the page.
        expected = {name: None if math.isnan(value) else value for name, value in result.metrics.items()}
        assert payload["metrics"] == pytest.approx(expected, abs=1e-3)
        p, q, r = payload["probability"].values()
        assert payload["metrics"]["ff"] == pytest.approx(p - r, abs=1e-6)
        assert payload["metrics"]["ad"] == pytest.approx(100 * max(0, p - q) / p, abs=1e-3)


def test_other_prompts_are_explained_after_the_first_one(handlers: Handlers, clip: str):
    *_, last = handlers.explain(clip, PROMPTS, 1, ["saliency", "grad-cam"], also=[2, 0, 2])
    found = [(payload["target"], payload["method"]) for payload in last.player["results"]]
    assert found == [(1, "saliency"), (1, "grad-cam"), (2, "saliency"), (0, "saliency")]
    assert all(payload["metrics"] for payload in last.player["results"])


@pytest.mark.parametrize("also", [None, 1, [True], ["0"], [-1], [99], [0] * 9, {}])
def test_other_prompts_that_are_none_are_refused(handlers: Handlers, clip: str, also):
    (update,) = handlers.explain(clip, PROMPTS, 0, ["saliency"], also=also)
    assert update.notice == {"message": text.BAD_REQUEST, "refused": "question"}


def test_programming_mistakes_are_not_hidden(handlers: Handlers, clip: str, monkeypatch: pytest.MonkeyPatch):
    def broken(*_):
        raise RuntimeError("bug")

    monkeypatch.setattr(handlers.studio, "classify", broken)
    with pytest.raises(RuntimeError):
        list(handlers.analyse(clip, "rain"))


def slow(steps: int, ended: list[int]):
    """Work that reports every 5 ms and says where it ended."""

    def work(*arguments) -> None:
        *_, report = arguments
        step = 0
        try:
            for step in range(steps):
                report(step / steps, "listening")
                time.sleep(0.005)
        finally:
            ended.append(step)

    return work


def test_long_work_tells_how_far_it_is_and_stops_when_told(handlers: Handlers, clip: str, monkeypatch):
    monkeypatch.setattr("lmaczs.ui.progress.PATIENCE_S", 0.01)
    ended: list[int] = []
    monkeypatch.setattr(handlers.studio, "hear", slow(1000, ended))
    shares = []
    for update in handlers.analyse(clip, "rain", Request("visitor", 4)):
        shares.append(update.progress["share"])
        if len(shares) == 5:
            handlers.stop(Request("somebody else", 5))
            handlers.stop(Request("visitor", 3))  # an old message that comes late
        if len(shares) == 10:
            handlers.stop(Request("visitor", 5))
    assert len(shares) == 10
    assert shares == sorted(shares) and shares[-1] > 0
    handlers.studio.queue.submit(int).result()  # after the work
    assert len(ended) == 1 and ended[0] < 900


def test_stop_frees_the_page_at_once_and_keeps_what_is_finished(handlers: Handlers, clip: str, monkeypatch):
    """A slow method stops between its steps, so that the next request need not wait for its end."""
    request, found = Request("visitor", 1), []
    ended: list[int] = []
    real = handlers.studio.explain

    def explain(heard, prompts, target, method, domain, report):
        if method == "rise":
            return slow(100_000, ended)(report)
        return real(heard, prompts, target, method, domain, report)

    monkeypatch.setattr(handlers.studio, "explain", explain)
    start = None
    for update in handlers.explain(clip, PROMPTS, 0, ["grad-cam", "rise", "saliency"], "stft", request):
        if update.player:
            found = [payload["method"] for payload in update.player["results"]]
        if update.progress and update.progress["method"] == "rise" and start is None:
            start = time.monotonic()
            handlers.stop(Request("visitor", 2))
    assert start is not None and time.monotonic() - start < 1
    assert found == ["grad-cam"]
    handlers.studio.queue.submit(int).result(timeout=2)
    assert len(ended) == 1


def test_request_that_waited_too_long_is_not_begun(handlers: Handlers, clip: str, monkeypatch):
    monkeypatch.setattr(handlers.studio, "hear", None)
    handlers.stop(Request("visitor", 8))
    assert list(handlers.analyse(clip, "rain", Request("visitor", 7))) == []


def test_work_that_ends_at_the_last_moment_is_not_taken_for_an_error():
    """Python's own TimeoutError of a wait must never be mistaken for one of the work."""
    with WorkQueue() as worker:
        go = Event()
        steps = progress.watched(lambda report: go.wait() and "done", worker, lambda: False)
        assert next(steps) == (0.0, "", 0)
        go.set()
        with pytest.raises(StopIteration) as end:
            while True:
                next(steps)
    assert end.value.value == "done"


def test_turns_only_go_forward():
    order = RequestOrder()
    order.advance(Request("a", 5))
    order.advance(Request("a", 3))
    assert order.is_over(Request("a", 4)) and not order.is_over(Request("a", 5))
    assert not order.is_over(Request("b", 0))
    assert [read_turn(sent) for sent in (3, 2.5, "7", None, True, float("nan"), [])] == [
        3,
        2.5,
        0,
        0,
        0,
        0,
        0,
    ]


def test_a_place_counts_for_the_request_that_it_was_told_for():
    order = RequestOrder()
    assert order.moment(Request("a", 5)) is None
    order.move(Request("a", 5), 7.0)
    order.move(Request("a", 4), 1.0)
    assert order.moment(Request("a", 5)) == 7.0
    assert (
        order.moment(Request("a", 4))
        is order.moment(Request("a", 6))
        is order.moment(Request("b", 5))
        is None
    )
    for number in range(SESSIONS_KEPT):
        order.move(Request(str(number), 0), 0.0)
    assert order.moment(Request("a", 5)) is None


def test_every_answer_carries_its_turn_and_is_new():
    updates = iter([Update(player={"a": 1}), Update(player={"a": 1}, notice={"message": ""})])
    outputs = list(numbered(updates, Request("visitor", 7), ("player", "notice")))
    assert outputs[0][0] == {"a": 1, "turn": 7, "serial": 0}
    assert outputs[1][0] == {"a": 1, "turn": 7, "serial": 1}
    assert skipped(outputs[0][1])
    assert outputs[1][1] == {"message": "", "turn": 7, "serial": 1}
