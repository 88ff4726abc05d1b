"""Each visitor's choice of the classifier: loaded beside the page's work, shared, stopped, and let go."""

import gc
import threading
import weakref

import gradio as gr
import numpy as np
import pytest
import soundfile
from miniatures import small_backend

from lmaczs import clap
from lmaczs.clap import BACKENDS, WITHOUT_WEIGHTS, BackendEntry
from lmaczs.errors import BackendUnavailableError
from lmaczs.ui.layout import build_demo
from lmaczs.ui.models import Models, choices
from lmaczs.ui.request_order import Request
from lmaczs.ui.settings import Settings

WAIT_S = 60


class Shelf:
    """Classifiers that load when they are told to."""

    def __init__(self, folder):
        self.folder, self.built, self.stopped = folder, [], []
        self.started, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def entry(self, name, kind):
        def load(weights, progress):
            self.started.set()
            try:
                while not self.go.wait(0.02):
                    progress(0.5, "fetching a stand-in")
            except Exception:
                self.stopped.append(name)
                raise
            if self.error:
                raise self.error
            self.built.append(name)
            return small_backend(kind, self.folder / name)

        return BackendEntry(f"Label of {name}", "MIT", load, download_mb=1)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    shelf = Shelf(tmp_path)
    monkeypatch.setattr(clap, "_loaded", {})
    for name, kind in (("laion", "laion"), ("msclap-2023", "msclap-2023")):
        monkeypatch.setitem(BACKENDS, name, shelf.entry(name, kind))
    yield shelf
    shelf.go.set()


@pytest.fixture
def models(shelf):
    return Models(Settings(backend="debug", device="cpu"))


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).normal(size=44100), 44100)
    return str(path)


def used(models, session):
    return models.of(Request(session)).studio.settings.backend


def states(told):
    return [value["state"] for value in told]


def test_the_list_says_label_size_and_licence_before_anything_is_loaded():
    listed = {choice["key"]: choice for choice in choices("compact-2")}
    assert listed.keys() == BACKENDS.keys() - {"debug", *WITHOUT_WEIGHTS}
    assert listed["compact-2"]["download_mb"] == 0 and listed["compact-2"]["decoder"]
    assert listed["msclap-2022"] == {
        "key": "msclap-2022", "label": "Microsoft CLAP 2022", "licence": "MS-PL", "download_mb": 2300,
        "labels": None, "decoder": False,
    }  # fmt: skip
    assert "debug" in [choice["key"] for choice in choices("debug")]


def test_a_choice_is_one_visitors_own(models, shelf):
    assert used(models, "a") == used(models, "b") == "debug"
    assert states(models.choose("laion", "a"))[-1] == "ready"
    assert (used(models, "a"), used(models, "b")) == ("laion", "debug")
    assert states(models.choose("laion", "b")) == ["ready"] and shelf.built == ["laion"]
    assert models.of(Request("a")).studio.backend is models.of(Request("b")).studio.backend


def test_a_model_goes_when_its_last_visitor_goes(models, shelf):
    for session in "ab":
        list(models.choose("laion", session))
    model = weakref.ref(models.of(Request("a")).studio.backend)
    models.leave("a")
    assert models.in_use() == ("debug", "laion") and model() is not None
    list(models.choose("msclap-2023", "b"))
    assert models.in_use() == ("debug", "msclap-2023")
    gc.collect()
    assert model() is None
    list(models.choose("debug", "b"))
    assert models.in_use() == ("debug",) and clap._loaded == {}


def test_two_visitors_with_different_models_do_not_load_them_again_and_again(models, shelf, sound):
    list(models.choose("laion", "a"))
    list(models.choose("msclap-2023", "b"))
    for session in "abab":
        assert [u for u in models.of(Request(session)).analyse(sound, "a dog\nrain") if u.scores]
    assert shelf.built == ["laion", "msclap-2023"]


def test_other_visitors_get_their_results_while_a_model_is_on_its_way(models, shelf, sound):
    shelf.go.clear()
    told = models.choose("laion", "a")
    assert next(told)["state"] == "loading"
    assert shelf.started.wait(WAIT_S)
    for session in "ab":  # also the one who waits
        assert [u for u in models.of(Request(session)).analyse(sound, "a dog\nrain") if u.player]
    seen = next(told)
    assert (seen["share"], seen["message"]) == (0.5, "fetching a stand-in")
    shelf.go.set()
    assert states(told)[-1] == "ready" and used(models, "a") == "laion"


