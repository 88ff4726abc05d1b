"""The embedded weights still give what they gave when they were exported, and know whom they explain."""

import pytest
import torch

from lmaczs import load_backend, load_explainer
from lmaczs.errors import PromptError
from lmaczs.hub import load_golden, load_release, weights_sha256
from lmaczs.release_names import embedded_releases, find_release
from train.golden import TOLERANCE, golden_error

METHODS = [name for name, kind in embedded_releases().items() if kind in ("lmac-zs", "lmac-any", "l2i")]
OF_ONE = [name for name in METHODS if name != "lmac-any"]


@pytest.mark.parametrize("name", METHODS)
def test_an_embedded_method_reproduces_its_golden_explanation(name):
    golden = load_golden(find_release(name))
    # An empty mask would be easy to reproduce.
    assert golden["mask"].max() > 0.02
    assert golden_error(find_release(name)) < TOLERANCE[kind_of(name)]


def kind_of(name):
    return embedded_releases()[name]


@pytest.mark.parametrize("name", OF_ONE)
def test_an_embedded_method_names_the_weights_of_the_embedded_clap(name):
    config = load_release(name, kind_of(name)).config
    assert config["backend"] == "compact-2"
    assert config["backend_sha256"] == weights_sha256(load_backend(config["backend"]))


def test_the_closed_set_is_esc_50_and_refuses_other_prompts():
    backend = load_backend("compact-2")
    explainer = load_explainer("l2i-esc50", backend)
    assert len(explainer.prompts) == 50 and "this is the sound of toilet flush" in explainer.prompts
    with pytest.raises(
        PromptError, match="knows 50 prompts .*'a cat purring' is none of them.* such as 'l2i'"
    ):
        explainer.check_prompts(["a cat purring"])


def test_the_dictionary_is_the_one_of_the_interpreters():
    dictionary = load_release("l2i-nmf-compact-2", "nmf").state["dictionary"]
    for name in ("l2i-open-compact-2", "l2i-esc50-compact-2"):
        torch.testing.assert_close(
            load_release(name, "l2i").state["dictionary"], dictionary, atol=1e-3, rtol=0
        )
    torch.testing.assert_close(dictionary.norm(dim=0), torch.ones(dictionary.shape[1]))
