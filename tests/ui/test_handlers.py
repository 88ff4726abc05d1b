"""What the buttons do, without a browser and without trained weights."""

import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import gradio as gr
import numpy as np
import pytest
import soundfile
from PIL import Image

from lmaczs.errors import LMACError, PromptError
from lmaczs.pipeline import explain_clip
from lmaczs.signal.audio import load_clip
from lmaczs.ui import endpoints, progress, text
from lmaczs.ui.controls import CONTROLS
from lmaczs.ui.facts import COLUMNS, page_facts
from lmaczs.ui.handlers import Handlers, Update
from lmaczs.ui.layout import build_demo, numbered
from lmaczs.ui.line import Line
from lmaczs.ui.payload import FLOOR_DB, LINEAR_ROWS, level_picture, linear_rows, mask_picture
from lmaczs.ui.prompts import MAX_PROMPTS, add_prompts, check_prompts, read_prompts
from lmaczs.ui.settings import Settings, launch_options
from lmaczs.ui.studio import Studio
from lmaczs.ui.turns import Turns, Wish, read_turn

FAST = ["grad-cam", "grad-cam++", "saliency"]
PROMPTS = ["a beep", "rain", "a dog"]


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(Settings(backend="debug", recordings_kept=2))


@pytest.fixture
def handlers(studio: Studio) -> Handlers:
    return Handlers(studio)


@pytest.fixture
def clip(tmp_path: Path) -> str:
    """1.23 s of a burst, peak 0.9, at a rate that is not the model's."""
    time_s = np.arange(round(1.23 * 22050)) / 22050
    path = tmp_path / "burst <b>.wav"
    soundfile.write(path, 0.9 * np.sin(2 * np.pi * 1200 * time_s) * (time_s < 0.5), 22050)
    return str(path)


def read_file(payload: dict) -> tuple[np.ndarray, int]:
    return soundfile.read(payload["path"])


def first_shown(updates) -> dict:
    """The first explanation; its files are there as long as the caller keeps `updates`."""
    return next(update.player["results"][0] for update in updates if update.player)


def said(updates) -> str:
    """The one sentence that is all that the updates bring."""
    (update,) = (update for update in updates if update.notice != {"message": ""} and not update.progress)
    assert update.scores is None and update.player is None
    return update.notice["message"]


def skipped(value) -> bool:
    return value == gr.skip()


