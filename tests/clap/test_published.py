"""Every published CLAP keeps the contract, and every explainer works on it unchanged."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from miniatures import recording, small_backend

from lmaczs.clap.published import PublishedCLAP
from lmaczs.errors import CheckpointError
from lmaczs.explainers import METHODS, entry_of, load_explainer, optimized_mask
from lmaczs.explainers.areas import AREAS
from lmaczs.explainers.l2i.explainer import L2I, interpreter_config
from lmaczs.explainers.l2i.networks import Interpreter
from lmaczs.explainers.lmac_any import explainer as lmac_any
from lmaczs.explainers.lmac_zs.explainer import build_decoder, decoder_config, release_config
from lmaczs.explainers.lmac_zs.loss import paper_loss
from lmaczs.hearing import explain_clip, make_target
from lmaczs.hub import save_release
from lmaczs.signal.audio import make_clip

KINDS = ["msclap-2022", "msclap-2023", "laion"]
FEW_STEPS = {
    "smoothgrad": {"n": 2},
    "integrated-gradients": {"steps": 3},
    "occlusion": {"bands": 2, "seconds": 0.8, "overlap": 1},
    "rise": {"n": 6},
    "slime": {"n": 6},
    "optimized-mask": {"steps": 2},
}
PROMPTS = ["this is the sound of rain", "a dog"]
NAMES = [name for name in METHODS if "mel" in entry_of(name).domains]


@pytest.fixture(scope="module")
def backends(tmp_path_factory):
    return {kind: small_backend(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope="module", params=KINDS)
def backend(request, backends) -> PublishedCLAP:
    return backends[request.param]


@pytest.fixture(scope="module")
def opposites(backend):
    """A prompt and its opposite: with random weights, for any window one of them has something in its favour."""
    target = make_target(backend, PROMPTS[0])
    return target, replace(target, prompt="no rain", embedding=-target.embedding)


@pytest.fixture(autouse=True)
def fitted_masks_are_kept(monkeypatch):
    """Also where they gain nothing, as in two steps on weights that know no sound."""
    monkeypatch.setattr(optimized_mask, "NEEDED_GAIN", -2.0)
    decoder, _ = lmac_any.load_decoder("lmac-any", torch.device("cpu"))
    monkeypatch.setattr(lmac_any, "load_decoder", lambda *_: (decoder, -2.0))


@pytest.fixture(scope="module")
def state(backend):
    seconds = backend.clip_samples / backend.spectral.sample_rate
    waveform = recording(seconds, backend.spectral.sample_rate, channels=2)
    with torch.no_grad():
        return backend.analyze(waveform)


def write_decoder(backend, folder, domain, name=None):
    """A release with an untrained decoder for this backend, which promises a gain for every prompt."""
    torch.manual_seed(0)
    decoder = build_decoder(backend, decoder_config(backend, domain))
    torch.nn.init.constant_(decoder.worth[-1].bias, 1.0)
    config = release_config(backend, decoder, "contrast") | ({"backend": name} if name else {})
    return save_release(folder, "lmac-zs", config, decoder.state_dict())


def test_analyze_keeps_the_contract(backend, state):
    frames = 1 + backend.clip_samples // backend.spectral.hop_length
    assert state.stft.shape == (2, backend.spectral.n_bins, frames)
    assert state.mel_power.shape == (2, backend.spectral.n_mels, frames)
    assert tuple(level.shape[1] for level in state.hidden) == backend.hidden_channels
    times = [level.shape[2] for level in state.hidden]
    assert times == sorted(times, reverse=True) and all(
        level.shape[3] < level.shape[2] for level in state.hidden
    )
    torch.testing.assert_close(state.embedding.norm(dim=1), torch.ones(2))


def test_a_batch_gives_what_its_clips_give_alone(backend, state):
    alone = torch.cat([backend.analyze(row[None]).embedding for row in state.waveform])
    torch.testing.assert_close(state.embedding, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_gradient_with_respect_to_the_sound_agrees_with_finite_differences(backend, seed):
    """Guards against torch's backward of batch norm, which permutes the gradient of a transposed view."""
    generator = torch.Generator().manual_seed(seed)
    frames = 1 + backend.clip_samples // backend.spectral.hop_length
    log_power = torch.randn(1, backend.spectral.n_mels, frames, generator=generator) - 7
    direction = torch.randn(1, backend.embed_dim, generator=generator)

    def score(log_power):
        return (backend.encode(log_power.exp())[0] * direction).sum()

    point = log_power.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(point), point)
    step = gradient / gradient.norm()
    with torch.no_grad():
        slope = (score(log_power + 0.05 * step) - score(log_power - 0.05 * step)) / 0.1
    assert float(slope) == pytest.approx(float(gradient.norm()), rel=0.03)


