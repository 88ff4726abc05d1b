"""A module of one's own: what it hears, what it decides, and that the mask lies where it listens."""

import pytest
import torch
from networks import LABELS, RATE, SECONDS, ImageNet, WaveNetwork, sound, taught
from torch import nn

from lmaczs import (
    AudioClip,
    MelPower,
    StftPower,
    Waveform,
    explain_clip,
    load_backend,
    load_explainer,
    wrap_classifier,
)
from lmaczs.clap import labels_for
from lmaczs.errors import BackendUnavailableError, LMACError, PromptError
from lmaczs.explainers import METHODS
from lmaczs.hearing import listen
from lmaczs.signal.spectral import SpectralConfig, mel_filterbank, stft

GRID = SpectralConfig(n_fft=512, n_mels=40)


def power(waveform):
    return stft(waveform, GRID).abs().square()


FRONT_ENDS = {
    "mel": (MelPower(GRID, SECONDS), ImageNet, lambda waveform: mel_filterbank(GRID) @ power(waveform)),
    "stft": (StftPower(GRID, SECONDS), ImageNet, power),
    "waveform": (Waveform.at(RATE, SECONDS), WaveNetwork, lambda waveform: waveform),
}
kinds = pytest.mark.parametrize("kind", FRONT_ENDS)


@pytest.fixture(scope="module")
def own():
    """A taught classifier for each front end, made at the first use."""
    made = {}

    def classifier_of(kind):
        if kind not in made:
            front_end, network, features = FRONT_ENDS[kind]
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                module = taught(network(), features)
            made[kind] = wrap_classifier(module, LABELS, front_end)
        return made[kind]

    return classifier_of


def clip_of(label, place=0.6, seed=900, seconds=SECONDS):
    waveform, span = sound(label, place, seed, seconds)
    return AudioClip(waveform, RATE, "sound"), span


@kinds
def test_it_decides_as_the_module_does(own, kind):
    classifier, features = own(kind), FRONT_ENDS[kind][2]
    for label in range(3):
        clip, _ = clip_of(label)
        with torch.no_grad():
            expected = classifier.module(features(clip.waveform[None]))[0]
        found = listen(clip, classifier).embedding
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)
        assert int(found.argmax()) == label


def test_a_short_recording_is_not_tiled_for_a_module_that_takes_waveforms(own):
    classifier = own("waveform")
    clip, _ = clip_of(0, seconds=0.8)
    with torch.no_grad():
        expected = classifier.module(clip.waveform[None])[0]
    torch.testing.assert_close(listen(clip, classifier).embedding, expected, atol=1e-4, rtol=0)


@kinds
@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_a_change_of_nothing_changes_nothing(own, kind, domain):
    """Power as it is, given back to the module: the same logits; half of it: those of the quieter sound."""
    classifier = own(kind)
    clip, _ = clip_of(1)
    audio = classifier.analyze(clip.waveform[None])
    for share in (1.0, 0.25):
        grid = audio.stft.abs().square() if domain == "stft" else audio.mel_power
        found = classifier.encode_changed(share * grid, audio, domain)[0]
        expected = classifier.analyze(share**0.5 * clip.waveform[None]).embedding
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


@kinds
@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_what_counted_is_the_planted_sound(own, kind, domain):
    """The universal decoder has never met these classifiers: it keeps the beep that decides, and little of the noise."""
    classifier = own(kind)
    method = load_explainer("lmac-any", classifier, domain)
    needed = []
    for label in (0, 1):
        clip, (first, last) = clip_of(label)
        result = explain_clip(clip, LABELS, classifier, method)
        assert result.target == LABELS[label] and result.explanation.evidence == "present"
        frames = result.times_s
        inside = (frames >= first) & (frames <= last)
        band = (result.frequencies_hz - (400.0, 3000.0)[label]).abs() < 150
        mask = result.explanation.mask
        box = float(mask[band][:, inside].mean())
        rest = (float(mask.sum()) - box * int(band.sum()) * int(inside.sum())) / (
            mask.numel() - int(band.sum()) * int(inside.sum())
        )
        assert box > 1.8 * rest
        # Heard alone the part still decides.
        assert result.probability["kept"] > 0.5
        needed.append(result.probability["removed"] < 0.8 * result.probability["original"])
    # Without it the decision falls; what an edge of the mask leaves of one beep is enough for one of these classifiers.
    assert any(needed)


@kinds
@pytest.mark.parametrize(
    "name", [name for name in METHODS if name not in ("lmac-zs", "l2i", "l2i-esc50", "lmac-any")]
)
def test_every_method_that_needs_no_training_runs(own, kind, name):
    options = {
        "integrated-gradients": {"steps": 8},
        "smoothgrad": {"n": 2},
        "rise": {"n": 16},
        "slime": {"n": 16},
        "optimized-mask": {"steps": 2},
    }
    classifier = own(kind)
    method = load_explainer(name, classifier, "stft", **options.get(name, {}))
    clip, _ = clip_of(1)
    result = explain_clip(clip, LABELS, classifier, method)
    assert result.explanation.mask.shape == result.magnitude_db.shape
    assert bool(torch.isfinite(result.explanation.mask).all()) and set(result.metrics)


