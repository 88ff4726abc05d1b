"""Release folders: what is written comes back, damage is refused, what is missing says the way on."""

import hashlib
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import save_file

from lmaczs import hub, load_explainer, release_names
from lmaczs.clap.compact2_release import NAME as COMPACT2
from lmaczs.clap.compact2_release import load_compact2
from lmaczs.clap.compact_release import GOLDEN_PROMPT, KIND, golden_tensors, load_compact, save_compact
from lmaczs.clap.debug import HashedSentences, build_debug
from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.explainers.l2i.explainer import interpreter_config
from lmaczs.explainers.l2i.explainer import release_config as l2i_config
from lmaczs.explainers.l2i.networks import Interpreter
from lmaczs.explainers.lmac_zs.explainer import build_decoder, decoder_config, release_config
from lmaczs.hearing import listen, make_target
from lmaczs.hub import load_golden, load_release, save_release, weights_sha256
from lmaczs.release_config import CONFIG as CONFIG_FILE
from lmaczs.release_config import GOLDEN, LFS_POINTER, WEIGHTS
from lmaczs.release_names import embedded_releases, find_release
from lmaczs.signal.audio import make_clip

CONFIG = {"backend": "debug", "widths": [4, 8], "nested": {"f_min": 50.0, "name": "hören"}}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def weights():
    generator = torch.Generator().manual_seed(0)
    return {
        "kernel": torch.randn(4, 3, 2, generator=generator),
        "bias": torch.randn(4, generator=generator),
        "count": torch.tensor(70_000),
    }


@pytest.fixture
def release(tmp_path):
    extras = {"training": {"steps": 3}, "metrics": [{"n": 1}]}
    return save_release(tmp_path / "model", "thing", CONFIG, weights(), **extras)


def test_a_release_comes_back_as_it_was(release):
    config, state, folder = load_release(release, "thing")
    assert config == CONFIG and folder == release
    assert all(torch.equal(state[name], value) for name, value in weights().items())
    assert json.loads((release / "training.json").read_text()) == {"steps": 3}
    assert load_golden(release) is None


def test_halves_are_stored_for_matrices_only_and_read_as_float32(tmp_path):
    folder = save_release(tmp_path / "half", "thing", CONFIG, weights(), half=True)
    whole = save_release(tmp_path / "whole", "thing", CONFIG, weights())
    state = load_release(folder, "thing").state
    assert {state["kernel"].dtype, state["bias"].dtype} == {torch.float32}
    assert torch.equal(state["kernel"], weights()["kernel"].half().float())
    assert torch.equal(state["bias"], weights()["bias"]) and int(state["count"]) == 70_000
    assert (folder / WEIGHTS).stat().st_size < (whole / WEIGHTS).stat().st_size


def test_values_beyond_float16_stay_exact(tmp_path):
    large = {"kernel": torch.tensor([[1e6, 1.0]])}
    folder = save_release(tmp_path / "half", "thing", {}, large, half=True)
    assert torch.equal(load_release(folder, "thing").state["kernel"], large["kernel"])


