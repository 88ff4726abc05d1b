"""A GPU that is lent for seconds, with a stand-in for the package `spaces` that pickles what the real one pickles."""

import pickle
import sys
from types import ModuleType

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from lmaczs.clap import load_backend
from lmaczs.errors import AudioError, LMACError, PromptError
from lmaczs.explainers import METHODS
from lmaczs.types import AudioState, no_progress
from lmaczs.ui import zero_gpu
from lmaczs.ui.controls import PAGE_CONTROLS
from lmaczs.ui.engine import Engine
from lmaczs.ui.layout import build_demo
from lmaczs.ui.progress import Stopped
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio
from lmaczs.ui.zero_gpu import GpuLease, LentRunner, lend, seconds_needed

PROMPTS = ["a beep", "rain", "a dog"]
SETTINGS = Settings(backend="debug", device="cpu")


class Spaces(ModuleType):
    """`spaces` as a Space on ZeroGPU has it: arguments and results cross a border, the time is asked for before."""

    def __init__(self):
        super().__init__("spaces")
        self.asked, self.crossed, self.left = [], [], 0
        self.quota = True

    def cross(self, value):
        data = pickle.dumps(value)
        self.crossed.append(data)
        return pickle.loads(data)

    def GPU(self, duration):
        def decorate(task):
            def lent(*arguments):
                self.asked.append(duration(*arguments))
                if not self.quota:
                    raise gr.Error("You have exceeded your GPU quota (60s requested)")
                steps = task(*self.cross(arguments))
                try:
                    for value in steps:
                        yield self.cross(value)
                finally:
                    steps.close()
                    self.left += 1

            return lent

        return decorate


@pytest.fixture
def spaces(monkeypatch):
    """A Space on ZeroGPU whose GPU is the CPU, and where every piece of work is worth a lease."""
    stand_in = Spaces()
    stand_in.__spec__ = type("Spec", (), {})()  # importlib.util.find_spec asks for it
    monkeypatch.setitem(sys.modules, "spaces", stand_in)
    monkeypatch.setenv(zero_gpu.VARIABLE, "true")
    monkeypatch.setattr(zero_gpu, "DEVICE", "cpu")
    monkeypatch.setattr(zero_gpu, "LEAST_S", 0.0)
    zero_gpu._lent_work.cache_clear()
    zero_gpu._lent_engine.cache_clear()
    yield stand_in
    zero_gpu._lent_work.cache_clear()
    zero_gpu._lent_engine.cache_clear()


@pytest.fixture
def sound(tmp_path):
    time_s = np.arange(round(2.5 * 16000)) / 16000
    path = tmp_path / "burst.wav"
    soundfile.write(path, 0.9 * np.sin(2 * np.pi * 1200 * time_s) * (time_s < 0.5), 16000)
    return str(path)


def visit(studio, sound, method="grad-cam++"):
    heard = studio.hear(sound)
    explained = studio.explain(heard, PROMPTS, None, method)
    return heard, explained, studio.measure(heard, explained)


def test_a_lent_gpu_gives_what_the_page_gives_without_one(spaces, sound, monkeypatch):
    heard, explained, shares = visit(Studio(SETTINGS), sound)
    # Listening, explaining, measuring.
    assert len(spaces.asked) == spaces.left == 3
    monkeypatch.delenv(zero_gpu.VARIABLE)
    own_heard, own, own_shares = visit(Studio(SETTINGS), sound)
    assert len(spaces.asked) == 3
    assert torch.equal(heard.recording.embedding, own_heard.recording.embedding)
    torch.testing.assert_close(explained.result.explanation.mask, own.result.explanation.mask)
    torch.testing.assert_close(explained.result.listening.kept.waveform, own.result.listening.kept.waveform)
    assert shares == pytest.approx(own_shares)
    assert explained.result.metrics == pytest.approx(own.result.metrics, nan_ok=True)


def test_encoder_passes_stay_where_they_were_made(spaces, sound):
    heard, *_ = visit(Studio(SETTINGS), sound)
    assert heard.recording.states == ()
    name = AudioState.__name__.encode()
    assert spaces.crossed and not any(name in data for data in spaces.crossed)


def test_without_the_package_or_its_variable_nothing_is_lent(spaces, sound, monkeypatch):
    monkeypatch.setitem(sys.modules, "spaces", None)
    monkeypatch.setattr(zero_gpu, "find_spec", lambda name: None)
    assert not zero_gpu.is_lent() and zero_gpu.resting_device("cuda") == "cuda"
    visit(Studio(SETTINGS), sound)
    monkeypatch.setattr(zero_gpu, "find_spec", lambda name: object())
    monkeypatch.setenv(zero_gpu.VARIABLE, "false")
    assert not zero_gpu.is_lent() and zero_gpu.resting_device(None) is None
    visit(Studio(SETTINGS), sound)
    assert spaces.asked == []


