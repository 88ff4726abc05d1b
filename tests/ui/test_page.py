"""The page as it is before anybody asks anything: built without models, private, within its limits."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import gradio as gr
import pytest
import torch

from lmaczs.errors import LMACError, PromptError
from lmaczs.explainers import METHODS
from lmaczs.explainers.base import Method, MethodEntry
from lmaczs.metrics.registry import METRICS, MetricEntry, explanation_keys
from lmaczs.signal.windows import clip_frames
from lmaczs.types import Explanation, no_progress
from lmaczs.ui import endpoints, text
from lmaczs.ui.facts import about, page_facts
from lmaczs.ui.handlers import Handlers
from lmaczs.ui.hosts import LOOPBACK
from lmaczs.ui.layout import build_demo
from lmaczs.ui.prompts import add_prompts, check_prompts, split_prompts
from lmaczs.ui.settings import PORT, Settings, launch_options
from lmaczs.ui.studio import Studio

APP = Path(__file__).parents[2] / "app.py"


def test_page_is_built_without_weights_network_or_model_libraries():
    code = (
        "import socket, sys\n"
        "socket.socket.connect = None\n"
        "from lmaczs.ui.layout import build_demo\n"
        "from lmaczs.ui.settings import Settings\n"
        "build_demo(Settings())\n"
        "print('transformers' in sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip().splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("LMACZS_BACKEND", "tea", "There is no backend 'tea'"),
        ("LMACZS_BACKEND", "hf:/nowhere/at-all", "'at-all' is no folder with a config.json"),
        ("LMACZS_KEEP_MINUTES", "long", "LMACZS_KEEP_MINUTES is 'long'"),
        ("LMACZS_MOST_PASSES", "-1", "LMACZS_MOST_PASSES is '-1'"),
    ],
)
def test_a_variable_that_cannot_be_used_is_one_sentence(
    variable: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(APP), run_name="__main__")
    # Python writes a sentence to stderr and leaves with 1.
    assert isinstance(left.value.code, str) and words in left.value.code and "\n" not in left.value.code


def test_the_program_itself_says_so_in_one_line(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(APP)],
        cwd=tmp_path,
        env={**os.environ, "LMACZS_BACKEND": "tea"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1


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
    assert "http" not in options["css"] and "head" not in options
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
    assert Settings.from_environment() == Settings("debug", "cpu", keep_minutes=10, port=PORT, hosts=LOOPBACK)
    for wrong in ("0", "-1", "nan", "soon", "60"):
        monkeypatch.setenv("LMACZS_KEEP_MINUTES", wrong)
        with pytest.raises(LMACError, match=f"'{wrong}'.*at most 45"):
            Settings.from_environment()
    monkeypatch.delenv("LMACZS_KEEP_MINUTES")
    monkeypatch.delenv("LMACZS_BACKEND")
    monkeypatch.delenv("LMACZS_DEVICE")
    assert Settings.from_environment() == Settings("compact-2", None, port=PORT, hosts=LOOPBACK)


def test_page_knows_what_the_numbers_mean_and_what_the_test_set_said():
    facts = page_facts()
    assert [column["key"] for column in facts["columns"]] == list(explanation_keys())
    assert all(column["meaning"] for column in facts["columns"])
    assert set(facts["controls"]) <= set(facts["test_set"]["domains"]["stft"])
    json.dumps(facts, allow_nan=False)


class Toy(Method):
    """Keeps the first half."""

    entry = MethodEntry("toy", "Toy method", "Nobody 2026", "Keeps the first half.")

    def passes(self) -> float:
        return 0.0

    def explain(self, recording, target, progress=no_progress) -> Explanation:
        frames = clip_frames(recording.plan.num_samples, self.backend.spectral)
        mask = torch.zeros(self.backend.spectral.n_bins, frames)
        mask[:, : frames // 2] = 1.0
        return Explanation(self.name, target.prompt, mask, self.domain)


def test_a_new_method_and_a_new_metric_are_on_the_page_at_once(clip: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(METHODS, "toy", f"{__name__}:Toy")
    toy = MetricEntry(
        "toy", "Toy metric", "0..1", "higher", "Says nothing.", scope="explanation", compute=lambda _: 0.25
    )
    monkeypatch.setitem(METRICS, "toy", toy)
    assert "Toy method (Nobody 2026): Keeps the first half." in about()
    assert "Toy metric: Says nothing." in about()
    column = page_facts()["columns"][-1]
    assert (column["key"], column["direction"], column["ranked"]) == ("toy", "↑", True)
    studio = Studio(Settings(backend="debug"))
    assert studio.labels()["stft"]["toy"] == "Toy method"
    updates = list(Handlers(studio).explain(clip, ["a beep", "rain"], 0, ["toy"]))
    (payload,) = [update.player for update in updates if update.player][-1]["results"]
    assert payload["method"] == "toy" and payload["metrics"]["mm"] == pytest.approx(0.5, abs=0.02)


def test_prompts_are_cleaned_and_nothing_typed_is_lost():
    assert split_prompts("  a dog \n\na dog\n rain\tfalls ") == ["a dog", "rain falls"]
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
