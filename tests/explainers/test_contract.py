"""What every method of the registry owes its callers, in both domains; those that need weights have own tests."""

import math

import pytest
import torch
from torch import Tensor

from lmaczs.clap.debug import DEBUG_CONFIG, DebugCLAP, HashedSentences
from lmaczs.errors import LMACError
from lmaczs.explainers import EXPLAINERS, TRAINED, load_explainer, options_of
from lmaczs.explainers.base import AttributionExplainer, SteppedExplainer, attribution_to_mask
from lmaczs.explainers.lmac_zs.explainer import LMACZS, build_decoder, decoder_config

# Few steps: what is tested here does not depend on their number.
QUICK = {
    "smoothgrad": {"n": 3},
    "integrated-gradients": {"steps": 4},
    "occlusion": {"bands": 16, "seconds": 1.0},
    "rise": {"n": 20},
    "slime": {"n": 40},
    "optimized-mask": {"steps": 2},
}
METHODS = tuple(name for name in EXPLAINERS if name not in TRAINED)
every_method = pytest.mark.parametrize("name", METHODS)
both_domains = pytest.mark.parametrize("domain", ["stft", "mel"])
PROMPTS = ("a beep", "rain", "a dog")


def build(name, backend, domain="stft", **options):
    return load_explainer(name, backend, domain, **{**QUICK.get(name, {}), **options})


@pytest.fixture
def waveforms(debug_backend, make_beep):
    return torch.stack([make_beep(seed=seed).waveform for seed in range(3)])


@pytest.fixture
def states(debug_backend, waveforms):
    return debug_backend.analyze(waveforms), debug_backend.encode_text(PROMPTS)


class DeafCLAP(DebugCLAP):
    """The same embedding for every sound, but for `noise`: nothing in a sound can speak for a prompt."""

    noise = 0.0

    def encode(self, mel_power: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        embedding, hidden = super().encode(mel_power)
        fixed = torch.ones_like(embedding) + self.noise * embedding
        return torch.nn.functional.normalize(fixed, dim=-1), hidden


@pytest.fixture
def deaf_backend(debug_backend):
    deaf = DeafCLAP(DEBUG_CONFIG, HashedSentences())
    deaf.load_state_dict(debug_backend.state_dict())
    return deaf.eval().requires_grad_(False)


@every_method
@both_domains
def test_a_mask_for_every_window_on_its_grid(debug_backend, states, name, domain):
    masks = build(name, debug_backend, domain).masks(*states)
    rows = debug_backend.spectral.n_bins if domain == "stft" else debug_backend.spectral.n_mels
    assert masks.shape == (3, rows, states[0].stft.shape[2]) and masks.dtype == torch.float32
    assert bool(torch.isfinite(masks).all()) and float(masks.min()) >= 0
    assert set(masks.amax(dim=(1, 2)).tolist()) <= {0.0, 1.0} and masks.amax() == 1.0
    assert not masks.requires_grad


@every_method
@both_domains
def test_a_batch_of_windows_gives_what_each_gives_alone(debug_backend, states, waveforms, name, domain):
    explainer = build(name, debug_backend, domain)
    together = explainer.masks(*states)
    for row, prompt in enumerate(PROMPTS):
        alone = debug_backend.analyze(waveforms[row : row + 1])
        mask = explainer.masks(alone, debug_backend.encode_text([prompt]))[0]
        # Convolutions of another batch size round differently, and a map is divided by its largest value.
        torch.testing.assert_close(together[row], mask, atol=1e-3, rtol=0)


@every_method
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_the_same_bits_every_time_and_in_every_mode(debug_backend, waveforms, name, context):
    with torch.no_grad():
        states = debug_backend.analyze(waveforms[:1]), debug_backend.encode_text(["a beep"])
    expected = build(name, debug_backend).masks(*states)
    torch.manual_seed(123)  # the caller's random numbers have no say, and are left alone
    before = torch.get_rng_state()
    with context():
        inside = debug_backend.analyze(waveforms[:1]), debug_backend.encode_text(["a beep"])
        assert torch.equal(build(name, debug_backend).masks(*inside), expected)
    assert torch.equal(torch.get_rng_state(), before)


@every_method
def test_the_backend_and_the_windows_are_left_as_they_were(debug_backend, states, name):
    audio, text = states
    weights = {key: value.clone() for key, value in debug_backend.state_dict().items()}
    spectrum, mel_power = audio.stft.clone(), audio.mel_power.clone()
    dropout = debug_backend.audio_projection.dropout.train()
    try:
        build(name, debug_backend).masks(audio, text)
        assert dropout.training and not debug_backend.training
    finally:
        dropout.eval()
    assert all(torch.equal(value, weights[key]) for key, value in debug_backend.state_dict().items())
    assert all(not weight.requires_grad and weight.grad is None for weight in debug_backend.parameters())
    assert torch.equal(audio.stft, spectrum) and torch.equal(audio.mel_power, mel_power)
    assert not any(module._forward_hooks for module in debug_backend.modules())


@every_method
def test_progress_rises_to_one(debug_backend, states, name):
    seen = []
    explainer = build(name, debug_backend)
    assert isinstance(explainer, SteppedExplainer)
    explainer.masks(*states, progress=lambda share, text: seen.append((share, text)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0) and shares[0] > 0
    assert all(text for _, text in seen)


@pytest.mark.parametrize(
    "name", ["smoothgrad", "integrated-gradients", "occlusion", "rise", "slime", "optimized-mask"]
)
def test_a_slow_method_stops_where_the_callback_raises(debug_backend, states, name, monkeypatch):
    """Half-way of three windows: no further encoder pass, no trace, and the next call is a whole one."""

    class Stopped(Exception):
        pass

    passes = []
    encode = debug_backend.encode
    monkeypatch.setattr(debug_backend, "encode", lambda mel: passes.append(len(mel)) or encode(mel))
    explainer = build(name, debug_backend)
    expected = explainer.masks(*states)
    whole = len(passes)
    passes.clear()
    told = []

    def stop(share, _):
        told.append(share)
        if share >= 0.4:
            raise Stopped

    with pytest.raises(Stopped):
        explainer.masks(*states, progress=stop)
    assert len(passes) < 0.8 * whole and max(told) < 0.8
    assert not debug_backend.training and not any(m._forward_hooks for m in debug_backend.modules())
    assert torch.is_inference_mode_enabled() is False
    assert torch.equal(explainer.masks(*states), expected)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "optimized-mask"])