def test_page_is_built_without_weights_network_or_model_libraries():
    code = (
        "import socket, sys\n"
        "socket.socket.connect = None\n"
        "from lmaczs.ui.layout import build_demo\n"
        "from lmaczs.ui.settings import Settings\n"
        "build_demo(Settings(backend='no such backend'))\n"
        "print('transformers' in sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip().splitlines()[-1] == "False"


def test_nothing_is_kept_or_sent(monkeypatch: pytest.MonkeyPatch):
    demo = build_demo(Settings(backend="debug"))
    options = launch_options(demo.studio.settings)
    assert demo.analytics_enabled is False
    assert {name: options[name] for name in ("run_history", "enable_monitoring", "show_error", "share")} == {
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "share": False,
    }
    assert "allowed_paths" not in options
    assert "http" not in options["css"] and "http" not in options["head"]
    assert "googleapis" not in str(options["theme"]._get_theme_css())
    public = [event.api_name for event in demo.fns.values() if event.api_visibility != "private"]
    assert public == list(endpoints.NAMES)


def test_templates_hold_no_value():
    """A value in a template would be compiled: a prompt could run as a script."""
    demo = build_demo(Settings(backend="debug"))
    components = [block for block in demo.blocks.values() if isinstance(block, gr.HTML)]
    assert len(components) > 5
    for component in components:
        for mark in ("${", "{{", "@children", "`", "\\"):
            assert mark not in component.html_template


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LMACZS_BACKEND", "debug")
    monkeypatch.setenv("LMACZS_DEVICE", "cpu")
    monkeypatch.setenv("LMACZS_KEEP_MINUTES", "10")
    assert Settings.from_environment() == Settings(backend="debug", device="cpu", keep_minutes=10)
    for wrong in ("0", "-1", "nan", "soon", "60"):
        monkeypatch.setenv("LMACZS_KEEP_MINUTES", wrong)
        with pytest.raises(LMACError, match=f"'{wrong}'.*at most 45"):
            Settings.from_environment()
    monkeypatch.delenv("LMACZS_KEEP_MINUTES")
    monkeypatch.delenv("LMACZS_BACKEND")
    monkeypatch.delenv("LMACZS_DEVICE")
    assert Settings.from_environment() == Settings(backend="compact", device=None)


def test_one_click_gives_scores_then_the_explanation_then_its_check(handlers: Handlers, clip: str):
    kinds = []
    for update in handlers.analyse(clip, "\n".join(PROMPTS)):
        if scores := update.scores:
            kinds.append("scores")
            assert scores["prompts"] == PROMPTS
            assert sum(scores["probabilities"]) == pytest.approx(1, abs=1e-4)
            assert scores["predicted"] == int(np.argmax(scores["probabilities"])) == scores["target"]
            assert update.notice == {"message": ""}
        if update.player:
            (payload,) = update.player["results"]
            kinds.append("check" if payload["probability"] else "explanation")
            assert payload["prompts"][payload["target"]] == PROMPTS[scores_of(handlers, clip)]
    assert kinds == ["scores", "explanation", "check"]
    assert set(payload["probability"]) == {"original", "kept", "removed"}
    assert set(COLUMNS) <= set(payload["metrics"])


def scores_of(handlers: Handlers, clip: str) -> int:
    return handlers.studio.classify(handlers.studio.hear(clip), PROMPTS).predicted


def test_payload_is_as_long_as_the_sound_and_its_parts_add_up(handlers: Handlers, clip: str):
    outputs = handlers.analyse(clip, "\n".join(PROMPTS))
    payload = first_shown(outputs)
    assert payload["clip"]["duration_s"] == pytest.approx(1.23, abs=1e-3)
    original, rate = read_file(payload["clip"]["original"])
    kept, removed = read_file(payload["kept"])[0], read_file(payload["removed"])[0]
    assert rate == payload["clip"]["sample_rate"] == 16000
    assert len(original) == len(kept) == len(removed) == round(payload["clip"]["duration_s"] * rate)
    assert np.abs(kept + removed - original).max() < 1e-4
    assert np.abs(original).max() == pytest.approx(
        0.9, abs=0.1
    )  # one gain for all, here 1: nothing normalised
    spectrogram = Image.open(payload["clip"]["spectrogram"]["path"])
    mask = Image.open(payload["mask"]["path"])
    assert spectrogram.size == mask.size == (1 + len(original) // 320, 257)
    assert payload["clip"]["column_s"] == pytest.approx(0.02)
    json.dumps(payload, allow_nan=False)
    outputs.close()
    assert not Path(payload["mask"]["path"]).exists()  # Gradio serves its own copies; ours go


def test_loud_peaks_get_one_gain_for_all_tracks(handlers: Handlers, tmp_path: Path):
    path = tmp_path / "loud.wav"
    time_s = np.arange(16000) / 16000
    soundfile.write(path, 3.0 * np.sin(2 * np.pi * 500 * time_s), 16000, subtype="FLOAT")
    outputs = handlers.analyse(str(path), "\n".join(PROMPTS))
    payload = first_shown(outputs)
    tracks = [read_file(payload[n])[0] for n in ("kept", "removed")]
    original = read_file(payload["clip"]["original"])[0]
    assert np.abs(original).max() <= 1
    assert np.abs(tracks[0] + tracks[1] - original).max() < 1e-4


def test_pictures_put_high_frequencies_on_top_and_fixed_ends(handlers: Handlers, clip: str):
    level = level_picture(np.array([[0.0, FLOOR_DB / 2], [FLOOR_DB, FLOOR_DB - 20]], np.float32), 1)
    assert level.tolist() == [[255, 128], [0, 0]]
    mask = mask_picture(np.array([[0.0, 0.5, 1.0]], np.float32), 2)
    assert mask.tolist() == [[64, 255]]  # mean of a pair; the odd one out stands alone
    outputs = handlers.analyse(clip, "\n".join(PROMPTS))
    payload = first_shown(outputs)
    rows = np.asarray(Image.open(payload["clip"]["spectrogram"]["path"])).astype(float).mean(axis=1)
    assert len(rows) - 1 - rows.argmax() == pytest.approx(1200 / (16000 / 512), abs=1)


def test_picture_of_a_long_recording_is_reduced(studio: Studio, tmp_path: Path):
    path = tmp_path / "long.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * 8000)
    soundfile.write(path, noise, 8000)
    outputs = Handlers(studio).analyse(str(path), "\n".join(PROMPTS))
    payload = first_shown(outputs)
    width = Image.open(payload["clip"]["spectrogram"]["path"]).width
    assert width == 1501  # 3001 frames in pairs
    assert width * payload["clip"]["column_s"] == pytest.approx(60, abs=0.1)


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
    assert [payload["method"] for payload in answers[-1]["controls"]] == list(CONTROLS)
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
        explainer = handlers.studio.explainer(payload["method"], domain)
        result = explain_clip(load_clip(clip), PROMPTS, handlers.studio.backend, explainer, target=PROMPTS[2])
        assert payload["domain"] == domain
        assert payload["metrics"] == pytest.approx(result.metrics, abs=1e-3)
        p, q, r = payload["probability"].values()
        assert payload["metrics"]["ff"] == pytest.approx(p - r, abs=1e-6)
        assert payload["metrics"]["ad"] == pytest.approx(100 * max(0, p - q) / p, abs=1e-3)


def test_mel_cells_are_drawn_at_their_frequencies():
    hertz = np.array([100.0, 200.0, 400.0, 800.0], np.float32)
    rows = linear_rows(np.arange(4, dtype=np.float32)[:, None], hertz)[:, 0]
    assert len(rows) == LINEAR_ROWS
    assert rows[0] == 0 and rows[LINEAR_ROWS // 2] == 2 and rows[-1] == 3  # 0, 400 and 800 Hz
    linear = np.linspace(0, 8000, 5, dtype=np.float32)
    assert linear_rows(np.ones((5, 2), np.float32), linear).shape == (5, 2)


def test_programming_mistakes_are_not_hidden(handlers: Handlers, clip: str, monkeypatch: pytest.MonkeyPatch):
    def broken(*_):
        raise RuntimeError("bug")

    monkeypatch.setattr(handlers.studio, "classify", broken)
    with pytest.raises(RuntimeError):
        list(handlers.analyse(clip, "rain"))


def test_another_prompt_does_not_hear_the_recording_again(handlers: Handlers, clip: str, monkeypatch):
    heard = handlers.studio.hear(clip)
    monkeypatch.setattr("lmaczs.pipeline.open_recording", None)
    assert handlers.studio.hear(clip) is heard


def test_only_the_last_recordings_are_kept(tmp_path: Path):
    studio = Studio(Settings(backend="debug", recordings_kept=2))
    paths = []
    for seed in range(3):
        paths.append(tmp_path / f"{seed}.wav")
        soundfile.write(paths[-1], np.random.default_rng(seed).normal(0, 0.1, 8000), 16000)
    first = studio.hear(str(paths[0]))
    second = studio.hear(str(paths[1]))
    assert studio.hear(str(paths[0])) is first
    studio.hear(str(paths[2]))
    assert studio.hear(str(paths[0])) is first
    assert studio.hear(str(paths[1])) is not second


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
    for update in handlers.analyse(clip, "rain", Wish("visitor", 4)):
        shares.append(update.progress["share"])
        if len(shares) == 5:
            handlers.stop(Wish("somebody else", 5))
            handlers.stop(Wish("visitor", 3))  # an old message that comes late
        if len(shares) == 10:
            handlers.stop(Wish("visitor", 5))
    assert len(shares) == 10
    assert shares == sorted(shares) and shares[-1] > 0
    handlers.studio.worker.submit(int).result()  # after the work
    assert len(ended) == 1 and ended[0] < 900


def test_stop_frees_the_page_at_once_and_keeps_what_is_finished(handlers: Handlers, clip: str, monkeypatch):
    """A slow method stops between its steps, so that the next wish need not wait for its end."""
    wish, found = Wish("visitor", 1), []
    ended: list[int] = []
    real = handlers.studio.explain

    def explain(heard, prompts, target, method, domain, report):
        if method == "rise":
            return slow(100_000, ended)(report)
        return real(heard, prompts, target, method, domain, report)

    monkeypatch.setattr(handlers.studio, "explain", explain)
    start = None
    for update in handlers.explain(clip, PROMPTS, 0, ["grad-cam", "rise", "saliency"], "stft", wish):
        if update.player:
            found = [payload["method"] for payload in update.player["results"]]
        if update.progress and update.progress["method"] == "rise" and start is None:
            start = time.monotonic()
            handlers.stop(Wish("visitor", 2))
    assert start is not None and time.monotonic() - start < 1
    assert found == ["grad-cam"]
    handlers.studio.worker.submit(int).result(timeout=2)
    assert len(ended) == 1


def test_wish_that_waited_too_long_is_not_begun(handlers: Handlers, clip: str, monkeypatch):
    monkeypatch.setattr(handlers.studio, "hear", None)
    handlers.stop(Wish("visitor", 8))
    assert list(handlers.analyse(clip, "rain", Wish("visitor", 7))) == []


def test_work_that_ends_at_the_last_moment_is_not_taken_for_an_error():
    """Python's own TimeoutError of a wait must never be mistaken for one of the work."""
    with Line() as worker:
        go = Event()
        steps = progress.watched(lambda report: go.wait() and "done", worker, lambda: False)
        assert next(steps) == (0.0, "", 0)
        go.set()
        with pytest.raises(StopIteration) as end:
            while True:
                next(steps)
    assert end.value.value == "done"


def test_turns_only_go_forward():
    turns = Turns()
    turns.advance(Wish("a", 5))
    turns.advance(Wish("a", 3))
    assert turns.is_over(Wish("a", 4)) and not turns.is_over(Wish("a", 5))
    assert not turns.is_over(Wish("b", 0))
    assert [read_turn(sent) for sent in (3, 2.5, "7", None, True, float("nan"), [])] == [
        3,
        2.5,
        0,
        0,
        0,
        0,
        0,
    ]


def test_every_answer_carries_its_turn_and_is_new():
    updates = iter([Update(player={"a": 1}), Update(player={"a": 1}, notice={"message": ""})])
    outputs = list(numbered(updates, Wish("visitor", 7), ("player", "notice")))
    assert outputs[0][0] == {"a": 1, "turn": 7, "serial": 0}
    assert outputs[1][0] == {"a": 1, "turn": 7, "serial": 1}
    assert skipped(outputs[0][1])
    assert outputs[1][1] == {"message": "", "turn": 7, "serial": 1}


def test_explanation_is_made_once(handlers: Handlers, clip: str, monkeypatch):
    list(handlers.explain(clip, PROMPTS, 0, ["grad-cam"]))
    monkeypatch.setattr("lmaczs.pipeline.explain", None)
    archive = [update.player for update in handlers.archive(clip, PROMPTS, 0, "grad-cam") if update.player]
    assert set(archive[-1]) == {"archive"}


def test_page_knows_what_the_numbers_mean_and_what_the_test_set_said():
    facts = page_facts()
    assert [column["key"] for column in facts["columns"]] == list(COLUMNS)
    assert all(column["meaning"] for column in facts["columns"])
    assert set(facts["controls"]) <= set(facts["test_set"]["domains"]["stft"])
    json.dumps(facts, allow_nan=False)


def test_prompts_are_cleaned_and_nothing_typed_is_lost():
    assert read_prompts("  a dog \n\na dog\n rain\tfalls ") == ["a dog", "rain falls"]
    assert add_prompts("mine", ["a", "b"]) == "mine\na\nb"
    assert add_prompts("a \nmine\n", ["a", "b"]) == "a \nmine\nb"
    assert add_prompts("", ["a"]) == "a"
    with pytest.raises(PromptError):
        check_prompts("a dog")
    assert issubclass(PromptError, LMACError)


def test_ready_sets_fit_the_limits():
    for prompts in text.PROMPT_SETS.values():
        assert check_prompts(prompts) == prompts
    assert len(text.PROMPT_SETS["ESC-50"]) == 50
