"""LAION's CLAP against transformers' ClapModel and ClapProcessor: random weights, shared by way of files."""

import json

import numpy as np
import pytest
import torch
from miniatures import (
    LAION_FRONT_END,
    SMALL_FRONT_END,
    clap_config,
    enliven,
    read_vocabulary,
    recording,
    small_backend,
)

from lmaczs import load_backend
from lmaczs.clap import labels_for
from lmaczs.clap.laion import SOURCES, load_laion
from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.hearing import listen
from lmaczs.signal.audio import make_clip
from lmaczs.signal.spectral import power_to_db

RATE = 48000
SOUNDS = {
    "mono": recording(5.0, RATE),
    "short": recording(3.3, RATE, seed=1),
    "stereo": recording(5.0, RATE, channels=2, seed=2),
    "whole": recording(10.0, RATE, seed=3),
}
PROMPTS = ["this is the sound of rain", "A dog!", "the sound of a dog and the sound of rain"]


def write_repository(folder, small, safetensors=True, edit=None):
    """The files of a hub repository, written by transformers; returns its model and processor."""
    from transformers import ClapFeatureExtractor, ClapModel, ClapProcessor

    torch.manual_seed(0)
    model = enliven(ClapModel(clap_config(small))).requires_grad_(False)
    with torch.no_grad():
        model.logit_scale_t.fill_(1.0)
    tokenizer = read_vocabulary(folder, "roberta")
    front_end = SMALL_FRONT_END if small else LAION_FRONT_END
    (folder / "config.json").write_text(json.dumps(model.config.to_dict(), default=str))
    (folder / "preprocessor_config.json").write_text(json.dumps(front_end))
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    if edit:
        edit(state)
    if safetensors:
        from safetensors.torch import save_file

        save_file(state, folder / "model.safetensors")
    else:
        torch.save(state, folder / "pytorch_model.bin")
    return model, ClapProcessor(ClapFeatureExtractor.from_dict(front_end), tokenizer)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The reference at its full audio size with a small text encoder, and ours from the files that it wrote."""
    folder = tmp_path_factory.mktemp("laion")
    model, processor = write_repository(folder, small=False)
    return model, processor, load_laion("laion", folder)


@pytest.fixture(scope="module")
def expected(pair):
    """The reference's embeddings of `SOUNDS` by name, and the smallest distance between two of them.

    "repeat" tiles to the end, as we do; for 5 s and 10 s it is the same as the published "repeatpad".
    """
    model, processor, _ = pair
    features = []
    for name, sound in SOUNDS.items():
        padding = "repeat" if name == "short" else "repeatpad"
        inputs = processor(
            audio=sound.mean(0).numpy(), sampling_rate=RATE, padding=padding, return_tensors="pt"
        )
        features.append(inputs["input_features"])
    assert features[0].shape == (1, 1, 1001, 64)
    found = model.get_audio_features(input_features=torch.cat(features)).pooler_output
    return dict(zip(SOUNDS, found, strict=True)), float(torch.pdist(found).min())


@pytest.mark.parametrize("name", SOUNDS)
def test_audio_embeddings_are_the_references(pair, expected, name):
    heard = listen(make_clip(SOUNDS[name], RATE), pair[2]).embedding
    embedding, apart = expected
    error = float((heard - embedding[name]).norm())
    assert error < 1e-4 and error < 0.01 * apart  # of unit norm; and far less than what tells sounds apart


def test_the_front_end_is_the_extractors_and_lets_gradients_through(pair):
    _, processor, backend = pair
    samples = SOUNDS["whole"].clone().requires_grad_(True)
    mel = backend.analyze(samples).mel_power
    inputs = processor(audio=samples[0].detach().numpy(), sampling_rate=RATE, return_tensors="pt")
    difference = power_to_db(mel)[0].T - inputs["input_features"][0, 0]
    assert float(difference.detach().abs().max()) < 1e-2  # dB
    power_to_db(mel).mean().backward()
    assert float(samples.grad.abs().sum()) > 0


def test_text_embeddings_are_the_references(pair):
    model, processor, backend = pair
    inputs = processor(text=PROMPTS, return_tensors="pt", padding=True)
    expected = model.get_text_features(**inputs).pooler_output
    found = backend.encode_text(PROMPTS).embedding
    assert float((found - expected).norm(dim=1).max()) < 1e-4
    assert float((found[0] - found[1:]).norm(dim=1).min()) > 0.1  # the prompts are told apart


def test_probabilities_use_the_audio_sides_temperature(pair):
    model, _, backend = pair
    torch.testing.assert_close(backend.logit_scale, model.logit_scale_a.exp())
    assert float((model.logit_scale_a - model.logit_scale_t).abs()) > 1


def test_hidden_maps_are_the_references_unfolded(pair):
    model, processor, backend = pair
    inputs = processor(audio=SOUNDS["whole"][0].numpy(), sampling_rate=RATE, return_tensors="pt")
    output = model.audio_model(
        input_features=inputs["input_features"],
        output_hidden_states=True,
        output_hidden_states_before_downsampling=True,
    )
    with torch.no_grad():
        hidden = backend.analyze(SOUNDS["whole"]).hidden
    assert [level.shape for level in hidden] == [
        (1, 96, 256, 16), (1, 192, 128, 8), (1, 384, 64, 4), (1, 768, 32, 2),
    ]  # fmt: skip
    # The reference unfolds only its last map, (batch, channels, freq, time).
    torch.testing.assert_close(hidden[3], output.last_hidden_state.transpose(2, 3), atol=1e-3, rtol=1e-3)
    for level, folded in zip(hidden[:3], output.hidden_states[1:4], strict=True):
        lines = torch.cat(list(folded.unflatten(2, (4, -1)).unbind(2)), dim=-1)  # chunks one after another
        torch.testing.assert_close(level, lines.transpose(2, 3), atol=1e-3, rtol=1e-3)


def test_a_click_at_3_s_lights_the_right_cells(pair):
    *_, backend = pair
    quiet = 0.01 * SOUNDS["whole"]
    click = quiet.clone()
    click[:, 3 * RATE : 3 * RATE + 400] += 0.5
    with torch.no_grad():
        before, after = backend.analyze(quiet), backend.analyze(click)
    assert float((after.embedding - before.embedding).norm()) > 1e-3
    for calm, lit in zip(before.hidden, after.hidden, strict=True):
        change = (lit - calm).square().sum(dim=(0, 1, 3))
        assert abs(float(change.argmax()) + 0.5 - 0.3 * len(change)) <= 1.5


def test_pickled_weights_of_older_repositories_load_too(tmp_path):
    model, _ = write_repository(tmp_path, small=True, safetensors=False)
    backend = load_laion("laion", tmp_path / "pytorch_model.bin")
    weight = model.audio_projection.linear1.weight
    assert torch.equal(backend.audio_projection.linear1.weight, weight)


def test_buffers_that_libraries_store_or_not_may_be_missing(tmp_path):
    def edit(state):
        for name in [name for name in state if name.endswith(("position_ids", "token_type_ids", "_index"))]:
            del state[name]

    write_repository(tmp_path, small=True, edit=edit)
    backend = load_laion("laion-general", tmp_path)
    assert backend.name == "laion-general"
    assert torch.equal(backend.text_tower.model.embeddings.position_ids[0], torch.arange(98))


def test_query_key_and_value_become_one_matrix_in_this_order(tmp_path):
    model, _ = write_repository(tmp_path, small=True)
    backend = load_laion("laion", tmp_path)
    theirs = model.audio_model.audio_encoder.layers[1].blocks[0].attention.self
    ours = backend.encoder.layers[1].blocks[0].attn.qkv
    weights = [theirs.query.weight, theirs.key.weight, theirs.value.weight]
    assert torch.equal(ours.weight, torch.cat(weights))


def test_a_checkpoint_with_a_missing_or_unknown_weight_is_refused(tmp_path):
    name = "audio_model.audio_encoder.layers.0.blocks.1.attention.self.key.bias"
    write_repository(tmp_path / "missing", small=True, edit=lambda state: state.pop(name))
    with pytest.raises(
        CheckpointError, match=r"another shape: encoder.layers.0.blocks.1.attn.qkv.bias is \(16,\)"
    ):
        load_laion("laion", tmp_path / "missing")
    write_repository(
        tmp_path / "extra", small=True, edit=lambda state: state.update({"head.weight": torch.zeros(2)})
    )
    with pytest.raises(CheckpointError, match="unknown weights: head.weight"):
        load_laion("laion", tmp_path / "extra")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"enable_fusion": True}, "choose a checkpoint without fusion"),
        ({"patch_stride": 2}, "patch_stride = 2, but only 4 is supported"),
        ({"hidden_act": "relu"}, "hidden_act = 'relu', but only 'gelu'"),
    ],
)
def test_other_kinds_of_checkpoint_are_refused(tmp_path, change, words):
    write_repository(tmp_path, small=True)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["audio_config"].update(change)
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=words):
        load_laion("laion", tmp_path)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "vocab.json", "merges.txt"])
def test_a_folder_that_lacks_a_file_is_refused(tmp_path, name):
    write_repository(tmp_path, small=True)
    (tmp_path / name).unlink()
    with pytest.raises(BackendUnavailableError, match=f"no '{name}' beside the weights") as caught:
        load_laion("laion", tmp_path)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", ["{", "[]"])
def test_damaged_descriptions_are_refused(tmp_path, name, content):
    write_repository(tmp_path, small=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=f"'{name}'"):
        load_laion("laion", tmp_path)


def test_a_long_prompt_is_cut_to_the_positions_that_there_are(tmp_path):
    tower = small_backend("laion", tmp_path).text_tower
    assert tower.max_tokens == 96
    features = tower(["dog " * 200])
    assert features.shape == (1, 32) and bool(np.isfinite(features.numpy()).all())


def test_published_repositories_are_pinned():
    assert all(len(source.commit) == 40 for source in SOURCES.values())


def test_a_clap_of_ones_own_is_loaded_from_what_transformers_writes(tmp_path):
    """`hf:FOLDER` with model and processor as save_pretrained leaves them today."""
    from transformers import ClapFeatureExtractor, ClapModel, ClapProcessor

    torch.manual_seed(0)
    model = enliven(ClapModel(clap_config(small=True))).requires_grad_(False)
    tokenizer = read_vocabulary(tmp_path / "vocabulary", "roberta")
    folder = tmp_path / "my-clap"
    model.save_pretrained(folder)
    ClapProcessor(ClapFeatureExtractor.from_dict(SMALL_FRONT_END), tokenizer).save_pretrained(folder)
    assert not (folder / "vocab.json").exists() and not (folder / "preprocessor_config.json").exists()
    found = load_backend(f"hf:{folder}")
    assert found.name == "hf:my-clap" and found.labels is None and labels_for(f"hf:{folder}") is None
    tokens = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    expected = model.get_text_features(**tokens)
    expected = getattr(expected, "pooler_output", expected)
    expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found.encode_text(PROMPTS).embedding, expected, atol=1e-4, rtol=0)
    # The audio side is that of `load_laion`, which is tested against transformers above.
    again = load_laion("laion", folder)
    sound = make_clip(recording(1.0, 16000), 16000)
    assert torch.equal(listen(sound, found).embedding, listen(sound, again).embedding)
    assert torch.equal(found.mel_filters, again.mel_filters)


def test_a_processor_without_a_front_end_is_refused(tmp_path):
    write_repository(tmp_path, small=True)
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="'processor_config.json' of this CLAP"):
        load_laion("laion", tmp_path)
