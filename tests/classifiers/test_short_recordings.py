"""A model that hears waveforms hears a short recording as long as it is: its explanation knows nothing of the window."""

import pytest
import torch
from networks import LABELS, RATE, SECONDS, WaveNetwork, sound, taught
from tiny_models import KINDS, save

from lmaczs import Waveform, load_backend, load_explainer, wrap_classifier
from lmaczs.explainers import METHODS
from lmaczs.hearing import embed, explain, listen
from lmaczs.signal.audio import make_clip

OPTIONS = {
    "rise": {"n": 60},
    "slime": {"n": 60},
    "smoothgrad": {"n": 3},
    "integrated-gradients": {"steps": 4},
}
# Need weights that were trained for the model.
TRAINED = {"lmac-zs", "l2i", "l2i-esc50"}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return taught(WaveNetwork(), features=lambda waveform: waveform)


def wrapped(network, seconds):
    return wrap_classifier(network, LABELS, Waveform.at(RATE, seconds))


def explained(network, seconds, method, domain="stft"):
    classifier = wrapped(network, seconds)
    waveform, span = sound(0, 0.7, 11)
    recording = listen(make_clip(waveform[None], RATE), classifier)
    explainer = load_explainer(method, classifier, domain, **OPTIONS.get(method, {}))
    return explain(recording, LABELS, classifier, explainer), span


@pytest.mark.parametrize("method", sorted(set(METHODS) - TRAINED))
def test_the_mask_does_not_depend_on_how_long_the_window_could_be(network, method):
    short, _ = explained(network, SECONDS, method)
    long, _ = explained(network, 4 * SECONDS, method)
    assert short.prediction.predicted == long.prediction.predicted == 0
    torch.testing.assert_close(long.explanation.mask, short.explanation.mask, atol=1e-5, rtol=0)
    assert float(short.explanation.mask.amax()) > 0.5


@pytest.mark.parametrize("method", ["lmac-any", "grad-cam", "grad-cam++", "saliency"])
def test_it_lies_where_the_sound_is(network, method):
    result, (begin, end) = explained(network, 4 * SECONDS, method)
    energy = result.explanation.mask.square().sum(0)
    inside = (result.times_s > begin - 0.1) & (result.times_s < end + 0.1)
    assert float(energy[inside].sum() / energy.sum()) > 0.6


def test_recordings_of_several_lengths_are_embedded_as_each_alone(network):
    classifier = wrapped(network, SECONDS)
    sounds = [sound(label, 0.5, label, seconds)[0] for label, seconds in enumerate((0.6, 1.25, 3.0))]
    together = embed([*sounds, sounds[0]], classifier)
    alone = torch.stack([listen(make_clip(part[None], RATE), classifier).embedding for part in sounds])
    torch.testing.assert_close(together, torch.cat([alone, alone[:1]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_maps_of_transformers_cover_the_recording_and_no_padding(kind, tmp_path):
    """Of those that pad what they hear (AST, Whisper) what they make of the padding is left out."""
    save(tmp_path / kind, kind)
    classifier = load_backend(f"hf:{tmp_path / kind}")
    samples = classifier.clip_samples // 3
    generator = torch.Generator().manual_seed(0)
    state = classifier.analyze(0.1 * torch.randn(1, samples, generator=generator))
    assert classifier.window_samples(samples) == samples and len(state.hidden) == 4
    for level, layer in zip(state.hidden[-len(classifier.layers) :], classifier.layers.values(), strict=True):
        assert abs(level.shape[2] - layer.cells / 3) <= 1.5
    assert classifier.hidden_channels == tuple(level.shape[1] for level in state.hidden)