def test_the_waveform_gets_a_gradient_and_the_weights_do_not(backend, state):
    waveform = state.waveform.clone().requires_grad_(True)
    backend.analyze(waveform).embedding[:, 0].sum().backward()
    assert bool(torch.isfinite(waveform.grad).all()) and float(waveform.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in backend.parameters())


def test_training_mode_does_not_reach_it(backend):
    """A framework that calls `.train()` on a wrapper would otherwise switch dropout on."""
    torch.nn.ModuleList([backend]).train()
    assert not any(module.training for module in backend.modules())


def test_in_half_precision_front_end_maps_and_embeddings_stay_float32(backend, state, monkeypatch):
    """The way of a GPU, walked on the CPU: only the encoder's own arithmetic is shorter."""
    monkeypatch.setattr(PublishedCLAP, "encoder_dtype", torch.bfloat16)
    halved = backend.analyze(state.waveform)
    assert torch.equal(halved.mel_power, state.mel_power)
    tensors = (halved.mel_power, halved.embedding, *halved.hidden)
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert not torch.equal(halved.embedding, state.embedding)
    assert float((halved.embedding * state.embedding).sum(1).min()) > 0.995
    values = load_explainer("grad-cam", backend).map_windows(halved, make_target(backend, PROMPTS[0])).values
    assert values.dtype == torch.float32 and bool(torch.isfinite(values).all())


def test_a_surrounding_autocast_leaves_the_front_end_alone(backend, state):
    """Training scripts run under autocast; decibels of a bfloat16 power would lose what is quiet."""
    with torch.autocast("cpu", torch.bfloat16):
        inside = backend.analyze(state.waveform)
        mel = backend.mel_power(state.stft.abs().square())
    assert torch.equal(inside.mel_power, state.mel_power)
    assert mel.dtype == torch.float32


@pytest.mark.parametrize("domain", ["stft", "mel"])
@pytest.mark.parametrize("name", NAMES)
def test_every_method_works_unchanged(backend, state, opposites, name, domain, tmp_path):
    options = dict(FEW_STEPS.get(name, {}))
    if name == "lmac-zs":
        options["release"] = write_decoder(backend, tmp_path / "decoder", domain)
    method = load_explainer(name, backend, domain, **options)
    rows = backend.spectral.n_bins if domain == "stft" else backend.spectral.n_mels
    highest = []
    for target in opposites:
        values = method.map_windows(state, target).values
        assert values.shape == (2, rows, state.mel_power.shape[2]) and values.dtype == torch.float32
        assert bool(torch.isfinite(values).all())
        assert torch.equal(values, method.map_windows(state, target).values)
        highest.append(values.amax(dim=(1, 2)))
    # Of opposites at least one has evidence.
    assert bool((torch.stack(highest).amax(0) > 0).all())


def test_l2i_takes_the_windows_apart(backend, state, opposites):
    config = interpreter_config(backend, 7)
    torch.manual_seed(0)
    dictionary = torch.nn.functional.normalize(torch.rand(config.bins, 7), dim=0)
    method = L2I(backend, interpreter=Interpreter(config, dictionary).eval())
    for target in opposites:
        activations, contribution = method.decompose(state, target)
        assert activations.shape == (2, 7, state.stft.shape[2]) and contribution.shape == (2, 7)
        assert bool(torch.isfinite(activations).all()) and bool(torch.isfinite(contribution).all())
        assert torch.equal(contribution, method.decompose(state, target)[1])


