"""Releases learn whom they explain, without a change of their weights; one that knows already is not talked over."""

import json

import pytest
import torch

from lmaczs import load_explainer
from lmaczs.clap.decisions import Head, HeadConfig, load_head, save_head
from lmaczs.errors import CheckpointError
from lmaczs.explainers.l2i.explainer import interpreter_config
from lmaczs.explainers.l2i.explainer import release_config as l2i_config
from lmaczs.explainers.l2i.networks import Interpreter
from lmaczs.explainers.lmac_zs.explainer import build_decoder, decoder_config, release_config
from lmaczs.hub import save_release, weights_sha256
from lmaczs.release_config import CONFIG, WEIGHTS
from train.explained import check_explained, remember_explained
from train.golden import golden_error
from train.rebind import rebind


def make_release(folder, backend, method):
    """A release of an older version: it names its CLAP only."""
    torch.manual_seed(0)
    if method == "lmac-zs":
        network = build_decoder(backend, decoder_config(backend, "stft"))
        config = release_config(backend, network, "contrast")
    else:
        network = Interpreter(interpreter_config(backend, 8))
        config = l2i_config(backend, network, None)
    older = {key: value for key, value in config.items() if key != "backend_sha256"}
    return save_release(folder, method, older, network.state_dict())


@pytest.mark.parametrize("method", ["lmac-zs", "l2i"])
def test_an_older_release_is_bound_and_keeps_its_weights(debug_backend, tmp_path, method):
    folder = make_release(tmp_path / "made", debug_backend, method)
    before = (folder / WEIGHTS).read_bytes()
    with pytest.raises(CheckpointError, match="train.rebind"):
        load_explainer(method, debug_backend, release=folder)
    rebind(folder, debug_backend)
    assert (folder / WEIGHTS).read_bytes() == before
    config = json.loads((folder / CONFIG).read_text())
    assert config["backend_sha256"] == weights_sha256(debug_backend)
    load_explainer(method, debug_backend, release=folder)
    assert golden_error(folder) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_release_that_names_other_weights_is_refused(debug_backend, tmp_path):
    folder = make_release(tmp_path / "made", debug_backend, "lmac-zs")
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, "backend_sha256": "0" * 64}))
    with pytest.raises(CheckpointError, match="trained for other weights of 'debug'"):
        rebind(folder, debug_backend)
    assert json.loads((folder / CONFIG).read_text())["backend_sha256"] == "0" * 64


def test_what_explains_no_classifier_is_refused(debug_backend, tmp_path):
    folder = save_release(tmp_path / "nmf", "nmf", {"backend": "debug"}, {"dictionary": torch.ones(3, 2)})
    with pytest.raises(CheckpointError, match="'nmf' weights, which explain no classifier"):
        rebind(folder, debug_backend)


def test_an_interpreter_of_a_head_is_refused_with_another_head(debug_backend, tmp_path):
    from lmaczs.explainers.l2i.explainer import load_interpreter

    heads = []
    for seed in range(2):
        torch.manual_seed(seed)
        head = Head(HeadConfig(("a", "b"), debug_backend.hidden_channels[-1])).eval()
        heads.append(load_head(save_head(tmp_path / f"head{seed}", debug_backend, head), debug_backend).head)
    network = Interpreter(interpreter_config(debug_backend, 8, classes=2))
    config = l2i_config(debug_backend, network, ["a", "b"], heads[0])
    folder = save_release(tmp_path / "made", "l2i", config, network.state_dict())
    assert load_interpreter(folder, debug_backend, heads[0])[1] == ("a", "b")
    with pytest.raises(CheckpointError, match="for other weights of the head that it explains"):
        load_interpreter(folder, debug_backend, heads[1])


def test_a_run_goes_on_for_the_same_weights_only(debug_backend, tmp_path):
    remember_explained(tmp_path / "run", debug_backend)
    remember_explained(tmp_path / "run", debug_backend)
    check_explained(tmp_path / "run", debug_backend)
    other = torch.nn.Linear(2, 2)
    other.name = "debug"
    with pytest.raises(CheckpointError, match="'run' was begun for a classifier with other weights"):
        remember_explained(tmp_path / "run", other)
    check_explained(tmp_path / "older", other)
