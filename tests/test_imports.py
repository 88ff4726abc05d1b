"""Importing does nothing: no network, no weights, no changed settings; the front door is light."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lmaczs.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
SPY = """
import json, sys
opened, reached = [], []

def spy(event, arguments):
    if event == "open" and str(arguments[0]).endswith((".safetensors", ".pt", ".bin", ".wav", ".npz")):
        opened.append(str(arguments[0]).rsplit("/", 1)[-1])
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
        reached.append(event)

sys.addaudithook(spy)
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", SPY + code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done


def test_importing_every_module_touches_no_network_and_no_weights():
    report, done = run(
        """
import pkgutil, importlib
import torch
before = (torch.initial_seed(), torch.get_num_threads(), torch.is_grad_enabled())
import lmaczs
names = [m.name for m in pkgutil.walk_packages(lmaczs.__path__, "lmaczs.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
after = (torch.initial_seed(), torch.get_num_threads(), torch.is_grad_enabled())
print(json.dumps({"names": names, "opened": opened, "reached": reached, "same": before == after}))
"""
    )
    assert len(report["names"]) > 20 and "lmaczs.ui" in report["names"]
    assert report["opened"] == [] and report["reached"] == []
    assert report["same"]
    assert done.stdout.count("\n") == 1, "an import printed something"


HEAVY = ["torch", "transformers", "gradio", "matplotlib", "librosa", "huggingface_hub", "numpy", "pandas"]


def test_the_front_door_is_light():
    """Model, page and picture libraries wait for their first use."""
    report, _ = run(
        f"""
import lmaczs
heavy = [name for name in {HEAVY} if name in sys.modules]
print(json.dumps({{"heavy": heavy, "names": lmaczs.__all__}}))
"""
    )
    assert report["heavy"] == []
    assert {"load_clip", "load_backend", "load_explainer", "explain_clip", "ExplainResult"} <= set(
        report["names"]
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        *(([command, "--help"], 0) for command in COMMANDS),
        (["list"], 0),
        ([], 2),
        (["explode"], 2),
        *(([command, "--no-such-option"], 2) for command in COMMANDS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_help_list_and_wrong_arguments_import_no_model_libraries(arguments, code):
    report, _ = run(
        f"""
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from lmaczs.cli import main
with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()):
    try:
        code = main({arguments}) or 0
    except SystemExit as left:
        code = left.code
heavy = [name for name in {HEAVY} if name in sys.modules]
print(json.dumps({{"heavy": heavy, "code": code, "opened": opened}}))
"""
    )
    assert report == {"heavy": [], "code": code, "opened": []}


@pytest.mark.parametrize("order", [("lmaczs", "transformers"), ("transformers", "lmaczs")], ids="-".join)
@pytest.mark.parametrize("broken", [True, False], ids=["broken", "whole"])
def test_a_torchaudio_that_cannot_be_imported_is_hidden_from_transformers(tmp_path, order, broken):
    body = "raise OSError('libcudart.so.13: cannot open shared object file')" if broken else "whole = True"
    # Importing a model takes seconds, and is where transformers falls.
    model = "BertModel" if broken else "__version__"
    (tmp_path / "torchaudio.py").write_text(body + "\n")
    report, _ = run(
        f"""
sys.path.insert(0, {str(tmp_path)!r})
import {order[0]}
before = "torchaudio" in sys.modules
import {order[1]}
from transformers import {model}
from transformers.utils import is_torchaudio_available
try:
    import torchaudio
    found = torchaudio.whole
except ImportError:
    found = False
finders = [type(finder).__name__ for finder in sys.meta_path]
print(json.dumps({{"before": before, "available": is_torchaudio_available(), "found": found, "finders": finders}}))
"""
    )
    assert report["available"] is (not broken) and report["found"] is (not broken)
    assert not report["before"], "the trial waits for transformers"
    assert "_BrokenTorchaudio" not in report["finders"], "the guard is taken away once it has done its work"


def test_the_public_names_are_the_real_ones():
    import lmaczs
    from lmaczs.hearing import explain_clip
    from lmaczs.signal.audio import load_clip

    assert lmaczs.load_clip is load_clip and lmaczs.explain_clip is explain_clip
    assert all(getattr(lmaczs, name) is not None and name in dir(lmaczs) for name in lmaczs.__all__)
    assert not hasattr(lmaczs, "no_such_name")


SCRIPTS = sorted(
    path for folder in ("benchmarks", "space", "assets", "train") for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_scripts_take_from_the_package_is_there(path):
    """Scripts that no test runs in full, such as measurements, are not left behind when something moves."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("lmaczs", "train"):
            module = importlib.import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