@kinds
def test_layers_with_maps_are_found_by_experiment(own, kind):
    """The way round is right: what is changed late in the sound changes the map late."""
    classifier = own(kind)
    assert classifier.layers
    sounds = torch.stack([sound(1, 1.0, 900, level=level)[0] for level in (0.3, 0.0)])
    for name, layer in classifier.cam_layers.items():
        outputs = []
        handle = layer.register_forward_hook(lambda module, inputs, output, to=outputs: to.append(output))
        classifier.analyze(sounds)
        handle.remove()
        with_beep, without = classifier.layer_map(name, outputs[0], sounds.shape[1])
        change = (with_beep - without).abs().sum(dim=(0, 2))
        assert float(change[len(change) // 2 :].sum() / change.sum()) > 0.9


class Broken(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.inner, self.change = WaveNetwork(), change

    def forward(self, waveform):
        return self.change(self.inner, waveform)


@pytest.mark.parametrize(
    ("module", "labels", "words"),
    [
        (WaveNetwork(), ("a", "b"), r"gives \(1, 3\) for one window, and \(1, 2\) fits its 2 labels"),
        (WaveNetwork(), ("a", "b", "b"), "The label 'b' is empty or stands twice"),
        (WaveNetwork(), ("a",), "1 labels are too few"),
        (Broken(lambda inner, x: inner(x.detach())), LABELS, "No gradient flows"),
        (Broken(lambda inner, x: inner(x) * torch.nan), LABELS, "are not finite"),
        (ImageNet(), LABELS, "cannot read its input of shape"),
        (Broken(lambda inner, x: {"scores": inner(x)}), LABELS, "gives dict for one window"),
    ],
)
def test_a_module_that_cannot_be_explained_is_refused(module, labels, words):
    with pytest.raises(LMACError, match=words):
        wrap_classifier(module, labels, Waveform.at(RATE, SECONDS))


def test_a_module_may_be_wrapped_where_no_gradients_are_kept():
    for without in (torch.no_grad(), torch.inference_mode()):
        module = WaveNetwork()
        with without:
            classifier = wrap_classifier(module, LABELS, Waveform.at(RATE, SECONDS))
        assert classifier.layers


def test_a_layer_that_has_no_map_is_refused():
    module = WaveNetwork()
    with pytest.raises(LMACError, match="The layer 'head' puts out no map over time"):
        wrap_classifier(module, LABELS, Waveform.at(RATE, SECONDS), layers={"head": module.head})
    chosen = wrap_classifier(module, LABELS, Waveform.at(RATE, SECONDS), layers={"first": module.body[0]})
    assert list(chosen.cam_layers) == ["first"]


def test_cams_need_a_layer():
    module = nn.Sequential(nn.Flatten(), nn.Linear(round(SECONDS * RATE), 3))
    classifier = wrap_classifier(module, LABELS, Waveform.at(RATE, SECONDS))
    assert not classifier.cam_layers
    with pytest.raises(LMACError, match="needs a layer with maps, and none was found"):
        load_explainer("grad-cam", classifier)
    clip, _ = clip_of(0)
    assert explain_clip(clip, LABELS, classifier, load_explainer("lmac-any", classifier)).metrics


def test_mel_power_alone_tells_nothing_of_a_waveform(own):
    with pytest.raises(LMACError, match="does not take mel power"):
        own("waveform").encode(torch.zeros(1, 64, 10))


def test_multi_label_prompts_are_judged_one_by_one():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = WaveNetwork()
    classifier = wrap_classifier(module, LABELS, Waveform.at(RATE, SECONDS), multi_label=True)
    clip, _ = clip_of(0)
    logits = listen(clip, classifier).embedding
    for prompts in (("click",), LABELS):
        result = explain_clip(
            clip, prompts, classifier, load_explainer("saliency", classifier), target="click"
        )
        assert result.probability["original"] == pytest.approx(float(logits[2].sigmoid()), abs=1e-5)
    with pytest.raises(PromptError, match="none of the 3 labels"):
        explain_clip(clip, ("a dog",), classifier, load_explainer("saliency", classifier))


OWN_FILE = """
import torch
from lmaczs import Waveform, wrap_classifier
def classifier():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8000, 2))
    return wrap_classifier(module, ["a", "b"], Waveform.at(16000, 0.5))
"""


def test_a_python_file_makes_a_classifier(tmp_path):
    (tmp_path / "mine.py").write_text(OWN_FILE)
    name = f"py:{tmp_path / 'mine.py'}"
    classifier = load_backend(name)
    assert (classifier.name, classifier.source, labels_for(name)) == ("py:mine.py", name, ("a", "b"))
    assert load_backend(name) is classifier


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (None, BackendUnavailableError, "'mine.py' is no Python file"),
        ("x = 1", BackendUnavailableError, r"'mine.py' has no function classifier\(\)"),
        ("def classifier(): return 3", BackendUnavailableError, "gives int: let it return"),
        ("import nothing_like_this", BackendUnavailableError, "'mine.py' stops with ModuleNotFoundError"),
        ("def classifier(): return 1 / 0", BackendUnavailableError, "stops with ZeroDivisionError"),
        (OWN_FILE.replace('"b"', '"a"'), LMACError, "The label 'a' is empty or stands twice"),
    ],
)
def test_a_python_file_that_makes_none(tmp_path, code, error, words):
    if code is not None:
        (tmp_path / "mine.py").write_text(code)
    with pytest.raises(error, match=words) as caught:
        load_backend(f"py:{tmp_path / 'mine.py'}")
    assert str(tmp_path) not in str(caught.value)