def test_gradcam_knows_all_its_layers(backend, state, opposites):
    maps = [
        torch.stack(
            [
                load_explainer("grad-cam", backend, "mel", layer=layer).map_windows(state, target).values
                for target in opposites
            ]
        )
        for layer in backend.cam_layers
    ]
    assert len(maps) == 4
    assert all(not torch.equal(first, second) for first, second in pairwise(maps))


def test_a_decoder_learns_on_it(backend, state):
    """Two steps of the paper's objective: the gradient comes through the frozen encoder to the decoder's weights."""
    torch.manual_seed(0)
    decoder = build_decoder(backend, decoder_config(backend, "mel"))
    assert decoder(
        state.hidden,
        backend.encode_text(PROMPTS).embedding,
        torch.zeros(2),
        state.mel_power,
        torch.zeros(2, 3, *state.mel_power.shape[1:]),
    ).values.shape == (2, len(AREAS))
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    before = decoder.last.weight.detach().clone()
    for _ in range(2):
        report = paper_loss(backend, decoder, state, backend.encode_text(PROMPTS).embedding, 0.1, 0.1)
        loss = sum(value for key, value in report.items() if key.startswith("loss/"))
        optimizer.zero_grad()
        loss.backward()
        assert all(bool(torch.isfinite(p.grad).all()) for p in decoder.parameters() if p.grad is not None)
        optimizer.step()
    assert not torch.equal(decoder.last.weight, before)


def test_a_decoder_of_another_backend_is_refused(backend, tmp_path):
    folder = write_decoder(backend, tmp_path / "decoder", "stft", name="compact")
    with pytest.raises(CheckpointError, match=f"trained for the backend 'compact'.*'{backend.name}'"):
        load_explainer("lmac-zs", backend, "stft", release=folder)


def test_a_recording_longer_than_the_window_is_explained_whole(backend):
    rate = backend.spectral.sample_rate
    seconds = 2.4 * backend.clip_samples / rate
    clip = make_clip(recording(seconds, rate, channels=2), rate)
    result = explain_clip(clip, PROMPTS, backend, load_explainer("grad-cam++", backend))
    assert result.explanation.mask.shape == (513, 1 + clip.waveform.shape[-1] // backend.spectral.hop_length)
    listening = result.listening
    torch.testing.assert_close(listening.kept.waveform + listening.removed.waveform, result.clip.waveform)
    assert float(result.prediction.probabilities.sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_covers_a_recording_of_several_windows(backend, name, tmp_path):
    rate = backend.spectral.sample_rate
    # The test above has all in both.
    domain = ("stft", "mel")[NAMES.index(name) % 2]
    options = dict(FEW_STEPS.get(name, {}))
    if name == "lmac-zs":
        options["release"] = write_decoder(backend, tmp_path / "decoder", domain)
    clip = make_clip(recording(1.6 * backend.clip_samples / rate, rate), rate)
    method = load_explainer(name, backend, domain, **options)
    result = explain_clip(clip, PROMPTS, backend, method, measure=False)
    rows = backend.spectral.n_bins if domain == "stft" else backend.spectral.n_mels
    mask = result.explanation.mask
    assert mask.shape == (rows, 1 + clip.waveform.shape[-1] // backend.spectral.hop_length)
    assert bool(torch.isfinite(mask).all()) and float(mask.min()) >= 0 and float(mask.max()) <= 1
    listening = result.listening
    torch.testing.assert_close(listening.kept.waveform + listening.removed.waveform, result.clip.waveform)


def test_the_bands_frequencies_are_those_of_the_filters(backend):
    centres = backend.mel_frequencies_hz
    assert bool((centres.diff() > 0).all()) and centres.shape == (backend.spectral.n_mels,)
    middle = backend.spectral.n_mels // 2
    peak = float(backend.mel_filters[middle].argmax()) * backend.spectral.sample_rate / backend.spectral.n_fft
    assert float(centres[middle]) == pytest.approx(peak, rel=0.1)
