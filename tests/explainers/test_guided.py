"""LMAC-ZS with a guide: it begins as the universal decoder, reads the prompt through the maps, knows its classifier."""

import pytest
import torch

from lmaczs import load_explainer
from lmaczs.clap.debug import build_debug
from lmaczs.clap.recording import listen
from lmaczs.errors import CheckpointError
from lmaczs.explainers import default_method, entry_of
from lmaczs.explainers.lmac_any.explainer import LMACAny
from lmaczs.explainers.lmac_zs.guided import GuidedDecoder, GuidedLMACZS, guided_config, guided_release
from lmaczs.hearing import make_target
from lmaczs.hub import save_release
from lmaczs.release_names import decoder_release
from lmaczs.sanity.randomise import method_block

PROMPTS = ("a beep", "rain", "a dog")


def fresh(backend):
    """A guided decoder around the embedded universal one."""
    torch.manual_seed(0)
    network = GuidedDecoder(guided_config(backend))
    network.order.load_state_dict(LMACAny(backend).decoder[0].state_dict())
    return network.eval()


@pytest.fixture
def guided(debug_backend):
    return GuidedLMACZS(debug_backend, network=fresh(debug_backend), needed_gain=0.0)


def stirred(method):
    """The same with a guide that says something."""
    torch.manual_seed(1)
    torch.nn.init.normal_(method.network.enter.weight, std=0.5)
    return method


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_a_fresh_guide_adds_nothing(debug_backend, beep_in_noise, domain):
    recording = listen(beep_in_noise, debug_backend)
    target = make_target(debug_backend, "a beep", PROMPTS)
    both = (
        GuidedLMACZS(debug_backend, domain, network=fresh(debug_backend), needed_gain=0.0),
        LMACAny(debug_backend, domain),
    )
    orders = [method.rank_windows(next(iter(recording.batches(debug_backend))), target)[0] for method in both]
    assert torch.allclose(orders[0], orders[1], atol=1e-5)


def test_the_guide_reads_the_prompt_and_the_maps(debug_backend, guided, beep_in_noise):
    """With the relevance as it is, another prompt or other deep maps change the order of the cells."""
    stirred(guided)
    audio = next(iter(listen(beep_in_noise, debug_backend).batches(debug_backend)))
    target = make_target(debug_backend, "a beep", PROMPTS)
    found = guided._relevance(audio, target)
    _, _, attribution = guided._ranked(audio, target, found)
    from lmaczs.explainers.gradients import grid_power
    from lmaczs.explainers.lmac_any.network import cell_details

    cells = cell_details(grid_power(audio, "stft"), attribution, guided._spread)
    text = target.embedding.expand(len(audio.embedding), -1)
    with torch.no_grad():
        order, _ = guided.network(found, cells, audio.hidden, text)
        other_text, _ = guided.network(found, cells, audio.hidden, -text)
        flat = (*audio.hidden[:2], *(torch.ones_like(level) for level in audio.hidden[2:]))
        no_maps, _ = guided.network(found, cells, flat, text)
        nothing, _ = guided.network(found, cells, flat, -text)
    assert (order - other_text).abs().max() > 1e-3 and (order - no_maps).abs().max() > 1e-3
    # Where the maps are the same everywhere, centred scores say nothing, whatever the prompt.
    assert torch.allclose(no_maps, nothing, atol=1e-4)


def test_a_release_knows_its_classifier_and_serves_both_domains(
    debug_backend, guided, beep_in_noise, tmp_path
):
    stirred(guided)
    folder = save_release(
        tmp_path / "own",
        "lmac-zs",
        guided_release(debug_backend, guided.network, 0.125),
        guided.network.state_dict(),
    )
    target = make_target(debug_backend, "a beep", PROMPTS)
    recording = listen(beep_in_noise, debug_backend)
    for domain in ("stft", "mel"):
        read = load_explainer("lmac-zs", debug_backend, domain, release=folder)
        assert isinstance(read, GuidedLMACZS) and read.domain == domain and read.needed_gain == 0.125
        assert (read.name, read.label) == ("lmac-zs", entry_of("lmac-zs").label)
        assert not any(value.requires_grad for value in read.network.parameters())
    again = load_explainer("lmac-zs", debug_backend, "stft", release=folder)
    own = GuidedLMACZS(debug_backend, network=guided.network, needed_gain=0.125)
    assert torch.equal(again.explain(recording, target).mask, own.explain(recording, target).mask)
    with pytest.raises(CheckpointError, match="other weights"):
        load_explainer("lmac-zs", build_debug(seed=1), release=folder)


def test_its_own_weights_can_be_made_random(guided):
    block = method_block(guided)
    assert block is not None
    own = set(guided.network.modules())
    assert all(module in own for module in block.modules)


def test_one_release_for_both_domains_is_found_by_its_short_name(monkeypatch):
    monkeypatch.setenv("LMACZS_RELEASES", "lmac-zs-toy=somewhere lmac-zs-both=a lmac-zs-both-stft=b")
    assert decoder_release("toy", "stft") == decoder_release("toy", "mel") == "lmac-zs-toy"
    assert decoder_release("both", "stft") == "lmac-zs-both-stft"
    assert decoder_release("both", "mel") == "lmac-zs-both"
    assert decoder_release("none", "mel") == "lmac-zs-none-mel"
    assert default_method("toy", "mel") == "lmac-zs" and default_method("none") == "lmac-any"
