"""What every method of the registry owes its callers, in both domains; those that need weights have own tests."""

from dataclasses import FrozenInstanceError

import pytest
import torch

from lmaczs.clap.target import SCORES
from lmaczs.explainers import METHODS, entry_of, load_explainer, optimized_mask
from lmaczs.explainers.areas import AREAS
from lmaczs.explainers.base import AttributionMethod, scale_once
from lmaczs.explainers.lmac_any import explainer as lmac_any
from lmaczs.explainers.lmac_any.explainer import load_decoder
from lmaczs.explainers.lmac_zs.explainer import LMACZS, build_decoder, decoder_config
from lmaczs.hearing import listen, make_target
from lmaczs.types import AudioClip

# Few steps: what is tested here does not depend on their number.
QUICK = {
    "smoothgrad": {"n": 3},
    "integrated-gradients": {"steps": 4},
    "occlusion": {"bands": 4, "seconds": 1.0, "overlap": 1},
    "rise": {"n": 20},
    "slime": {"n": 40},
    "optimized-mask": {"steps": 2},
}
NAMES = tuple(name for name in METHODS if not entry_of(name).trained)
every_method = pytest.mark.parametrize("name", NAMES)
both_domains = pytest.mark.parametrize("domain", ["stft", "mel"])


@pytest.fixture(autouse=True)
def fitted_masks_are_kept(monkeypatch):
    """Also where they gain nothing, as in two steps on weights that know no sound; tests/explainers/test_evidence.py
    has the rest."""
    monkeypatch.setattr(optimized_mask, "NEEDED_GAIN", -2.0)
    decoder, _ = load_decoder("lmac-any", torch.device("cpu"))
    monkeypatch.setattr(lmac_any, "load_decoder", lambda *_: (decoder, -2.0))


def build(name, backend, domain="stft", **options):
    return load_explainer(name, backend, domain, **{**QUICK.get(name, {}), **options})


def rows_of(backend, domain):
    return backend.spectral.n_bins if domain == "stft" else backend.spectral.n_mels


@every_method
@both_domains
def test_a_mask_for_the_whole_recording_on_its_grid(debug_backend, recording, target, name, domain):
    method = build(name, debug_backend, domain)
    found = method.explain(recording, target)
    mask, attribution = found.mask, found.attribution
    assert mask.shape == (rows_of(debug_backend, domain), 301) and mask.dtype == torch.float32
    assert bool(torch.isfinite(mask).all()) and float(mask.min()) >= 0 and float(mask.max()) <= 1
    assert not mask.requires_grad and mask.device.type == "cpu"
    assert (found.method, found.prompt, found.domain) == (name, "a beep", domain)
    assert (attribution is not None) == isinstance(method, AttributionMethod)
    assert bool(mask.any()) == (found.evidence != "absent")
    if attribution is not None:
        # One scale for the whole recording: windows can be compared with each other.
        assert torch.equal(mask, scale_once(attribution)) and mask.amax() == 1.0
        assert found.evidence == "unknown"


@every_method
@both_domains
def test_a_batch_of_windows_gives_what_each_gives_alone(
    debug_backend, windows, waveforms, target, name, domain
):
    method = build(name, debug_backend, domain)
    together = method.map_windows(windows, target).values
    assert together.shape == (3, rows_of(debug_backend, domain), 101)
    for row in range(3):
        alone = method.map_windows(debug_backend.analyze(waveforms[row : row + 1]), target).values[0]
        # Convolutions of another batch size round differently.
        largest = float(alone.abs().max().clamp_min(1e-12))
        torch.testing.assert_close(together[row] / largest, alone / largest, atol=1e-3, rtol=0)


@every_method
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_the_same_bits_every_time_and_in_every_mode(debug_backend, three_windows, name, context):
    expected = build(name, debug_backend).explain(
        listen(three_windows, debug_backend), make_target(debug_backend, "a beep")
    )
    # The caller's random numbers have no say, and are left alone.
    torch.manual_seed(123)
    before = torch.get_rng_state()
    with context():
        recording = listen(three_windows, debug_backend)
        found = build(name, debug_backend).explain(recording, make_target(debug_backend, "a beep"))
        assert torch.equal(found.mask, expected.mask)
    assert torch.equal(torch.get_rng_state(), before)


