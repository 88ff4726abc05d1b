"""transformers' audio classifiers behind "hf:FOLDER": the same logits as the reference, and explained like a CLAP."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import KINDS, LABELS, save

from lmaczs import AudioClip, explain_clip, load_backend, load_explainer
from lmaczs.clap import labels_for
from lmaczs.errors import BackendUnavailableError, CheckpointError, PromptError
from lmaczs.explainers import default_method
from lmaczs.hearing import classify, listen

RATE = 16000


def noise(seconds, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return AudioClip(0.1 * torch.randn(round(seconds * RATE), generator=generator), RATE, "noise")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folder and reference of each kind, made at the first use."""
    made = {}

    def folder_of(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            made[kind] = (folder, *save(folder, kind))
        return made[kind]

    return folder_of


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.7, 1.02])
def test_logits_are_those_of_transformers(folders, kind, seconds):
    """Model and feature extractor as transformers runs them, on a recording that is shorter than a window."""
    folder, model, extractor = folders(kind)
    clip = noise(seconds)
    inputs = extractor(clip.waveform.numpy(), sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits[0]
    classifier = load_backend(f"hf:{folder}")
    found = listen(clip, classifier).embedding
    scale = float(expected.abs().max())
    assert float((expected - expected.mean()).abs().max()) > 1e-3
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-4, rtol=0)
    prediction = classify(listen(clip, classifier), list(LABELS.values()), classifier)
    torch.testing.assert_close(prediction.probabilities, expected.softmax(0), atol=1e-4, rtol=0)
    assert prediction.unit == "logit"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_explained(folders, kind):
    """Layers with maps are found, gradients reach the sound, and both parts add up to it."""
    classifier = load_backend(f"hf:{folders(kind)[0]}")
    assert len(classifier.layers) >= 2
    clip = noise(0.9)
    for name in ("lmac-any", "grad-cam++", "saliency"):
        result = explain_clip(
            clip, classifier.labels, classifier, load_explainer(name, classifier), target="siren"
        )
        assert result.explanation.mask.shape == result.magnitude_db.shape
        parts = result.listening.kept.waveform + result.listening.removed.waveform
        torch.testing.assert_close(parts, clip.waveform, atol=1e-5, rtol=0)
        if name != "lmac-any":
            assert float(result.explanation.mask.max()) == pytest.approx(1)


def test_a_long_recording_is_heard_in_windows(folders):
    """The logits are the mean of the windows'."""
    classifier = load_backend(f"hf:{folders('audio-spectrogram-transformer')[0]}")
    clip = noise(2.5 * classifier.clip_samples / RATE)
    recording = listen(clip, classifier)
    assert len(recording.plan.windows) == 3
    votes = torch.tensor([window.weight for window in recording.plan.windows])
    rows = torch.cat([state.embedding for state in recording.batches(classifier)])
    torch.testing.assert_close(recording.embedding, votes @ rows)


def test_a_multi_label_model_decides_on_each_label(tmp_path):
    """Sigmoids; a single label means something, and the verdict is not "alone"."""
    save(tmp_path, "audio-spectrogram-transformer", problem_type="multi_label_classification")
    classifier = load_backend(f"hf:{tmp_path}")
    recording = listen(noise(1.0), classifier)
    prediction = classify(recording, ["siren", "dog bark"], classifier)
    torch.testing.assert_close(prediction.probabilities, recording.embedding[[2, 0]].sigmoid())
    method = load_explainer("saliency", classifier)
    result = explain_clip(noise(1.0), ["siren"], classifier, method)
    assert result.probability["original"] == pytest.approx(float(recording.embedding[2].sigmoid()), abs=1e-5)


def test_prompts_are_the_labels_and_nothing_else(folders):
    classifier = load_backend(f"hf:{folders('wav2vec2')[0]}")
    assert classifier.labels == tuple(LABELS.values()) == labels_for(f"hf:{folders('wav2vec2')[0]}")
    assert classifier.index_of("this is the sound of a Dog_bark") == 0
    with pytest.raises(PromptError, match="'a cat' is none of the 3 labels .*'dog bark'.*choose among them"):
        classifier.check_prompts(["a cat"])
    with pytest.raises(PromptError, match="Prompts 1 and 2 are the same"):
        classifier.check_prompts(["siren", "Siren"])
    assert labels_for("compact-2") is None
    assert default_method(classifier.name) == "lmac-any"


def test_its_name_in_results_is_no_path(folders):
    folder = folders("wav2vec2")[0]
    classifier = load_backend(f"hf:{folder}")
    assert classifier.name == f"hf:{folder.name}" and classifier.source == f"hf:{folder}"
    assert load_backend(classifier.source) is classifier


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:nowhere-at-all", "'nowhere-at-all' is no folder with a config.json: give"),
        ("hf:owner/name", "names no commit: write 'hf:owner/name@COMMIT'"),
        ("hf:owner/name@main", "names no commit"),
        ("hf:", "is no folder"),
    ],
)
def test_a_place_that_is_none(name, words):
    with pytest.raises(BackendUnavailableError, match=words):
        load_backend(name)


def test_folders_that_cannot_be_used(tmp_path):
    """One sentence each: another kind, no safetensors, weights of another size, damaged and strange files."""
    save(tmp_path, "hubert")
    config = json.loads((tmp_path / "config.json").read_text())

    def refused(error, words, **changes):
        (tmp_path / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(error, match=words) as caught:
            load_backend(f"hf:{tmp_path}")
        assert str(tmp_path) not in str(caught.value)

    refused(BackendUnavailableError, "no audio classifier of the kind 'bert'", model_type="bert")
    refused(CheckpointError, "files cannot be loaded", intermediate_size=48)
    refused(CheckpointError, "does not number the labels", id2label={"0": "a", "2": "b"})
    refused(CheckpointError, "has no id2label", id2label=None)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"'config.json' of the classifier cannot be read"):
        load_backend(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = tmp_path / "model.safetensors"
    state = load_file(weights)
    save_file(
        {key: value for key, value in state.items() if key != "classifier.bias"}, weights, {"format": "pt"}
    )
    with pytest.raises(CheckpointError, match="lack 'classifier.bias', .* random weights explains nothing"):
        load_backend(f"hf:{tmp_path}")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="files cannot be loaded"):
        load_backend(f"hf:{tmp_path}")
    weights.unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(BackendUnavailableError, match="no weights as safetensors"):
        load_backend(f"hf:{tmp_path}")
