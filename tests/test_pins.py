"""Pinned sha256: what a pin refuses, where the pins come from, and that every download of the hub meets them."""

import json
import re

import pytest
from hub_stand_in import StandInHub, serving, visit
from huggingface_hub import constants

from lmaczs.clap.download import Published, fetch
from lmaczs.cli import main
from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.hub import load_release, save_release
from lmaczs.pins import VARIABLE, joined, read_pins, recording

FILES = {"config.json": b'{"a": 1}', "model.safetensors": bytes(range(256)) * 40}


def silent(share, text):
    """Progress that nobody sees."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine with one repository."""
    with serving(StandInHub()) as hub:
        visit(hub, tmp_path / "cache", monkeypatch)
        yield hub


@pytest.fixture
def model(hub):
    commit = hub.add("owner/model", FILES)
    return Published("owner/model", commit, "MIT", (("config.json",), ("model.safetensors",)))


@pytest.fixture
def pins(model, tmp_path, monkeypatch):
    """Pins of what the hub holds, in the place that the variable names."""
    with recording() as found:
        fetch(model, silent)
    path = tmp_path / "pins.json"
    path.write_text(json.dumps(found))
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_the_pinned_files_are_used(model, pins):
    assert fetch(model, silent)["config.json"].read_bytes() == FILES["config.json"]


def test_a_hub_that_sends_other_bytes_for_the_same_commit_is_refused(model, pins, hub, tmp_path, monkeypatch):
    """Its checksum goes with the bytes, so that only the pin can tell."""
    hub.commits["owner/model"][model.commit]["model.safetensors"] = b"other" * 500
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(
        CheckpointError, match=r"'model.safetensors' of owner/model at commit \w{7} is not the pinned"
    ):
        fetch(model, silent)
    monkeypatch.delenv(VARIABLE)
    assert fetch(model, silent)["model.safetensors"].read_bytes() == b"other" * 500


def test_a_file_without_a_pin_is_refused_with_the_way_on(model, pins, tmp_path):
    place = f"{model.repository}@{model.commit}"
    without = {name: digest for name, digest in read_pins(pins)[place].items() if name != "config.json"}
    pins.write_text(json.dumps({place: without}))
    with pytest.raises(BackendUnavailableError, match="no sha256 of 'config.json'.*lmaczs pin") as caught:
        fetch(model, silent)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": 1}', '{"a": {"b": "short"}}', '{"a": {"b": 5}}', "[" * 9999]
)
def test_a_damaged_file_of_pins_stops_everything(model, pins, text):
    pins.write_text(text)
    with pytest.raises(BackendUnavailableError, match=re.escape("'pins.json' (LMACZS_PINS) cannot be read")):
        fetch(model, silent)


def test_a_release_of_the_hub_meets_its_pins_too(hub, tmp_path, monkeypatch):
    import torch

    folder = save_release(tmp_path / "release", "thing", {"a": 1}, {"kernel": torch.zeros(2)})
    commit = hub.add_folder("owner/release", folder)
    out = tmp_path / "pins.json"
    assert main(["pin", f"owner/release@{commit}", "--out", str(out)]) == 0
    pins = read_pins(out)[f"owner/release@{commit}"]
    assert set(pins) == {"config.json", "model.safetensors"}
    monkeypatch.setenv(VARIABLE, str(out))
    assert load_release(f"owner/release@{commit}", "thing").config == {"a": 1}
    out.write_text(json.dumps({f"owner/release@{commit}": pins | {"config.json": "0" * 64}}))
    with pytest.raises(CheckpointError, match="'config.json' of owner/release"):
        load_release(f"owner/release@{commit}", "thing")


def test_a_second_call_keeps_the_entries_of_the_first(hub, tmp_path):
    first, second = (hub.add(name, {"config.json": name.encode()}) for name in ("owner/one", "owner/two"))
    out = tmp_path / "pins.json"
    assert main(["pin", f"owner/one@{first}", "--out", str(out)]) == 0
    assert main(["pin", f"owner/two@{second}", "--out", str(out)]) == 0
    assert set(read_pins(out)) == {f"owner/one@{first}", f"owner/two@{second}"}


def test_two_hashes_of_one_file_are_refused():
    with pytest.raises(CheckpointError, match="a commit never changes"):
        joined({"a@1": {"x": "0" * 64}}, {"a@1": {"x": "1" * 64}})


def test_what_comes_from_no_hub_has_nothing_to_pin(tmp_path, capsys):
    out = tmp_path / "pins.json"
    assert main(["pin", "debug", "--out", str(out)]) == 2
    assert "'debug' takes no file from the hub" in capsys.readouterr().err and not out.exists()