def test_equal_releases_have_equal_bytes_and_leave_nothing_beside(tmp_path):
    for name in ("first", "second"):
        save_release(tmp_path / name, "thing", CONFIG, weights(), golden={"waveform": torch.ones(1, 5)})
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_saving_again_replaces_the_release(release):
    save_release(release, "thing", {"new": 1}, {"kernel": torch.zeros(2)})
    config, state, _ = load_release(release, "thing")
    assert config == {"new": 1} and list(state) == ["kernel"]
    assert not (release / "training.json").exists()
    assert [path.name for path in release.parent.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_old_release(release, monkeypatch):
    def full_disk(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(hub, "write_json", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_release(release, "thing", {"new": 1}, weights())
    assert load_release(release, "thing").config == CONFIG
    assert [path.name for path in release.parent.iterdir()] == ["model"]


def test_a_folder_of_other_files_is_not_replaced(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not a release"):
        save_release(tmp_path, "thing", CONFIG, weights())
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("config", [{"format": 1}, {"kind": "x"}])
def test_reserved_keys_are_refused(tmp_path, config):
    with pytest.raises(ValueError, match="must not hold"):
        save_release(tmp_path / "model", "thing", config, weights())


def test_weights_that_are_not_finite_are_not_released(tmp_path):
    with pytest.raises(ValueError, match="'kernel' is not finite"):
        save_release(tmp_path / "model", "thing", {}, {"kernel": torch.tensor([1.0, torch.nan])})
    assert not (tmp_path / "model").exists()


def edit_config(folder, **changes):
    path = folder / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def flip_a_byte(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-3] ^= 1
    (folder / WEIGHTS).write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, "is damaged"),
        (lambda folder: (folder / WEIGHTS).write_bytes(LFS_POINTER), "git lfs pull"),
        (lambda folder: (folder / WEIGHTS).unlink(), "no readable model.safetensors"),
        (lambda folder: (folder / CONFIG_FILE).unlink(), "is no release"),
        (lambda folder: (folder / CONFIG_FILE).write_text("{"), "cannot be read"),
        (lambda folder: (folder / CONFIG_FILE).write_text("[]"), "does not describe a release"),
        (lambda folder: edit_config(folder, format=2), "has format 2"),
        (lambda folder: edit_config(folder, kind="other"), "holds 'other' weights, but 'thing'"),
        (lambda folder: edit_config(folder, weights_sha256=None), "lacks 'weights_sha256'"),
    ],
    ids=["flipped", "pointer", "no-weights", "no-config", "no-json", "list", "format", "kind", "no-hash"],
)
def test_a_damaged_release_is_refused_in_one_sentence(release, damage, words):
    damage(release)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_release(release, "thing")
    assert "'model'" in str(caught.value) and str(release.parent) not in str(caught.value)


def test_a_file_that_is_no_safetensors_is_refused_even_with_the_right_hash(release):
    (release / WEIGHTS).write_bytes(b"garbage")
    edit_config(release, weights_sha256=hashlib.sha256(b"garbage").hexdigest())
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_release(release, "thing")


def test_embedded_releases_are_found_by_name_in_either_place(release, tmp_path, monkeypatch):
    assets = tmp_path / "assets"
    (assets / "releases").mkdir(parents=True)
    shutil.copytree(release, assets / "releases" / "thing-1")
    shutil.copytree(release, assets / "releases" / "broken")
    (assets / "releases" / "broken" / CONFIG_FILE).write_text("{")
    monkeypatch.setattr(release_names, "asset_folders", lambda: (tmp_path / "nowhere", assets))
    assert embedded_releases() == {"broken": "damaged", "thing-1": "thing"}
    assert load_release("thing-1", "thing").config == CONFIG


@pytest.mark.parametrize("name", ["no-such-release", "../model", "a/b/c", "owner/name"])
def test_an_unknown_release_names_the_known_ones(name):
    with pytest.raises(BackendUnavailableError, match="compact-clap-2"):
        find_release(name)


@pytest.mark.parametrize("revision", ["main", "v1.0", "0123456"])
def test_a_hub_release_needs_a_pinned_commit(revision):
    with pytest.raises(BackendUnavailableError, match="full commit hash"):
        find_release("owner/name", revision=revision)


def test_a_hub_release_that_is_not_here_says_so_offline():
    with pytest.raises(BackendUnavailableError, match="not on this machine") as caught:
        find_release("owner/name", revision=COMMIT)
    assert "\n" not in str(caught.value)


def test_a_hub_release_is_fetched_at_its_commit(release, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot(repository, **options):
        asked.append((repository, options["revision"]))
        return str(release)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert load_release("owner/name", "thing", revision=COMMIT).config == CONFIG
    assert asked == [("owner/name", COMMIT)]


@pytest.fixture
def clap_release(tmp_path):
    return save_compact(tmp_path / "clap", build_debug(), half=False)


def test_a_clap_release_rebuilds_the_model_exactly(clap_release, debug_backend):
    loaded = load_compact(clap_release, HashedSentences())
    golden = load_golden(clap_release)
    assert loaded.config == debug_backend.config and not loaded.training
    assert torch.equal(loaded.analyze(golden["waveform"]).embedding, golden["embedding"])
    assert torch.equal(debug_backend.analyze(golden["waveform"]).embedding, golden["embedding"])
    assert torch.equal(loaded.encode_text([GOLDEN_PROMPT]).embedding, golden["text_embedding"])


GRID = {"sample_rate": 16000, "n_fft": 512, "hop_length": 320, "n_mels": 32, "f_min": 50.0, "f_max": 8000.0}


def nested(depth):
    value = "deep"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embed_dim": 17}, "do not fit its config.json"),
        ({"widths": [2**16] * 5}, "do not fit its config.json"),  # 150 GB, were it built
        ({"widths": None}, "'widths'"),
        ({"widths": []}, "number of widths 0"),
        ({"widths": [1, 2, 3, 4, 0]}, "smallest width 0"),
        ({"widths": "abcde"}, "'widths'"),
        ({"colour": "red"}, "'colour', which is no setting"),
        ({"clip_seconds": 1e9}, "clip_seconds 1e.09"),
        ({"clip_seconds": True}, "'clip_seconds' holds True"),
        ({"floor_db": -3}, "floor_db -3"),
        ({"spectral": GRID | {"sample_rate": 0}}, "sample_rate 0"),
        ({"spectral": GRID | {"hop_length": 0}}, "hop_length 0"),
        ({"spectral": GRID | {"n_fft": 0}}, "n_fft 0"),
        ({"spectral": GRID | {"n_mels": 10**9}}, "n_mels 1e.09"),
        ({"spectral": GRID | {"f_max": 9000.0}}, "f_max 9000"),
        ({"spectral": GRID | {"window": [1.0]}}, "number of window weights 1"),
        ({"spectral": GRID | {"sample_rate": "16 kHz"}}, "'sample_rate' holds '16 kHz'"),
        ({"spectral": []}, "give settings by name"),
        ({"embed_dim": nested(900)}, "'embed_dim' holds"),
    ],
)
def test_values_that_make_no_clap_are_refused_in_one_sentence(clap_release, change, words):
    edit_config(clap_release, **change)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_compact(clap_release, HashedSentences())
    assert "'clap'" in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("value", ["[" * 100_000, '{"format": 1, "kind": NaN}', "\xff", '{"a":' * 100_000])
