"""What the command line and the page write of an explanation by components."""

import json

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F

from lmaczs import results
from lmaczs.cli import main
from lmaczs.explainers.l2i.explainer import L2I, interpreter_config, release_config
from lmaczs.explainers.l2i.networks import Interpreter
from lmaczs.hearing import explain_clip
from lmaczs.hub import save_release
from lmaczs.results import result_row
from lmaczs.signal.audio import load_clip, save_wav
from lmaczs.signal.phase import griffin_lim
from lmaczs.signal.spectral import SpectralConfig, stft
from lmaczs.ui.archive import write_archive

PROMPTS = ["a beep", "rain"]


@pytest.fixture(scope="module")
def interpreter(debug_backend):
    """Untrained, with components that sound."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = interpreter_config(debug_backend, 8)
        interpreter = Interpreter(config, F.normalize(torch.rand(config.bins, 8), dim=0))
        interpreter.psi.last.weight.data *= 0.2
        torch.nn.init.constant_(interpreter.psi.last.bias, 0.5)
        weight = interpreter.theta.linear.weight
        weight.data[1::2] = -weight.data[::2]  # opposites: whatever the prompt, some component speaks for it
    return interpreter.eval().requires_grad_(False)


@pytest.fixture
def desk(tmp_path, beep_in_noise, debug_backend, interpreter, monkeypatch):
    """A folder with a recording, prompts and releases for the debug backend, as the current folder."""
    save_wav(beep_in_noise, tmp_path / "beep.wav")
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS), "utf-8")
    config = release_config(debug_backend, interpreter, None)
    save_release(tmp_path / "open", "l2i", config, interpreter.state_dict())
    monkeypatch.setattr(
        results, "save_explanation_figure", lambda result, path, label: path.write_bytes(b"PNG")
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(*more, method="l2i"):
    model = ("--backend", "debug", "--device", "cpu", "--method", method)
    return ["explain", "beep.wav", "--prompts-file", "prompts.txt", *model, "--out", "out", *more]


def test_explain_writes_a_wav_for_each_component_and_the_rest(desk, capsys):
    assert main(arguments("--option", "release=open")) == 0
    row = json.loads((desk / "out" / "result.json").read_text("utf-8"))
    listed = row["components"]
    assert [entry["file"] for entry in listed] == [
        f"component-{n:02d}.wav" for n in range(1, len(listed) + 1)
    ]
    relevance = [entry["relevance"] for entry in listed]
    assert relevance == sorted(relevance, reverse=True) and row["relevance_threshold"] == 0.1
    found = sorted(path.name for path in (desk / "out").glob("*.wav"))
    assert found == sorted(["kept.wav", "removed.wav", "rest.wav", *(entry["file"] for entry in listed)])
    sounds = {name: soundfile.read(desk / "out" / name)[0] for name in found}
    original = load_clip(desk / "beep.wav").waveform.numpy()
    parts = [sounds[name] for name in found if name not in ("kept.wav", "removed.wav")]
    np.testing.assert_allclose(sum(parts), original, atol=1e-4)
    heard = [sounds[entry["file"]] for entry in listed if entry["relevance"] > 0.1]
    np.testing.assert_allclose(sounds["kept.wav"], sum(heard), atol=1e-4)
    arrays = np.load(desk / "out" / "mask.npz")
    assert arrays["patterns"].shape == (len(listed), 257) and arrays["activations"].shape[0] == len(listed)
    printed = capsys.readouterr().out
    assert "component-01.wav: component" in printed and "one wav per component, rest.wav" in printed


def test_a_threshold_chooses_fewer_components(desk):
    masks = {}
    for threshold in ("0.1", "0.9"):
        assert main(arguments("--option", "release=open", "--option", f"threshold={threshold}")) == 0
        masks[threshold] = np.load(desk / "out" / "mask.npz")["mask"]
    assert (masks["0.1"] >= masks["0.9"] - 1e-6).all() and masks["0.1"].sum() > masks["0.9"].sum()


def test_what_the_closed_set_does_not_know_is_one_sentence(desk, debug_backend, capsys):
    config = interpreter_config(debug_backend, 8, classes=2)
    closed = Interpreter(config, F.normalize(torch.rand(config.bins, 8), dim=0))
    save_release(desk / "closed", "l2i", release_config(debug_backend, closed, PROMPTS), closed.state_dict())
    more = ("--option", "release=closed", "--target", "a cat")
    assert main(arguments(*more, method="l2i-esc50")) == 2
    printed = capsys.readouterr().err
    assert "knows 2 prompts ('a beep', 'rain')" in printed and "a method that takes any prompt" in printed
    assert "Traceback" not in printed and not (desk / "out").exists()


def test_the_archive_of_the_page_holds_the_components(debug_backend, interpreter, beep_in_noise, desk):
    from zipfile import ZipFile

    method = L2I(debug_backend, interpreter=interpreter)
    result = explain_clip(beep_in_noise, PROMPTS, debug_backend, method, measure=False)
    write_archive(result, desk / "all.zip", "debug", "L2I")
    names = ZipFile(desk / "all.zip").namelist()
    assert "component-01.wav" in names and "rest.wav" in names


def test_other_methods_say_nothing_of_components(debug_backend, beep_in_noise):
    from lmaczs.explainers import load_explainer

    result = explain_clip(
        beep_in_noise, PROMPTS, debug_backend, load_explainer("grad-cam", debug_backend), measure=False
    )
    row = result_row(result, "debug")
    assert "components" not in row and "relevance_threshold" not in row
    assert result.listening.components == () and result.listening.rest is None


def test_griffin_lim_comes_nearer_to_the_magnitude_with_every_round(beep_in_noise):
    grid = SpectralConfig(n_fft=512, hop_length=128)
    samples = beep_in_noise.waveform[None, :16000]
    spectrum = stft(samples, grid)
    generator = torch.Generator().manual_seed(0)
    wanted = spectrum * torch.rand(spectrum.shape, generator=generator)
    errors = []
    for steps in (0, 1, 4, 16):
        own = stft(griffin_lim(wanted, grid, samples.shape[1], steps), grid).abs()
        errors.append(float((own - wanted.abs()).norm() / wanted.abs().norm()))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.9 * errors[0]
    torch.testing.assert_close(griffin_lim(spectrum, grid, samples.shape[1], 3), samples, atol=1e-4, rtol=0)
