"""Foreign checkpoints: read without running their code, renamed, joined, loaded strictly."""

import pickle

import pytest
import torch
from torch import nn

from lmaczs.clap.convert import KeyMap, honour_stft, load_strictly, read_checkpoint
from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.release_config import LFS_POINTER
from lmaczs.signal.spectral import SpectralConfig

STATE = {"net.weight": torch.arange(6.0).view(2, 3), "net.bias": torch.tensor([1.0, 2.0])}


class Bomb:
    """Pickles to a call."""

    def __reduce__(self):
        return print, ("boom",)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"model": s, "epoch": 3}, lambda s: {"state_dict": s}]
)
@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "legacy"])
def test_checkpoints_are_read_in_their_usual_wrappings(tmp_path, wrap, old_format):
    torch.save(wrap(STATE), tmp_path / "a.pth", _use_new_zipfile_serialization=not old_format)
    found = read_checkpoint(tmp_path / "a.pth")
    assert set(found) == set(STATE) and all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_safetensors_are_read(tmp_path):
    from safetensors.torch import save_file

    save_file(STATE, tmp_path / "a.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "a.safetensors")["net.bias"], STATE["net.bias"])


def test_code_in_a_file_is_not_run(tmp_path, capfd):
    torch.save({"model": STATE, "extra": Bomb()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Bomb()))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(CheckpointError, match=f"'{name}' cannot be read as weights"):
            read_checkpoint(tmp_path / name)
    assert "boom" not in capfd.readouterr().out


def test_half_a_file_is_refused_whatever_its_kind(tmp_path):
    from safetensors.torch import save_file

    torch.save(STATE, tmp_path / "a.pth")
    save_file(STATE, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(CheckpointError, match="damaged or only partly there") as caught:
            read_checkpoint(path)
        assert str(tmp_path) not in str(caught.value)


def test_pointers_empty_files_and_missing_files_have_their_own_sentences(tmp_path):
    (tmp_path / "a.pth").write_bytes(LFS_POINTER + b"/v1")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        read_checkpoint(tmp_path / "a.pth")
    torch.save({"epoch": 3}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="holds no tensors"):
        read_checkpoint(tmp_path / "b.pth")
    with pytest.raises(BackendUnavailableError, match="no file 'c.pth'"):
        read_checkpoint(tmp_path / "c.pth")


def test_keys_are_renamed_ignored_and_joined_in_order():
    keys = KeyMap(
        renamed=((r"^old\.", "new."), (r"\.value$", ".part.1"), (r"\.query$", ".part.0")),
        ignored=(r"old\.index",),
        joined=r"(new\..*)\.part\.([01])()",
    )
    given = {
        "old.b.value": torch.ones(1),
        "old.b.query": torch.zeros(1),
        "old.index": torch.ones(1),
        "x": torch.ones(1),
    }
    found = keys.apply(given)
    assert set(found) == {"new.b", "x"}
    assert found["new.b"].tolist() == [0.0, 1.0]


def test_half_precision_becomes_float32_and_counters_stay():
    found = KeyMap(()).apply({"a": torch.ones(2).half(), "n": torch.tensor(3)})
    assert found["a"].dtype == torch.float32 and found["n"].dtype == torch.int64


def linear():
    return nn.ModuleDict({"net": nn.Linear(3, 2)})


def test_a_fitting_state_is_loaded():
    model = linear()
    load_strictly(model, STATE, KeyMap(()), "a.pth")
    assert torch.equal(model["net"].weight, STATE["net.weight"])


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"net.weight": STATE["net.weight"]}, "it lacks: net.bias;"),
        (STATE | {"a": STATE["net.bias"]}, "it has unknown weights: a;"),
        ({}, "it lacks: net.weight, net.bias;"),
        (STATE | {"net.bias": torch.ones(5)}, r"net.bias is \(5,\) instead of \(2,\)"),
        (STATE | {c: torch.ones(1) for c in "abcd"}, "unknown weights: a, b and 2 more;"),
    ],
)
def test_a_state_that_does_not_fit_is_named(state, words):
    model = linear()
    before = model["net"].weight.clone()
    with pytest.raises(CheckpointError, match=words):
        load_strictly(model, state, KeyMap(()), "a.pth")
    assert torch.equal(model["net"].weight, before)


def fourier(window):
    size = len(window)
    turns = torch.outer(torch.arange(size // 2 + 1), torch.arange(size)) % size
    angle = 2 * torch.pi / size * turns
    return (window * angle.cos()).unsqueeze(1), (-window * angle.sin()).unsqueeze(1)


def test_the_stored_stft_says_which_window_it_uses():
    grid = SpectralConfig(n_fft=1024, hop_length=7)
    assert honour_stft(grid, *fourier(torch.hann_window(1024)), "x") == grid
    other = honour_stft(grid, *fourier(torch.hamming_window(256)), "x")
    assert (other.n_fft, other.hop_length) == (256, 7)
    torch.testing.assert_close(other.window_like(torch.zeros(1)), torch.hamming_window(256))


def test_kernels_that_are_no_fourier_transform_are_refused():
    real, imaginary = fourier(torch.hann_window(64))
    for broken in ((real, -imaginary), (real.flip(2), imaginary), (real[:-1], imaginary[:-1])):
        with pytest.raises(CheckpointError, match="no windowed Fourier transform"):
            honour_stft(SpectralConfig(), *broken, "x")
