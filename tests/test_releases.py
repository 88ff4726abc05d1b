"""The embedded weights still give what they gave when they were exported."""

import pytest
import torch

from lmaczs import load_backend, load_explainer
from lmaczs.errors import PromptError
from lmaczs.hub import find_release, load_golden, load_release
from lmaczs.types import TextState


def test_embedded_decoder_reproduces_its_golden_mask():
    backend = load_backend("compact")
    golden = load_golden(find_release("lmac-zs-compact-stft"))
    with torch.no_grad():
        audio = backend.analyze(golden["waveform"])
    text = TextState(("alarm clock",), golden["text_embedding"])
    mask = load_explainer("lmac-zs", backend).masks(audio, text)
    # A soft edge is steep: 1e-3 of the mask is 1e-3 / 3 of a standard deviation of the logits.
    assert (mask[:, ::4, ::4] - golden["mask"]).abs().max() < 1e-3


@pytest.mark.parametrize("name", ["l2i", "l2i-esc50"])
def test_embedded_interpreters_reproduce_their_golden_masks(name):
    backend = load_backend("compact")
    explainer = load_explainer(name, backend)
    golden = load_golden(find_release(explainer.release_name.format(backend="compact")))
    with torch.no_grad():
        audio = backend.analyze(golden["waveform"])
    prompt = "alarm clock" if explainer.prompts is None else explainer.prompts[0]
    text = TextState((prompt,), golden["text_embedding"])
    contribution = explainer.decompose(audio, text).contribution
    torch.testing.assert_close(contribution, golden["contribution"], atol=1e-3, rtol=1e-3)
    assert (explainer.masks(audio, text)[:, ::4, ::4] - golden["mask"]).abs().max() < 1e-3


def test_the_closed_set_is_esc_50_and_refuses_other_prompts():
    backend = load_backend("compact")
    explainer = load_explainer("l2i-esc50", backend)
    assert len(explainer.prompts) == 50 and "this is the sound of toilet flush" in explainer.prompts
    with pytest.raises(
        PromptError, match="knows 50 prompts .*'a cat purring' is none of them.* method 'l2i'"
    ):
        explainer.check_prompts(["a cat purring"])


def test_the_dictionary_is_the_one_of_the_interpreters():
    dictionary = load_release("l2i-nmf-compact", "nmf").state["dictionary"]
    for name in ("l2i-open-compact", "l2i-esc50-compact"):
        torch.testing.assert_close(
            load_release(name, "l2i").state["dictionary"], dictionary, atol=1e-3, rtol=0
        )
    torch.testing.assert_close(dictionary.norm(dim=0), torch.ones(dictionary.shape[1]))
