"""LAION's CLAP from the .pt files of its authors against the package laion-clap: random weights, shared by a file."""

import numpy as np
import pytest
import torch
from miniatures import ROBERTA, read_vocabulary, recording, reference_laion

from lmaczs import load_backend
from lmaczs.clap.laion import load_laion
from lmaczs.errors import CheckpointError
from lmaczs.hearing import listen
from lmaczs.signal.audio import make_clip

RATE = 48000
TEXT = ROBERTA | {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 2}
SOUNDS = {
    "mono": recording(5.0, RATE),
    "stereo": recording(5.0, RATE, channels=2, seed=2),
    "whole": recording(10.0, RATE, seed=3),
}
PROMPTS = ["this is the sound of rain", "A dog!", "the sound of a dog and the sound of rain"]


def published(model, **more) -> dict:
    """The file as the training script of LAION wrote it, with the traces that training left."""
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    return {"epoch": 15, "name": "model", "state_dict": state, "best": np.float64(0.9), **more}


@pytest.fixture(scope="module")
def reference():
    model = reference_laion(TEXT).requires_grad_(False)
    model.logit_scale_t.fill_(1.0)
    return model


@pytest.fixture(scope="module")
def folder(reference, tmp_path_factory):
    """The published file with a vocabulary beside it."""
    folder = tmp_path_factory.mktemp("laion-original")
    read_vocabulary(folder, "roberta")
    torch.save(published(reference), folder / "630k-audioset-best.pt")
    return folder


@pytest.fixture(scope="module")
def backend(folder):
    return load_backend("laion", weights=folder / "630k-audioset-best.pt")


def audio_embedding(reference, sound):
    """As `CLAP_Module.get_audio_embedding_from_data` has it: repeated, and silence after the last whole copy."""
    samples = sound.mean(0)
    samples = samples.repeat(480000 // len(samples))
    return reference.get_audio_embedding([{"waveform": samples, "longer": torch.tensor(False)}])[0]


@pytest.mark.parametrize("name", SOUNDS)
def test_audio_embeddings_are_the_packages(reference, backend, name):
    expected = {other: audio_embedding(reference, sound) for other, sound in SOUNDS.items()}
    apart = float(torch.pdist(torch.stack(list(expected.values()))).min())
    error = float((listen(make_clip(SOUNDS[name], RATE), backend).embedding - expected[name]).norm())
    assert error < 1e-4 and error < 0.01 * apart


def test_text_embeddings_are_the_packages(reference, backend, folder):
    tokens = read_vocabulary(folder, "roberta")(PROMPTS, padding=True, return_tensors="pt")
    expected = reference.get_text_embedding(dict(tokens))
    found = backend.encode_text(PROMPTS).embedding
    assert float((found - expected).norm(dim=1).max()) < 1e-4
    assert float((found[0] - found[1:]).norm(dim=1).min()) > 0.1


def test_the_temperature_is_the_audio_sides(reference, backend):
    torch.testing.assert_close(backend.logit_scale, reference.logit_scale_a.exp())


def test_other_sizes_are_read_off_the_weights(reference):
    from lmaczs.clap.laion_original import audio_shape, text_shape

    state = reference.state_dict()
    shape = audio_shape(state, "x.pt")
    assert (shape.width, shape.depths, shape.heads, shape.window) == (96, (2, 2, 6, 2), (4, 8, 16, 32), 8)
    # HTSAT-base is wider, and its third stage deeper.
    wider = dict(state) | {"audio_branch.patch_embed.proj.weight": torch.zeros(128, 1, 4, 4)}
    for block in range(6, 12):
        wider[f"audio_branch.layers.2.blocks.{block}.norm1.weight"] = torch.zeros(512)
    assert audio_shape(wider, "x.pt").depths == (2, 2, 12, 2) and audio_shape(wider, "x.pt").width == 128
    assert text_shape(state, "x.pt").num_attention_heads == 12


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda state: state.update({"audio_branch.fusion_model.x": torch.zeros(1)}), "fuses crops"),
        (
            lambda state: state.pop("audio_branch.logmel_extractor.melW"),
            "lacks 'audio_branch.logmel_extractor.melW'",
        ),
        (lambda state: state.pop("text_branch.embeddings.word_embeddings.weight"), "no RoBERTa"),
        (lambda state: state.pop("audio_branch.bn0.bias"), "lacks: encoder.bn0.bias"),
        (lambda state: state.update({"audio_branch.more": torch.zeros(1)}), "unknown weights: encoder.more"),
    ],
)
def test_another_model_is_refused_in_one_sentence(reference, folder, tmp_path, edit, words):
    state = dict(reference.state_dict())
    edit(state)
    read_vocabulary(tmp_path, "roberta")
    torch.save({"state_dict": state}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=words) as caught:
        load_laion("laion", tmp_path / "other.pt")
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_a_pt_file_of_something_else_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "some.pt")
    with pytest.raises(CheckpointError, match="no checkpoint of the package laion-clap"):
        load_laion("laion", tmp_path / "some.pt")