def test_two_who_wait_for_the_same_load_it_once(models, shelf):
    shelf.go.clear()
    first, second = models.choose("laion", "a"), models.choose("laion", "b")
    next(first), next(second)
    shelf.go.set()
    assert states(first)[-1] == states(second)[-1] == "ready"
    assert shelf.built == ["laion"] and used(models, "a") == used(models, "b") == "laion"


@pytest.mark.parametrize("way", ["another choice", "the tab is closed"])
def test_what_nobody_waits_for_any_more_stops(models, shelf, way):
    shelf.go.clear()
    told = models.choose("laion", "a")
    next(told)
    assert shelf.started.wait(WAIT_S)
    if way == "another choice":
        assert states(models.choose("debug", "a")) == ["ready"]
    else:
        models.leave("a")
    assert list(told) == []  # ends without a word
    shelf.started.clear()
    again = models.choose("laion", "b")  # whether the first load has noticed yet or not
    next(again)
    shelf.go.set()
    assert states(again)[-1] == "ready"
    assert used(models, "a") == "debug" and used(models, "b") == "laion"


def test_one_of_two_may_go_while_the_other_waits(models, shelf):
    shelf.go.clear()
    first, second = models.choose("laion", "a"), models.choose("laion", "b")
    next(first), next(second)
    models.leave("a")
    assert list(first) == []
    shelf.go.set()
    assert states(second)[-1] == "ready" and shelf.stopped == []


def test_a_failed_download_is_one_sentence_and_the_old_model_stays(models, shelf):
    shelf.error = BackendUnavailableError("It is not here: connect to the internet once.")
    (*_, last) = models.choose("laion", "a")
    assert (last["state"], last["message"]) == ("failed", "It is not here: connect to the internet once.")
    assert used(models, "a") == "debug" and models.in_use() == ("debug",)
    shelf.error = None
    assert states(models.choose("laion", "a"))[-1] == "ready"  # trying again helps


def test_a_failure_that_nobody_foresaw_shows_no_inner_words(models, shelf, caplog):
    shelf.error = MemoryError("/home/someone")
    (*_, last) = models.choose("laion", "a")
    assert last["state"] == "failed" and "/home" not in last["message"]
    assert last["message"].startswith("Label of laion could not be loaded") and "/home" in caplog.text


@pytest.mark.parametrize("sent", [None, 3, ["laion"], "no such model", "debug\n"])
def test_anything_else_that_a_browser_sends_is_refused(models, sent):
    (told,) = models.choose(sent, "a")
    assert told["state"] == "failed" and used(models, "a") == "debug"


def test_explanations_of_two_classifiers_are_told_apart_by_the_browser(models, sound):
    list(models.choose("laion", "a"))
    ids = [models.of(Request(session)).studio.hear(sound).id for session in "ab"]
    assert ids[0] != ids[1] and ids[0].endswith("-laion")


def test_without_a_decoder_the_other_methods_explain(models):
    list(models.choose("laion", "a"))
    methods = models.of(Request("a")).studio.labels()["stft"]
    assert "lmac-zs" not in methods and {"optimized-mask", "grad-cam"} <= methods.keys()


def test_no_quick_result_waits_in_the_line_of_the_downloads():
    demo = build_demo(Settings(backend="debug"))
    queues = {fn.targets[0][1]: fn.concurrency_id for fn in demo.fns.values() if fn.queue and fn.targets}
    assert queues["choose"] == "models" and list(queues.values()).count("models") == 1
    (box,) = (block for block in demo.blocks.values() if getattr(block, "elem_id", "") == "lz-model")
    assert isinstance(box, gr.HTML)


def test_the_stored_example_is_shown_for_the_classifier_that_explained_it():
    def shown(backend):
        blocks = build_demo(Settings(backend=backend)).blocks.values()
        return {
            getattr(block, "elem_id", None): block.value for block in blocks if isinstance(block, gr.HTML)
        }

    assert shown("compact-2")["lz-player"] and shown("compact-2")["lz-scores"]
    other = shown("laion")
    assert other["lz-player"] is None and other["lz-scores"] is None