@both_domains
def test_where_nothing_speaks_for_the_prompt_the_mask_is_empty(deaf_backend, waveforms, name, domain):
    """Rounding errors are no evidence, although any map could be divided by its maximum."""
    deaf_backend.noise = 1e-7 if name in ("occlusion", "rise", "slime") else 0.0
    audio = deaf_backend.analyze(waveforms)
    masks = build(name, deaf_backend, domain).masks(audio, deaf_backend.encode_text(PROMPTS))
    assert not masks.any()


@both_domains
def test_a_fitted_mask_stays_small_where_nothing_speaks_for_the_prompt(deaf_backend, waveforms, domain):
    audio = deaf_backend.analyze(waveforms[:1])
    mask = build("optimized-mask", deaf_backend, domain).masks(audio, deaf_backend.encode_text(["a beep"]))
    assert bool(torch.isfinite(mask).all()) and float((mask > 0.5).float().mean()) < 0.1


@every_method
@both_domains
def test_digital_silence_is_survived(debug_backend, name, domain):
    """No clip is silent, but a window of one may be."""
    audio = debug_backend.analyze(torch.zeros(1, debug_backend.clip_samples))
    masks = build(name, debug_backend, domain).masks(audio, debug_backend.encode_text(["a beep"]))
    assert bool(torch.isfinite(masks).all()) and float(masks.max()) <= 1.0


@every_method
@both_domains
def test_the_known_explanation_wins(planted_backend, beep_in_noise, name, domain):
    """The planted model hears one box of mel bands and time, and there is a beep in it."""
    more = {
        "rise": {"n": 300, "bands": 4, "seconds": 0.4},
        "slime": {"n": 300},
        "optimized-mask": {"steps": 20},
    }
    patches = {"occlusion": {"bands": 4, "seconds": 0.3}}
    explainer = build(name, planted_backend, domain, **{**more, **patches}.get(name, {}))
    audio = planted_backend.analyze(beep_in_noise.waveform.unsqueeze(0))
    mask = explainer.masks(audio, planted_backend.encode_text(["a beep"]))[0]
    rows = planted_backend.box_bins if domain == "stft" else planted_backend.box_mels
    columns = planted_backend.box_frames
    row, column = divmod(int(mask.argmax()), mask.shape[1])
    assert rows.start <= row < rows.stop and columns.start <= column < columns.stop
    outside = torch.ones_like(mask, dtype=torch.bool)
    outside[rows, columns] = False
    # A fitted mask is as large as it takes to take the beep away, edges and leaks into neighbouring frames included.
    times = 2 if name == "optimized-mask" else 4
    assert float(mask[rows, columns].mean()) > times * float(mask[outside].mean())


@pytest.mark.parametrize("name", ["saliency", "smoothgrad", "integrated-gradients"])
@both_domains
def test_gradients_are_exactly_zero_outside_of_what_the_model_hears(
    planted_backend, beep_in_noise, name, domain
):
    audio = planted_backend.analyze(beep_in_noise.waveform.unsqueeze(0))
    found = build(name, planted_backend, domain).attribute(audio, planted_backend.encode_text(["a beep"]))
    rows = planted_backend.box_bins if domain == "stft" else planted_backend.box_mels
    outside = found.values[0].clone()
    outside[rows, planted_backend.box_frames] = 0.0
    assert not outside.any() and float(found.values.abs().max()) > 0


