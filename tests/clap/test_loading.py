"""Backends by name: what is known before loading, weights of one's own, one fetched model at a time."""

import subprocess
import sys
import threading

import pytest
from miniatures import recording, small_backend

from lmaczs import clap
from lmaczs.clap import BACKENDS, BackendEntry, default_backend, load_backend
from lmaczs.clap.compact_release import save_compact
from lmaczs.clap.debug import build_debug
from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.signal.audio import make_clip, save_wav

PUBLISHED = [name for name, entry in BACKENDS.items() if entry.download_mb]


@pytest.fixture(autouse=True)
def forget_afterwards(monkeypatch):
    """Each test starts with nothing loaded."""
    monkeypatch.setattr(clap, "_loaded", {})


def test_what_is_known_before_loading():
    assert {"msclap-2022", "msclap-2023", "laion", "laion-general", "laion-music"} == set(PUBLISHED)
    for entry in BACKENDS.values():
        assert entry.label and entry.licence


def test_the_environment_names_the_default(monkeypatch):
    monkeypatch.delenv("LMACZS_BACKEND", raising=False)
    assert default_backend() == "compact-2"
    monkeypatch.setenv("LMACZS_BACKEND", "debug")
    assert load_backend(device="cpu").name == "debug"
    monkeypatch.setenv("LMACZS_BACKEND", "msclap-1999")
    with pytest.raises(BackendUnavailableError, match="no backend 'msclap-1999'"):
        load_backend()


@pytest.mark.parametrize("name", PUBLISHED)
def test_offline_one_sentence_names_the_embedded_model(name, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BackendUnavailableError, match="embedded model 'compact-2'") as caught:
        load_backend(name, "cpu")
    assert "\n" not in str(caught.value) and "Error" not in str(caught.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_that_are_not_there_are_named_without_their_folder(name, tmp_path):
    with pytest.raises(BackendUnavailableError) as caught:
        load_backend(name, "cpu", weights=tmp_path / "mine.pth")
    assert str(tmp_path) not in str(caught.value)


def test_an_embedded_release_of_ones_own_can_be_loaded(tmp_path):
    folder = save_compact(tmp_path / "mine", build_debug(), half=False)
    backend = load_backend("compact", "cpu", weights=folder)
    assert backend.spectral == build_debug().spectral
    assert backend is load_backend("compact", "cpu", weights=str(folder))
    with pytest.raises(BackendUnavailableError, match="has no weights to load"):
        load_backend("debug", "cpu", weights=folder)


def entries(monkeypatch, tmp_path, names):
    """Replace downloads by small models built here; returns the names in the order in which they were built."""
    built = []

    def loader(name):
        def load(weights, progress):
            built.append(name)
            return small_backend("msclap-2023", tmp_path / name)

        return load

    for name in names:
        monkeypatch.setitem(BACKENDS, name, BackendEntry(name, "MIT", loader(name), download_mb=1))
    return built


def test_one_fetched_model_is_kept_and_the_embedded_one_stays(monkeypatch, tmp_path):
    built = entries(monkeypatch, tmp_path, ["laion", "msclap-2023"])
    embedded = load_backend("debug", "cpu")
    first = load_backend("laion", "cpu")
    assert load_backend("laion", "cpu") is first and not any(p.requires_grad for p in first.parameters())
    load_backend("msclap-2023", "cpu")
    assert load_backend("debug", "cpu") is embedded
    load_backend("laion", "cpu")
    assert built == ["laion", "msclap-2023", "laion"]
    assert len(clap._loaded) == 2


def test_a_model_that_is_being_fetched_holds_up_no_other_and_is_fetched_once(monkeypatch, tmp_path):
    started, finish, built = threading.Event(), threading.Event(), []

    def slow(weights, progress):
        built.append(1)
        started.set()
        assert finish.wait(60)
        return small_backend("msclap-2023", tmp_path / "slow")

    monkeypatch.setitem(BACKENDS, "laion", BackendEntry("slow", "MIT", slow, download_mb=1))
    found = []
    threads = [threading.Thread(target=lambda: found.append(load_backend("laion", "cpu"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert started.wait(60)
    assert load_backend("debug", "cpu").name == "debug"  # while the other one is still on its way
    finish.set()
    for thread in threads:
        thread.join()
    assert built == [1] and found[0] is found[1]


def test_a_failed_load_leaves_nothing_behind(monkeypatch):
    def broken(weights, progress):
        raise CheckpointError("damaged")

    monkeypatch.setitem(BACKENDS, "laion", BackendEntry("broken", "MIT", broken, download_mb=1))
    for _ in range(2):  # the second call finds no lock that the first one kept
        with pytest.raises(CheckpointError, match="damaged"):
            load_backend("laion", "cpu")
    assert clap._loaded == {}


def test_progress_reaches_the_download(monkeypatch, tmp_path):
    seen = []

    def load(weights, progress):
        progress(0.5, "fetching")
        return small_backend("msclap-2023", tmp_path / "model")

    monkeypatch.setitem(BACKENDS, "laion", BackendEntry("x", "MIT", load, download_mb=1))
    load_backend("laion", "cpu", progress=lambda share, text: seen.append((share, text)))
    assert seen == [(0.5, "fetching")]


def test_the_list_of_backends_is_light():
    """The page and the command line read it before anything heavy is imported."""
    code = (
        "import sys, lmaczs.clap as clap; list(clap.BACKENDS);"
        "print([m for m in ('transformers', 'librosa', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_command_line_hands_on_backend_and_weights(monkeypatch, tmp_path, capsys):
    from lmaczs.cli import main

    asked = []

    def load(weights, progress):
        asked.append(weights)
        return small_backend("msclap-2022", tmp_path / "model")

    monkeypatch.setitem(BACKENDS, "msclap-2022", BackendEntry("x", "MIT", load, download_mb=1))
    monkeypatch.setenv("LMACZS_BACKEND", "msclap-2022")
    clip, prompts = tmp_path / "noise.wav", tmp_path / "prompts.txt"
    save_wav(make_clip(recording(2.0, 22050), 22050), clip)
    prompts.write_text("rain\na dog\n")
    arguments = ["classify", str(clip), "--prompts-file", str(prompts), "--device", "cpu"]
    assert main([*arguments, "--weights", str(tmp_path / "mine.pth")]) == 0
    out = capsys.readouterr().out
    assert asked == [tmp_path / "mine.pth"] and "rain" in out and "a dog" in out
    assert main([*arguments, "--backend", "debug", "--weights", "mine.pth"]) != 0
    assert "'debug' has no weights to load" in capsys.readouterr().err