def test_between_two_pieces_of_work_models_lie_on_the_cpu(spaces):
    assert zero_gpu.resting_device(None) == zero_gpu.resting_device("cuda:0") == "cpu"


def test_short_work_is_done_before_a_gpu_is_there(spaces, sound, monkeypatch):
    monkeypatch.setattr(zero_gpu, "LEAST_S", 3.0)
    studio = Studio(SETTINGS)
    heard, *_ = visit(studio, sound, "grad-cam")
    assert spaces.asked == [] and heard.recording.states != ()
    studio.explain(heard, PROMPTS, None, "rise")
    assert len(spaces.asked) == 1


def lease(passes):
    return GpuLease("debug", "explain", (), passes)


def test_the_time_asked_for_follows_the_work():
    assert seconds_needed(lease(800)) > seconds_needed(lease(400)) > seconds_needed(lease(0)) >= 10


def test_every_method_says_itself_what_it_costs(spaces, sound, monkeypatch):
    """Nothing is guessed: a control of one window takes no pass, and a method of tomorrow needs no table."""
    engine, asked = Engine(load_backend("debug", "cpu")), {}
    recording = Studio(SETTINGS).hear(sound).recording

    def note(lease, progress):
        asked[lease.arguments[3]] = lease.passes

    monkeypatch.setattr(zero_gpu, "lend", note)
    runner = LentRunner(engine)
    for method in (*engine.methods(), *PAGE_CONTROLS):
        runner.explain(recording, PROMPTS, None, method, "stft", no_progress)
    windows = len(recording.plan.windows)
    assert asked == {name: windows * method.passes() for name, method in engine.methods().items()}
    assert {"grad-cam", "slime", "rise"} <= asked.keys() <= METHODS.keys()
    slow = ("smoothgrad", "integrated-gradients", "rise", "slime")
    assert all(asked[name] > 60 * windows for name in slow)


@pytest.mark.slow
def test_what_was_trained_is_not_charged_for_as_if_it_were_slow(spaces):
    """L2I and controls once counted as unknown methods: 33 s of quota for one window."""
    runner = LentRunner(Engine(load_backend("compact-2", "cpu")))
    assert runner.engine.method("l2i").passes() < 10 and runner.engine.method("random").passes() == 0


def test_what_no_gpu_is_lent_for_is_said_before_it_is_asked_for(spaces):
    with pytest.raises(LMACError, match="about 9 minutes.*lent for 4 at most") as caught:
        lend(lease(30 * 550), lambda share, message: None)
    assert "\n" not in str(caught.value) and spaces.asked == []


def test_a_visitor_without_quota_reads_one_sentence(spaces, sound):
    spaces.quota = False
    with pytest.raises(LMACError, match="No GPU could be lent") as caught:
        Studio(SETTINGS).hear(sound)
    assert "\n" not in str(caught.value)


def test_errors_of_people_cross_the_border_as_they_are(spaces, sound):
    studio = Studio(SETTINGS)
    heard = studio.hear(sound)
    with pytest.raises(PromptError, match="Prompt 2 is empty"):
        studio.explain(heard, ["rain", " "], None, "saliency")
    with pytest.raises(AudioError):
        studio.hear(None)


def test_progress_comes_back_and_can_stop_the_work(spaces, sound, monkeypatch):
    studio, seen = Studio(SETTINGS), []
    heard = studio.hear(sound)
    monkeypatch.setattr("lmaczs.ui.progress.PATIENCE_S", 0.01)

    def report(share, message):
        seen.append((share, message))
        if share > 0.3:
            raise Stopped

    before = spaces.left
    with pytest.raises(Stopped):
        studio.explain(heard, PROMPTS, None, "rise", progress=report)
    assert 0.3 < seen[-1][0] < 1 and "RISE" in seen[-1][1]
    # The GPU is given back.
    assert spaces.left == before + 1


def test_the_page_announces_its_work_at_start_and_spends_no_quota(spaces, monkeypatch):
    made = []
    monkeypatch.setattr(spaces, "GPU", lambda duration: made.append(duration) or (lambda task: task))
    demo = build_demo(SETTINGS)
    assert made == [seconds_needed]
    demo.studio.warm_up()
    assert spaces.asked == []
