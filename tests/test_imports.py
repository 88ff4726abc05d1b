"""Importing does nothing: no network, no weights, no changed settings; the front door is light."""

import json
import subprocess
import sys

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


def test_the_front_door_is_light():
    """The torchaudio guard imports torch; model, page and picture libraries wait for their first use."""
    report, _ = run(
        """
import lmaczs
heavy = ["transformers", "gradio", "matplotlib", "librosa", "huggingface_hub"]
print(json.dumps({"heavy": [name for name in heavy if name in sys.modules], "names": lmaczs.__all__}))
"""
    )
    assert report["heavy"] == []
    assert {"load_clip", "load_backend", "load_explainer", "explain_clip", "ExplainResult"} <= set(
        report["names"]
    )


def test_the_public_names_are_the_real_ones():
    import lmaczs
    from lmaczs.pipeline import explain_clip
    from lmaczs.signal.audio import load_clip

    assert lmaczs.load_clip is load_clip and lmaczs.explain_clip is explain_clip
    assert all(getattr(lmaczs, name) is not None and name in dir(lmaczs) for name in lmaczs.__all__)
    assert not hasattr(lmaczs, "no_such_name")
