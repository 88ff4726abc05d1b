"""The page as it is before anybody asks anything: built without models, private, within its limits."""

import json
import subprocess
import sys

import gradio as gr
import pytest

from lmaczs.errors import LMACError, PromptError
from lmaczs.ui import endpoints, text
from lmaczs.ui.facts import COLUMNS, page_facts
from lmaczs.ui.layout import build_demo
from lmaczs.ui.prompts import add_prompts, check_prompts, read_prompts
from lmaczs.ui.settings import Settings, launch_options


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