@every_method
def test_the_backend_and_the_recording_are_left_as_they_were(debug_backend, recording, target, name):
    weights = {key: value.clone() for key, value in debug_backend.state_dict().items()}
    (audio,) = recording.states
    spectrum, mel_power, waveform = audio.stft.clone(), audio.mel_power.clone(), audio.waveform.clone()
    dropout = debug_backend.audio_projection.dropout.train()
    try:
        build(name, debug_backend).explain(recording, target)
        assert dropout.training and not debug_backend.training
    finally:
        dropout.eval()
    assert all(torch.equal(value, weights[key]) for key, value in debug_backend.state_dict().items())
    assert all(not weight.requires_grad and weight.grad is None for weight in debug_backend.parameters())
    assert torch.equal(audio.stft, spectrum) and torch.equal(audio.mel_power, mel_power)
    assert torch.equal(audio.waveform, waveform) and torch.equal(recording.clip.waveform, waveform.flatten())
    assert not any(module._forward_hooks for module in debug_backend.modules())


@every_method
def test_progress_rises_to_one(debug_backend, recording, target, name):
    seen = []
    build(name, debug_backend).explain(recording, target, lambda share, text: seen.append((share, text)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0) and shares[0] > 0
    assert all(text for _, text in seen)


@pytest.mark.parametrize(
    "name", ["smoothgrad", "integrated-gradients", "occlusion", "rise", "slime", "optimized-mask"]
)
def test_a_slow_method_stops_where_the_callback_raises(debug_backend, recording, target, name, monkeypatch):
    """Half-way of three windows: no further encoder pass, no trace, and the next call is a whole one."""

    class Stopped(Exception):
        pass

    passes = []
    encode = debug_backend.encode
    monkeypatch.setattr(debug_backend, "encode", lambda mel: passes.append(len(mel)) or encode(mel))
    method = build(name, debug_backend)
    expected = method.explain(recording, target).mask
    whole = len(passes)
    passes.clear()
    shares = []

    def stop(share, _):
        shares.append(share)
        if share >= 0.4:
            raise Stopped

    with pytest.raises(Stopped):
        method.explain(recording, target, stop)
    assert len(passes) < 0.8 * whole and max(shares) < 0.8
    assert not debug_backend.training and not any(m._forward_hooks for m in debug_backend.modules())
    assert torch.is_inference_mode_enabled() is False
    assert torch.equal(method.explain(recording, target).mask, expected)


@every_method
@both_domains
def test_digital_silence_is_survived(debug_backend, target, name, domain):
    """No clip is silent, but a window of one may be."""
    audio = debug_backend.analyze(torch.zeros(1, debug_backend.clip_samples))
    values = build(name, debug_backend, domain).map_windows(audio, target).values
    assert bool(torch.isfinite(values).all())


@every_method
@both_domains
def test_the_known_explanation_wins(planted_backend, beep_in_noise, name, domain):
    """The planted model hears one box of mel bands and time, and there is a beep in it."""
    more = {
        "rise": {"n": 300, "bands": 4, "seconds": 0.4},
        "slime": {"n": 300},
        "optimized-mask": {"steps": 20},
        "occlusion": {"bands": 4, "seconds": 0.3, "overlap": 2},
    }
    method = build(name, planted_backend, domain, **more.get(name, {}))
    recording = listen(beep_in_noise, planted_backend)
    mask = method.explain(recording, make_target(planted_backend, "a beep")).mask
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
    method = build(name, planted_backend, domain)
    values = method.map_windows(audio, make_target(planted_backend, "a beep")).values[0]
    rows = planted_backend.box_bins if domain == "stft" else planted_backend.box_mels
    outside = values.clone()
    outside[rows, planted_backend.box_frames] = 0.0
    assert not outside.any() and float(values.abs().max()) > 0


@pytest.mark.parametrize("score", SCORES)
@every_method
def test_every_score_can_be_explained(debug_backend, recording, name, score):
    def mask(score):
        target = make_target(debug_backend, "a beep", ("a cat", "a beep", "rain", "a dog"), score)
        return build(name, debug_backend, "mel").explain(recording, target).mask

    found = mask(score)
    assert bool(torch.isfinite(found).all())
    # What these serve is their own objective, whatever the score.
    if name in ("optimized-mask", "lmac-any"):
        assert torch.equal(found, mask("logit"))
        return
    assert found.amax() == 1.0
    # For GradCAM++ the size of the gradient matters.
    if score == "cosine" and name != "grad-cam++":
        torch.testing.assert_close(found, mask("logit"), atol=1e-3, rtol=0)
    if score == "contrastive":
        assert float((found - mask("logit")).abs().max()) > 0.01


@every_method
def test_a_method_is_its_options_and_nothing_changes_it(debug_backend, name):
    method = build(name, debug_backend, "mel")
    with pytest.raises(FrozenInstanceError):
        method.domain = "stft"
    assert method.prompts is None and method.passes() >= 1
    shown = repr(method)
    assert all(f"{option}={value!r}" in shown for option, value in QUICK.get(name, {}).items())
    assert len(shown) < 300, "the model is left out"


@every_method
def test_the_number_of_passes_is_what_is_said(debug_backend, window, target, name, monkeypatch):
    """Windows that go through the encoder; a backward pass counts as two."""
    passes = []
    encode = debug_backend.encode
    monkeypatch.setattr(debug_backend, "encode", lambda mel: passes.append(len(mel)) or encode(mel))
    method = build(name, debug_backend)
    method.map_windows(window, target)
    forward = {
        "lmac-any": 1,
        "saliency": 1,
        "grad-cam": 1,
        "grad-cam++": 1,
        "smoothgrad": 3,
        "integrated-gradients": 4 + 2,
        "optimized-mask": 1 + 2 * 2 + 2 * len(AREAS),
    }
    assert sum(passes) == forward.get(name, method.passes())
    backward = {"integrated-gradients": 2 * 4, "optimized-mask": 2 * (1 + 2 * 2)}.get(
        name, 2 * forward.get(name, 0)
    )
    assert method.passes() == sum(passes) + backward


@both_domains
def test_lmac_zs_keeps_the_same_contract_with_a_fresh_decoder(debug_backend, recording, target, domain):
    decoder = build_decoder(debug_backend, decoder_config(debug_backend, domain)).eval()
    torch.nn.init.constant_(decoder.worth[-1].bias, 1.0)
    method = LMACZS.wrap(debug_backend, decoder)
    found = method.explain(recording, target)
    assert found.mask.shape == (rows_of(debug_backend, domain), 301) and found.attribution is None
    assert found.evidence == "present" and float(found.mask.max()) > 0.5
    assert torch.equal(found.mask, method.explain(recording, target).mask)


def test_the_mask_is_the_positive_part_over_its_largest_value():
    assert scale_once(torch.tensor([[-2.0, 1.0], [0.0, 4.0]])).tolist() == [[0, 0.25], [0, 1]]
    assert scale_once(torch.tensor([[-1.0, -3.0], [0.0, -2.0]])).tolist() == [[0, 0], [0, 0]]
    assert scale_once(torch.tensor([[1e-30, 5e-31]])).tolist() == [[1, 0.5]]


def test_attributions_are_signed(debug_backend, recording, target):
    found = build("occlusion", debug_backend).explain(recording, target)
    assert float(found.attribution.min()) < 0


def test_windows_are_compared_by_what_they_add_to_the_score(planted_backend, make_beep):
    """A beep, then one at a quarter of its power: half the power moves this model less, and the mask says so."""
    loud = make_beep().waveform
    clip = AudioClip(torch.cat([loud, 0.1 * loud]), 16000, "loud and faint")
    recording = listen(clip, planted_backend)
    assert len(recording.plan.windows) == 2
    for name in ("grad-cam", "saliency", "integrated-gradients", "occlusion"):
        method = build(name, planted_backend, "mel")
        target = make_target(planted_backend, "a beep")
        found = method.explain(recording, target)
        raw = method.map_windows(recording.states[0], target).values.amax(dim=(1, 2)).clamp_min(0)
        left, right = float(found.mask[:, :100].max()), float(found.mask[:, 100:].max())
        assert [left, right] == pytest.approx((raw / raw.max()).tolist(), rel=0.02), name
        assert min(left, right) < 0.9 and max(left, right) == 1.0
