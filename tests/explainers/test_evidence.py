"""Nothing in a sound speaks for a prompt: every method that can tell says so, keeps nothing and plays silence."""

import pytest
import torch

from lmaczs.clap.target import make_target
from lmaczs.explainers import METHODS, entry_of, load_explainer
from lmaczs.explainers.areas import AREAS
from lmaczs.explainers.base import WindowMaps
from lmaczs.explainers.lmac_zs.explainer import LMACZS, build_decoder, decoder_config
from lmaczs.hearing import explain, listen, split

QUICK = {
    "smoothgrad": {"n": 2},
    "integrated-gradients": {"steps": 2},
    "occlusion": {"bands": 16, "seconds": 1.0},
    "rise": {"n": 10},
    "slime": {"n": 20},
    "optimized-mask": {"steps": 2},
}
both_domains = pytest.mark.parametrize("domain", ["stft", "mel"])


def assert_nothing_is_kept(explanation, recording, method, backend):
    listening = split(recording, explanation, method, backend)
    assert explanation.evidence == "absent"
    assert not explanation.mask.any()
    assert not listening.kept.waveform.any()
    assert torch.equal(listening.removed.waveform, recording.clip.waveform)


@pytest.mark.parametrize("name", [name for name in METHODS if not entry_of(name).trained])
@both_domains
def test_a_model_that_hears_nothing_leaves_nothing(deaf_backend, three_windows, name, domain):
    """Rounding errors are no evidence, although any map could be divided by its largest value."""
    deaf_backend.noise = 1e-7 if name in ("occlusion", "rise", "slime") else 0.0
    recording = listen(three_windows, deaf_backend)
    method = load_explainer(name, deaf_backend, domain, **QUICK.get(name, {}))
    found = method.explain(recording, make_target(deaf_backend, "a beep"))
    assert_nothing_is_kept(found, recording, method, deaf_backend)


@both_domains
def test_a_fitted_mask_is_absent_where_the_prompt_is_not_heard(planted_backend, make_beep, domain):
    """White noise alone, and a model that knows beeps only by their power."""
    clip = make_beep(3.0)
    quiet = type(clip)(0.02 * (clip.waveform - clip.waveform.roll(1)).clamp(-0.1, 0.1), 16000, "noise")
    recording = listen(quiet, planted_backend)
    method = load_explainer("optimized-mask", planted_backend, domain, steps=3)
    found = method.explain(recording, make_target(planted_backend, "a beep", ("rain",)))
    assert_nothing_is_kept(found, recording, method, planted_backend)
    beep = listen(clip, planted_backend)
    heard = method.explain(beep, make_target(planted_backend, "a beep", ("rain",)))
    assert heard.evidence == "present" and heard.mask.any()


def decoder_that_says_nothing(backend, objective, domain):
    """Weights of zero; its sigmoid is closed too, for the paper's objective takes that for the mask."""
    decoder = build_decoder(backend, decoder_config(backend, domain)).eval()
    for weight in decoder.parameters():
        weight.data.zero_()
    if objective == "paper":
        decoder.last.bias.data[0] = -20.0
    return decoder.requires_grad_(False)


@both_domains
@pytest.mark.parametrize("objective", ["contrast", "paper"])
def test_a_decoder_that_puts_out_nothing_keeps_nothing(debug_backend, recording, target, objective, domain):
    method = LMACZS.wrap(
        debug_backend, decoder_that_says_nothing(debug_backend, objective, domain), objective
    )
    found = method.explain(recording, target)
    assert_nothing_is_kept(found, recording, method, debug_backend)


@pytest.mark.parametrize("objective", ["contrast", "paper"])
def test_one_window_with_evidence_is_enough_and_the_others_stay_empty(
    debug_backend, recording, target, objective, monkeypatch
):
    decoder = decoder_that_says_nothing(debug_backend, objective, "stft")
    forward = decoder.forward

    def middle(*inputs):
        output = forward(*inputs)
        output.logits[1] = torch.linspace(-3, 3, output.logits[1].numel()).view_as(output.logits[1])
        output.values[1] = torch.ones(len(AREAS))
        return output

    monkeypatch.setattr(decoder, "forward", middle)
    found = LMACZS.wrap(debug_backend, decoder, objective).explain(recording, target)
    assert found.evidence == "present"
    assert not found.mask[:, :99].any() and not found.mask[:, 202:].any()
    assert found.mask[:, 100:200].any()


def test_a_mask_of_the_papers_objective_is_its_sigmoid_however_faint(debug_backend, recording, target):
    """No division by the largest value: the paper's decoders close where a prompt is not heard."""
    decoder = decoder_that_says_nothing(debug_backend, "paper", "stft")
    decoder.last.bias.data[0] = -2.0
    found = LMACZS.wrap(debug_backend, decoder, "paper").explain(recording, target)
    faint = float(torch.sigmoid(torch.tensor(-2.0)))
    torch.testing.assert_close(found.mask, torch.full_like(found.mask, faint), atol=1e-5, rtol=0)
    assert found.evidence == "present"


def test_a_method_that_cannot_tell_says_unknown(debug_backend, recording, target):
    class Constant(type(load_explainer("optimized-mask", debug_backend))):
        def map_windows(self, audio, target, progress=None):
            return WindowMaps(torch.zeros(len(audio.embedding), 257, 101))

    found = Constant(debug_backend).explain(recording, target)
    assert found.evidence == "unknown" and not found.mask.any()


def test_absence_reaches_the_result_and_its_numbers(debug_backend, recording):
    method = LMACZS.wrap(debug_backend, decoder_that_says_nothing(debug_backend, "contrast", "stft"))
    result = explain(recording, ("a beep", "rain"), debug_backend, method)
    assert result.explanation.evidence == "absent" and result.metrics["mm"] == 0.0
    assert all(isinstance(value, float) for value in result.metrics.values())
