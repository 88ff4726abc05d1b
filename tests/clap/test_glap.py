"""GLAP against the reference code (glap-model, dasheng, torchaudio): random weights, shared by a file."""

import pytest
import torch
from miniatures import recording
from reference_glap import modules, reference_glap, write_vocabulary

from lmaczs import load_backend, load_explainer
from lmaczs.clap import forget_backend
from lmaczs.clap.glap import VOCABULARY, WEIGHTS
from lmaczs.errors import BackendUnavailableError, CheckpointError, PromptError
from lmaczs.hearing import classify, explain, listen
from lmaczs.signal.audio import make_clip

RATE = 16000
PROMPTS = ["The sound of a dog can be heard.", "rain", "a siren wails over the sea!"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The published file's layout, with a vocabulary beside it."""
    modules()
    folder = tmp_path_factory.mktemp("glap")
    write_vocabulary(folder / VOCABULARY)
    return folder


@pytest.fixture(scope="module")
def reference(folder):
    model = reference_glap(folder / VOCABULARY)
    torch.save(
        {"config": {"model": "GLAP", "model_args": {"embed_size": 48}}, "model": model.state_dict()},
        folder / WEIGHTS,
    )
    return model


@pytest.fixture(scope="module")
def backend(folder, reference):
    found = load_backend("glap", weights=folder)
    yield found
    forget_backend(found)


def clip(sound):
    return make_clip(sound, RATE)


def test_sounds_of_a_window_are_embedded_as_there(reference, backend):
    sounds = [recording(10.0, RATE, seed=seed) for seed in (0, 1)]
    # Half of it digital silence: the reference raises what is 120 dB below the loudest cell.
    sounds.append(sounds[0] * (torch.arange(160000) < 80000) * 3)
    expected = torch.cat([reference.encode_audio(sound) for sound in sounds])
    found = torch.stack([listen(clip(sound), backend).embedding for sound in sounds])
    apart = float(torch.pdist(expected).min())
    error = float((found - expected).norm(dim=1).max())
    assert error < 1e-4 and error < 0.02 * apart


def test_a_short_sound_is_tiled(reference, backend):
    sound = recording(4.0, RATE)
    tiled = sound.repeat(1, 3)[:, :160000]
    torch.testing.assert_close(
        listen(clip(sound), backend).embedding, reference.encode_audio(tiled)[0], atol=1e-4, rtol=0
    )


def test_sentences_are_embedded_as_there(reference, backend):
    # One at a time: the reference's padding leaves traces of some 1e-4 in float32.
    expected = torch.cat([reference.encode_text([prompt]) for prompt in PROMPTS])
    found = backend.encode_text(PROMPTS).embedding
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert float(torch.pdist(expected).min()) > 0.05


def test_scores_are_those_of_the_reference(reference, backend):
    sound = recording(10.0, RATE)
    expected = reference.score(reference.encode_audio(sound), reference.encode_text(PROMPTS))[0]
    found = classify(listen(clip(sound), backend), PROMPTS, backend)
    torch.testing.assert_close(found.similarities * backend.logit_scale, expected, atol=1e-2, rtol=0)
    torch.testing.assert_close(found.probabilities, expected.softmax(0), atol=1e-3, rtol=0)
    assert found.unit == "similarity"


def test_it_has_four_maps_for_every_method(backend):
    state = listen(clip(recording(10.0, RATE)), backend).states[0]
    assert [tuple(level.shape[1:]) for level in state.hidden] == [(128, 250, 1)] * 4
    assert list(backend.cam_layers) == ["block1", "block2", "block4", "block5"]


@pytest.mark.parametrize("method", ["lmac-any", "grad-cam++", "saliency"])
def test_methods_explain_it(backend, method):
    heard = listen(clip(recording(10.0, RATE)), backend)
    result = explain(heard, PROMPTS, backend, load_explainer(method, backend), target=PROMPTS[1])
    assert result.explanation.mask.shape == result.magnitude_db.shape
    assert bool(result.explanation.mask.isfinite().all())


def test_prompts_that_are_too_long_are_refused(backend):
    with pytest.raises(PromptError, match="reads 512"):
        backend.encode_text(["0 1 2 3 4 5 6 7 8 9 " * 60])


def test_without_weights_it_says_where_they_are():
    with pytest.raises(BackendUnavailableError, match=f"--weights and '{WEIGHTS}'.*'{VOCABULARY}' beside it"):
        load_backend("glap")


def test_a_missing_or_damaged_vocabulary_is_one_sentence(folder, reference, tmp_path):
    (tmp_path / WEIGHTS).symlink_to(folder / WEIGHTS)
    with pytest.raises(BackendUnavailableError, match="vocabulary of SONAR"):
        load_backend("glap", weights=tmp_path / WEIGHTS)
    (tmp_path / VOCABULARY).write_bytes(b"half")
    with pytest.raises(CheckpointError, match="no SentencePiece vocabulary"):
        load_backend("glap", weights=tmp_path / WEIGHTS)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("audio_encoder.model.front_end.0.mel_scale.fb", "lacks 'audio_encoder.model.front_end"),
        ("audio_encoder.model.blocks.", "has 0 blocks"),
        ("text_encoder.model.layer_norm.weight", "lacks: text_tower.layer_norm.weight"),
    ],
)
def test_files_of_other_models_are_refused(folder, reference, tmp_path, lost, message):
    state = {name: value for name, value in reference.state_dict().items() if not name.startswith(lost)}
    torch.save({"model": state}, tmp_path / WEIGHTS)
    (tmp_path / VOCABULARY).symlink_to(folder / VOCABULARY)
    with pytest.raises(CheckpointError, match=message):
        load_backend("glap", weights=tmp_path)
