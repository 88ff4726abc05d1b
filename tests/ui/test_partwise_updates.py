"""A long recording comes to the page part by part."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from lmaczs.errors import LMACError
from lmaczs.ui import components, text
from lmaczs.ui.cache import visitors_folder
from lmaczs.ui.handlers import Handlers
from lmaczs.ui.request_order import Request
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import PARTWISE_FROM, Studio

PROMPTS = ["a beep", "rain", "a dog"]
METHOD = "lmac-any"


@pytest.fixture(scope="module")
def studio() -> Studio:
    """Of its own: what is kept of recordings and results is what these tests are about."""
    return Studio(Settings(backend="debug"))


@pytest.fixture
def long_clip(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """45 s, another one for each test: 23 windows, 4 parts."""
    seed = sum(map(ord, request.node.name))
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 45 * 16000), 16000, subtype="FLOAT")
    return str(path)


def results(update):
    return update.player["results"] if update.player else []


def asked(handlers, clip, **more):
    return handlers.explain(clip, PROMPTS, 0, [METHOD], "stft", **more)


def grey(file):
    return np.asarray(Image.open(file["path"])).astype(int)


def track(file):
    return soundfile.read(file["path"])[0]


def test_the_part_where_the_visitor_goes_meanwhile_comes_next(handlers: Handlers, long_clip: str):
    request, starts = Request("goes", 1), []
    for update in asked(handlers, long_clip, request=request):
        for payload in results(update):
            if "parts" in payload:
                handlers.order.move(request, 44.0)
                starts = [part["start"] for part in payload["parts"]]
    # The first one was under way, and all parts came, each once.
    assert starts[0] == 0 and starts[1] > 30 * 16000
    assert len(starts) == len(set(starts)) == 4


def test_parts_come_one_after_the_other_and_then_the_whole(handlers: Handlers, long_clip: str):
    counts, pieces = [], []
    for update in asked(handlers, long_clip):
        for payload in results(update):
            assert payload["method"] == METHOD and payload["prompts"][payload["target"]] == PROMPTS[0]
            if "parts" in payload:
                assert payload["mask"] is payload["kept"] is payload["metrics"] is payload["verdict"] is None
                counts.append(len(payload["parts"]))
                # The visitors' copies stay; what is compared is what was sent at that moment.
                pieces = [
                    (part, grey(part["mask"]), soundfile.read(part["kept"]["path"])[0])
                    for part in payload["parts"]
                ]
            elif payload["metrics"] is None:
                mask, kept = grey(payload["mask"]), track(payload["kept"])
                original = track(payload["clip"]["original"])
    assert counts == [0, 1, 2, 3, 4]
    whole, sound = np.zeros_like(mask), np.zeros(len(original))
    for part, picture, samples in pieces:
        assert len(samples) == part["samples"]
        whole[:, part["column"] : part["column"] + picture.shape[1]] += picture
        sound[part["start"] : part["start"] + part["samples"]] = samples
    assert np.abs(whole - mask).max() <= 1 and mask.any()
    # Where two parts meet, each of them lacks what the other leaks into it.
    assert (np.abs(sound - kept) > 2e-4).mean() < 0.01 and np.abs(kept).max() > 0.01


def test_the_last_update_is_that_of_a_recording_in_one_piece(handlers: Handlers, long_clip: str, monkeypatch):
    *_, in_parts = asked(handlers, long_clip)
    (payload,) = results(in_parts)
    assert "parts" not in payload and payload["metrics"]
    handlers.studio._results.clear()
    monkeypatch.setattr("lmaczs.ui.studio.PARTWISE_FROM", 10_000)
    found = list(asked(handlers, long_clip))
    assert not any("parts" in payload for update in found for payload in results(update))
    (whole,) = results(found[-1])
    for name in ("metrics", "probability", "shares", "verdict", "evidence", "target", "prompts"):
        assert payload[name] == whole[name]


def test_the_part_under_the_playhead_comes_first(handlers: Handlers, long_clip: str):
    starts = [
        [round(part["start"] / 16000) for part in payload["parts"]]
        for update in asked(handlers, long_clip, at_s=20.0)
        for payload in results(update)
        if payload.get("parts")
    ]
    assert starts == [[20], [20, 36], [20, 36, 0], [20, 36, 0, 4]]


def test_what_was_stopped_goes_on_where_it_was(handlers: Handlers, long_clip: str, monkeypatch):
    for update in asked(handlers, long_clip, request=Request("visitor", 1)):
        if any(len(payload["parts"]) == 1 for payload in results(update)):
            handlers.stop(Request("visitor", 2))
    handlers.studio.queue.submit(int).result()
    (work,) = handlers.studio._partwise.values()
    known = dict(work._found)
    assert 1 <= len(known) < len(work)
    *_, last = asked(handlers, long_clip, request=Request("visitor", 3))
    assert results(last)[0]["metrics"]
    # It has become a result, made of what was there.
    assert not handlers.studio._partwise
    assert all(work._found[number] is part for number, part in known.items())


def test_the_time_of_all_parts_is_that_of_the_explanation(handlers: Handlers, long_clip: str, monkeypatch):
    real = handlers.studio.explain_part

    def slow(work, number, report):
        work.seconds += 100
        return real(work, number, report)

    monkeypatch.setattr(handlers.studio, "explain_part", slow)
    *_, last = asked(handlers, long_clip)
    assert results(last)[0]["seconds"] == pytest.approx(400, abs=60)


def test_a_file_is_given_out_once_however_often_it_is_sent(handlers: Handlers, long_clip: str, monkeypatch):
    real, given = components.save_file_to_cache, []

    def counted(path, folder):
        given.append(path)
        return real(path, folder)

    monkeypatch.setattr(components, "save_file_to_cache", counted)
    sent = [update.player for update in asked(handlers, long_clip) if update.player]
    # The original and its picture, two of each part, two of the whole.
    assert len(given) == len(set(given)) == 2 + 2 * 4 + 2
    assert sum("original.flac" in str(player) for player in sent) > 5
    # Gradio makes no copies of files that lie here.
    paths = [
        part["kept"]["path"] for player in sent for one in player["results"] for part in one.get("parts", [])
    ]
    assert paths and all(Path(path).is_relative_to(visitors_folder().name) for path in paths)


def test_others_are_served_between_two_parts(handlers: Handlers, long_clip: str):
    """Somebody who comes after the first part waits for two others at most."""
    done = []
    waiting = None
    for update in asked(handlers, long_clip):
        for payload in results(update):
            if "parts" in payload:
                done.append(len(payload["parts"]))
            if payload.get("parts") and waiting is None:
                waiting = handlers.studio.queue.submit(lambda: list(done))
    assert waiting is not None and max(waiting.result()) < 3


@pytest.mark.parametrize("at_s", [None, "7", True, float("nan"), float("inf"), [], {}])
def test_a_place_that_is_none_is_refused(handlers: Handlers, clip: str, at_s):
    (update,) = asked(handlers, clip, at_s=at_s)
    assert update.notice == {"message": text.BAD_REQUEST, "refused": "question"}


def test_what_comes_in_one_piece(handlers: Handlers, long_clip: str, clip: str, monkeypatch):
    studio = handlers.studio
    long, short = studio.hear(long_clip), studio.hear(clip)
    assert len(long.recording.plan.windows) >= PARTWISE_FROM > len(short.recording.plan.windows)
    assert studio.partwise(long, PROMPTS, None, METHOD) is not None
    assert studio.partwise(short, PROMPTS, None, METHOD) is None
    # One scale for the whole recording; the strongest cells of it.
    assert studio.partwise(long, PROMPTS, None, "saliency") is None
    assert studio.partwise(long, PROMPTS, None, f"{METHOD}@10") is None
    # On a GPU that is lent, all of it is there as soon as a part.
    monkeypatch.setattr("lmaczs.ui.zero_gpu.is_lent", lambda: True)
    assert studio.partwise(long, PROMPTS, None, METHOD) is None


def test_too_much_work_is_refused_before_its_first_part(long_clip: str):
    handlers = Handlers(Studio(Settings(backend="debug", most_passes=5)))
    *_, update = asked(handlers, long_clip)
    assert "would hear this recording about" in update.notice["message"] and update.player is None
    with pytest.raises(LMACError):
        handlers.studio.partwise(handlers.studio.hear(long_clip), PROMPTS, None, METHOD)


def test_updates_are_json(handlers: Handlers, long_clip: str):
    for update in asked(handlers, long_clip):
        json.dumps(update.player, allow_nan=False)