@pytest.mark.parametrize("score", ["cosine", "logit", "probability", "contrastive"])
@pytest.mark.parametrize("name", [name for name in METHODS if "score" in options_of(name)])
def test_every_score_can_be_explained(debug_backend, states, name, score):
    explainer = build(name, debug_backend, "mel", score=score, rivals=("a cat", *PROMPTS))
    masks = explainer.masks(*states)
    assert bool(torch.isfinite(masks).all()) and masks.amax() == 1.0
    if score == "cosine" and name != "grad-cam++":  # for GradCAM++ the size of the gradient matters
        torch.testing.assert_close(masks, build(name, debug_backend, "mel").masks(*states), atol=1e-3, rtol=0)
    if score == "contrastive":
        alone = build(name, debug_backend, "mel").masks(*states)
        assert float((masks - alone).abs().max()) > 0.01


def test_the_registry_knows_its_methods_by_their_own_names(debug_backend):
    for name in METHODS:
        explainer = load_explainer(name, debug_backend, "mel")
        assert (explainer.name, explainer.domain) == (name, "mel") and explainer.label
        assert explainer.prompts is None
        assert set(options_of(name)) >= {"rivals"}
    assert LMACZS.name == "lmac-zs" and options_of("lmac-zs") == ("release",)
    assert list(EXPLAINERS)[0] == "lmac-zs"


def test_lmac_zs_keeps_the_same_contract_with_a_fresh_decoder(debug_backend, states):
    for domain in ("stft", "mel"):
        decoder = build_decoder(debug_backend, decoder_config(debug_backend, domain)).eval()
        masks = LMACZS(debug_backend, decoder).masks(*states)
        rows = debug_backend.spectral.n_bins if domain == "stft" else debug_backend.spectral.n_mels
        assert masks.shape == (3, rows, states[0].stft.shape[2])
        assert masks.amax(dim=(1, 2)).tolist() == pytest.approx([1.0] * 3)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("saliency", {"loud": 1}, "'saliency' has no option 'loud': it takes score, rivals"),
        ("lmac-zs", {"score": "logit"}, "'lmac-zs' has no option 'score': it takes release"),
        ("saliency", {"score": "loss"}, "no score 'loss': choose one of 'cosine'"),
        ("saliency", {"score": "probability"}, "none was given"),
        ("smoothgrad", {"n": 0}, "option n is 0: choose a whole number, 1 or more"),
        ("smoothgrad", {"n": 2.5}, "option n is 2.5"),
        ("smoothgrad", {"sigma": -0.1}, "option sigma is -0.1: choose a number, 0 or more"),
        ("smoothgrad", {"sigma": math.nan}, "option sigma is nan"),
        ("smoothgrad", {"seed": "x"}, "option seed is x"),
        ("integrated-gradients", {"steps": -1}, "option steps is -1"),
        ("occlusion", {"seconds": 0}, "option seconds is 0: choose a number, 0.02 to 60"),
        ("occlusion", {"overlap": 0}, "option overlap is 0"),
        ("rise", {"keep": 1}, "option keep is 1: choose a number, 0.01 to 0.99"),
        ("rise", {"n": "many"}, "option n is many"),
        ("slime", {"rows": 99}, "option rows is 99: choose a number, 1 to 32"),
        ("slime", {"alpha": 0}, "option alpha is 0: choose a number, 0.0001 or more"),
        ("optimized-mask", {"steps": 0}, "option steps is 0"),
        ("grad-cam++", {"layer": "block9"}, "no layer 'block9'"),
        ("magic", {}, "no explainer 'magic'"),
    ],
)
def test_a_wrong_option_is_told_in_one_sentence(debug_backend, name, options, words):
    with pytest.raises(LMACError, match=words) as raised:
        load_explainer(name, debug_backend, **options)
    assert "\n" not in str(raised.value)


def test_a_wrong_domain_is_refused(debug_backend):
    with pytest.raises(LMACError, match="no mask domain 'bark'"):
        load_explainer("saliency", debug_backend, "bark")


def test_the_mask_is_the_positive_part_over_its_own_maximum():
    attribution = torch.tensor([[[-2.0, 1.0], [0.0, 4.0]], [[-1.0, -3.0], [0.0, -2.0]]])
    assert attribution_to_mask(attribution).tolist() == [[[0, 0.25], [0, 1]], [[0, 0], [0, 0]]]


def test_masks_are_made_of_attributions(debug_backend, states):
    explainer = build("occlusion", debug_backend)
    assert isinstance(explainer, AttributionExplainer)
    values = explainer.attribute(*states).values
    assert float(values.min()) < 0, "signed"
    assert torch.equal(explainer.masks(*states), attribution_to_mask(values))