def test_json_that_nobody_can_read_is_refused(release, value):
    (release / CONFIG_FILE).write_text(value, "latin-1")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_release(release, "thing")


def not_finite(folder):
    save_file({"kernel": torch.tensor([[1.0, float("nan")]])}, folder / WEIGHTS)
    edit_config(folder, weights_sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest())


def link(name, target):
    def damage(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return damage


def queue(folder):
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


def endless(folder):
    with (folder / WEIGHTS).open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (not_finite, "not a finite number, in 'kernel'"),
        (link(WEIGHTS, "/dev/zero"), "model.safetensors of 'model' is no file of at most"),
        (link(CONFIG_FILE, "/dev/zero"), "config.json of 'model' is no file of at most"),
        (link(WEIGHTS, "/proc/self/mem"), "model.safetensors"),
        (queue, "is no file of at most"),
        (endless, "is no file of at most"),
    ],
    ids=["nan", "zero", "endless-config", "memory", "fifo", "sparse"],
)
def test_weights_that_cannot_be_used_are_refused_before_they_cost_anything(release, damage, words):
    damage(release)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_release(release, "thing")
    assert "'model'" in str(caught.value) and "\n" not in str(caught.value)


def test_golden_tensors_that_cannot_be_read_are_refused(release):
    (release / GOLDEN).write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="golden.safetensors of 'model' is no safetensors file"):
        load_golden(release)


def test_the_hash_of_weights_is_of_names_types_shapes_and_values():
    class Two(torch.nn.Module):
        name = "two"

        def __init__(self, first="a", second="b", shape=(2, 3), dtype=torch.float32):
            super().__init__()
            values = torch.arange(6, dtype=dtype).reshape(shape)
            self.register_buffer(first, values)
            self.register_buffer(second, torch.tensor(True))

    hashes = {
        weights_sha256(Two()),
        weights_sha256(Two("c")),
        weights_sha256(Two(shape=(3, 2))),
        weights_sha256(Two(dtype=torch.int32)),
    }
    assert len(hashes) == 4 and weights_sha256(Two()) in hashes
    changed = Two()
    changed.a.data[1, 2] += 1e-6  # in place, past every counter of changes
    assert weights_sha256(changed) not in hashes
    swapped = Two()
    swapped._buffers = dict(reversed(swapped._buffers.items()))
    assert weights_sha256(swapped) == weights_sha256(Two())


