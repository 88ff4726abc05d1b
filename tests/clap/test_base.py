"""The contract of a CLAP: prompts and their cache, a differentiable way to the embedding, loading by name."""

import pytest
import torch

from lmaczs.clap import BACKENDS, load_backend
from lmaczs.clap.debug import build_debug
from lmaczs.errors import BackendUnavailableError, PromptError


@pytest.fixture
def fresh_backend():
    """A debug backend of its own, with an empty text cache."""
    return build_debug().requires_grad_(False)


def noise(rows, samples, seed=0):
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(seed))


def test_a_prompt_is_embedded_once_and_stays_equal(fresh_backend, monkeypatch):
    asked = []
    embed = fresh_backend.embed_sentences
    watched = lambda prompts: asked.extend(prompts) or embed(prompts)  # noqa: E731
    monkeypatch.setattr(fresh_backend, "embed_sentences", watched)
    first = fresh_backend.encode_text(["rain", "a dog", "rain"])
    second = fresh_backend.encode_text(["a dog", " rain "])
    assert asked == ["rain", "a dog"]
    assert second.prompts == ("a dog", "rain")
    assert torch.equal(first.embedding[0], first.embedding[2])
    assert torch.equal(first.embedding[:2].flip(0), second.embedding)
    torch.testing.assert_close(first.embedding.norm(dim=1), torch.ones(3))


def test_different_prompts_have_different_embeddings(fresh_backend):
    embedding = fresh_backend.encode_text(["rain", "Rain!", "🌧️", "مطر"]).embedding
    assert float((embedding @ embedding.T - torch.eye(4)).max()) < 0.999


def test_the_cache_is_bounded(fresh_backend):
    for number in range(4097):
        fresh_backend._text_cache[f"old {number}"] = torch.zeros(fresh_backend.embed_dim)
    text = fresh_backend.encode_text(["old 5", "new"])
    assert len(fresh_backend._text_cache) == 2
    torch.testing.assert_close(text.embedding.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize(("prompts", "words"), [([], "No prompt"), (["rain", " \t"], "Prompt 2 is empty")])
def test_missing_and_empty_prompts_are_refused(fresh_backend, prompts, words):
    with pytest.raises(PromptError, match=words):
        fresh_backend.encode_text(prompts)


def test_analyze_gives_the_shapes_that_it_promises(debug_backend):
    state = debug_backend.analyze(noise(3, debug_backend.clip_samples))
    frames = 1 + debug_backend.clip_samples // debug_backend.spectral.hop_length
    assert state.stft.shape == (3, debug_backend.spectral.n_bins, frames)
    assert state.mel_power.shape == (3, debug_backend.spectral.n_mels, frames)
    assert tuple(level.shape[1] for level in state.hidden) == debug_backend.hidden_channels
    assert state.valid_samples.tolist() == 3 * [debug_backend.clip_samples]
    torch.testing.assert_close(state.embedding.norm(dim=1), torch.ones(3))


def test_a_batch_gives_what_its_clips_give_alone(debug_backend):
    waveform = noise(3, debug_backend.clip_samples)
    together = debug_backend.analyze(waveform).embedding
    alone = torch.cat([debug_backend.analyze(row.unsqueeze(0)).embedding for row in waveform])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_level_is_no_property_of_a_sound(debug_backend):
    """±12 dB: the front end takes the window's own level out before the logarithm."""
    waveform = noise(1, debug_backend.clip_samples)
    base = debug_backend.analyze(waveform).embedding
    for gain_db in (-12.0, 12.0):
        changed = debug_backend.analyze(10 ** (gain_db / 20) * waveform).embedding
        torch.testing.assert_close(changed, base, atol=1e-4, rtol=0)


def test_gradient_flows_through_the_frozen_model_into_the_waveform(debug_backend):
    waveform = noise(1, debug_backend.clip_samples).requires_grad_()
    debug_backend.analyze(waveform).embedding[0, 0].backward()
    assert bool(torch.isfinite(waveform.grad).all()) and float(waveform.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in debug_backend.parameters())


def test_the_planted_embedding_depends_on_its_box_alone(planted_backend):
    inside = torch.zeros(1, 32, 101)
    inside[:, planted_backend.box_mels, planted_backend.box_frames] = 1.0
    power = torch.rand(1, 32, 101, generator=torch.Generator().manual_seed(0))
    embed = lambda values: planted_backend.encode(values)[0]  # noqa: E731
    assert torch.equal(embed(power), embed(power * inside))
    assert torch.equal(embed(power), embed(power + 5 * (1 - inside)))
    assert float(embed(power * (1 - inside))[0, 0]) == 0.0
    rows = (planted_backend.mel_filters[planted_backend.box_mels].sum(0) > 0).nonzero()[:, 0]
    assert (int(rows[0]), int(rows[-1]) + 1) == (
        planted_backend.box_bins.start,
        planted_backend.box_bins.stop,
    )


def test_the_planted_backend_hears_the_beep_and_not_the_noise(planted_backend, beep_in_noise):
    text = planted_backend.encode_text(["a beep", "rain"]).embedding
    heard = planted_backend.analyze(beep_in_noise.waveform.unsqueeze(0)).embedding @ text.T
    noise_only = planted_backend.analyze(0.5 * noise(1, 32000)).embedding @ text.T
    assert float(heard[0, 0]) > 0.9 and float(noise_only[0, 0]) < 0.1


def test_a_loaded_backend_is_frozen_shared_and_in_evaluation_mode():
    backend = load_backend("debug", "cpu")
    assert backend is load_backend("debug", "cpu") is load_backend("debug", "cpu:0")
    assert not backend.training and not any(parameter.requires_grad for parameter in backend.parameters())


def test_building_the_debug_backend_is_repeatable_and_leaves_random_numbers_alone():
    torch.manual_seed(5)
    first = build_debug().state_dict()
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), drawn)
    second = build_debug().state_dict()
    other = build_debug(seed=1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["audio_encoder.fc1.weight"], other["audio_encoder.fc1.weight"])


def test_unknown_names_list_the_known_ones():
    with pytest.raises(BackendUnavailableError, match=", ".join(f"'{name}'" for name in BACKENDS)):
        load_backend("msclap-1999")
    with pytest.raises(BackendUnavailableError, match="choose one of cpu"):
        load_backend("debug", "tpu")
    with pytest.raises(BackendUnavailableError, match="choose one of cpu"):
        load_backend("debug", "cuda:99")