@pytest.mark.parametrize("method", ["lmac-zs", "l2i"])
def test_a_clap_with_one_changed_weight_is_refused(debug_backend, tmp_path, method):
    torch.manual_seed(0)
    if method == "lmac-zs":
        network = build_decoder(debug_backend, decoder_config(debug_backend, "stft"))
        config = release_config(debug_backend, network, "contrast")
    else:
        network = Interpreter(interpreter_config(debug_backend, 8))
        config = l2i_config(debug_backend, network, None)
    folder = save_release(tmp_path / "made", method, config, network.state_dict())
    loaded = load_explainer(method, debug_backend, release=folder)
    parameter = next(iter(debug_backend.parameters()))
    kept = parameter.detach().clone()
    try:
        with torch.no_grad():
            parameter.flatten()[0].add_(1e-3)
        with pytest.raises(
            CheckpointError, match="for other weights of 'debug' than those that are"
        ) as caught:
            load_explainer(method, debug_backend, release=folder)
        assert "\n" not in str(caught.value) and "train" in str(caught.value)
        # What is loaded stays usable: sanity checks change weights on purpose.
        recording = listen(make_clip(torch.randn(debug_backend.clip_samples), 16000), debug_backend)
        loaded.explain(recording, make_target(debug_backend, "a beep"))
    finally:
        with torch.no_grad():
            parameter.copy_(kept)
    load_explainer(method, debug_backend, release=folder)
    edit_config(folder, backend_sha256=None)
    with pytest.raises(CheckpointError, match="does not say|for other weights"):
        load_explainer(method, debug_backend, release=folder)
    rest = {key: value for key, value in config.items() if key != "backend_sha256"}
    save_release(folder, method, rest, network.state_dict())
    with pytest.raises(CheckpointError, match="does not say which weights.*train.rebind"):
        load_explainer(method, debug_backend, release=folder)


@pytest.mark.parametrize(
    "change",
    [
        {"objective": "other"},
        {"objective": 3},
        {"decoder": {"hidden_channels": 0, "text_dim": 8}},
        {"decoder": None},
    ],
)
def test_values_that_make_no_decoder_are_refused(debug_backend, tmp_path, change):
    decoder = build_decoder(debug_backend, decoder_config(debug_backend, "stft"))
    config = release_config(debug_backend, decoder, "contrast") | change
    folder = save_release(tmp_path / "made", "lmac-zs", config, decoder.state_dict())
    with pytest.raises(CheckpointError, match="config.json of the release 'made' at '(objective|decoder)"):
        load_explainer("lmac-zs", debug_backend, release=folder)


@pytest.mark.parametrize(
    "shape", [{"num_heads": 0}, {"num_heads": 7}, {"channels": [1, 2]}, {"n_mels": 10**9}, {"domain": "cqt"}]
)
def test_shapes_that_make_no_decoder_are_refused(debug_backend, tmp_path, shape):
    decoder = build_decoder(debug_backend, decoder_config(debug_backend, "stft"))
    config = release_config(debug_backend, decoder, "contrast")
    config |= {"decoder": config["decoder"] | shape}
    folder = save_release(tmp_path / "made", "lmac-zs", config, decoder.state_dict())
    with pytest.raises(CheckpointError, match="at 'decoder' cannot be used"):
        load_explainer("lmac-zs", debug_backend, release=folder)


@pytest.mark.parametrize("name", [name for name, kind in embedded_releases().items() if kind == KIND])
def test_an_embedded_clap_reproduces_its_golden_example(name):
    folder = find_release(name)
    golden = load_golden(folder)
    load = load_compact2 if name == COMPACT2 else load_compact
    fresh = golden_tensors(load(name), golden["waveform"])
    for key in ("embedding", "text_embedding"):
        torch.testing.assert_close(fresh[key], golden[key], atol=1e-4, rtol=0)  # other CPUs round differently
