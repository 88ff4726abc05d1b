"""Microsoft's CLAPs against the package msclap: random weights, shared by way of a file in the published layout."""

import pytest
import torch
import torch.nn.functional as F
from miniatures import (
    BERT,
    GPT2,
    SMALL_2022,
    SMALL_2023,
    published_layout,
    read_vocabulary,
    recording,
    reference_msclap,
    small_backend,
)

from lmaczs.clap.convert import load_strictly
from lmaczs.clap.msclap import VERSION_2022, VERSION_2023, build_msclap, load_msclap
from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.hearing import listen
from lmaczs.signal.audio import make_clip
from lmaczs.signal.masking import masked_waveform
from lmaczs.signal.spectral import frequencies_hz, istft

SMALL = {"2022": SMALL_2022, "2023": SMALL_2023}
FULL = {"2022": VERSION_2022, "2023": VERSION_2023}
TEXT = {"2022": BERT, "2023": GPT2}
VOCABULARY = {"2022": "bert", "2023": "gpt2"}
RATE = 44100
SOUNDS = {
    "mono": recording(5.0, RATE),
    "short": recording(1.7, RATE, seed=1),  # tiled: more than twice, less than five times
    "stereo": recording(5.0, RATE, channels=2, seed=2),  # averaged
}
PROMPTS = [
    "this is the sound of rain",
    "A dog, and a dog!"[:-1],
    "rain",
    "the sound of a dog and the sound of rain",
]


def reference_window(samples, seconds):
    """What the package does with a mono recording no longer than the window: repeat it, and cut."""
    wanted = round(seconds * RATE)
    return samples.repeat(-(-wanted // len(samples)))[:wanted]


@pytest.fixture(scope="module", params=["2022", "2023"])
def pair(request, tmp_path_factory):
    """The reference at its full audio size, with a small text encoder, and ours from the file that it wrote."""
    from dataclasses import replace

    version, folder = request.param, tmp_path_factory.mktemp(request.param)
    reference = reference_msclap(version, TEXT[version]).requires_grad_(False)
    tokenizer = read_vocabulary(folder, VOCABULARY[version])
    torch.save(published_layout(reference), folder / FULL[version].weights.files[0][0])
    return reference, load_msclap(replace(FULL[version], text=TEXT[version]), folder), tokenizer


@pytest.fixture(scope="module")
def expected(pair):
    """The reference's embeddings of `SOUNDS` by name, and the smallest distance between two of them."""
    reference, backend, _ = pair
    windows = [reference_window(sound.mean(0), backend.clip_samples / RATE) for sound in SOUNDS.values()]
    found = F.normalize(reference.audio_encoder(torch.stack(windows))[0], dim=-1)
    return dict(zip(SOUNDS, found, strict=True)), float(torch.pdist(found).min())


@pytest.mark.parametrize("name", SOUNDS)
def test_audio_embeddings_are_the_references(pair, expected, name):
    heard = listen(make_clip(SOUNDS[name], RATE), pair[1]).embedding
    embedding, apart = expected
    error = float((heard - embedding[name]).norm())
    assert error < 1e-4 and error < 0.01 * apart  # of unit norm; and far less than what tells sounds apart


def test_text_embeddings_are_the_references(pair):
    reference, backend, tokenizer = pair
    if "gpt2" in reference.caption_encoder.text_model:
        tokenizer.add_special_tokens({"pad_token": "!"})
        sentences, length, keys = [f"{p} <|endoftext|>" for p in PROMPTS], 77, ["input_ids", "attention_mask"]
    else:
        sentences, length = [*PROMPTS, "rain and " * 80], 100
        keys = ["input_ids", "token_type_ids", "attention_mask"]
    batch = tokenizer(
        sentences, max_length=length, padding="max_length", truncation=True, return_tensors="pt"
    )
    expected = F.normalize(reference.caption_encoder({key: batch[key] for key in keys}), dim=-1)
    prompts = [sentence.removesuffix(" <|endoftext|>") for sentence in sentences]
    # Without the gate for prompts, which refuses one that is too long: the reference cuts it.
    found = torch.cat([backend.embed_sentences([prompt]) for prompt in prompts])
    assert float((found - expected).norm(dim=1).max()) < 1e-4
    assert float((found[0] - found[1:]).norm(dim=1).min()) > 0.1  # the prompts are told apart


def test_the_temperature_is_the_references(pair):
    reference, backend, _ = pair
    torch.testing.assert_close(backend.logit_scale, reference.logit_scale.exp())


def test_a_click_at_3_s_lights_the_right_cells(pair):
    _, backend, _ = pair
    if backend.name == "msclap-2022":
        pytest.skip("a CNN has no folded time to get wrong")
    quiet = 0.01 * recording(backend.clip_samples / RATE, RATE)
    click = quiet.clone()
    click[:, 3 * RATE : 3 * RATE + 400] += 0.5
    with torch.no_grad():
        before, after = backend.analyze(quiet), backend.analyze(click)
    assert float((after.embedding - before.embedding).norm()) > 1e-3
    for calm, lit in zip(before.hidden, after.hidden, strict=True):
        change = (lit - calm).square().sum(dim=(0, 1, 3))
        cell = 3.0 / (backend.clip_samples / RATE) * len(change)
        assert abs(float(change.argmax()) + 0.5 - cell) <= 1.5


def small_pair(version, folder, edit=None):
    """A small reference HTSAT, edited and saved, and the call that loads it."""
    reference = reference_msclap(version, TEXT[version], small=True).requires_grad_(False)
    read_vocabulary(folder, VOCABULARY[version])
    content = published_layout(reference)
    if edit:
        edit(reference, content["model"])
    path = folder / "weights.pth"
    torch.save(content, path)
    return reference, path


def test_the_checkpoints_own_mel_filters_count(tmp_path):
    def edit(reference, state):
        extractor = reference.audio_encoder.base.htsat.logmel_extractor
        extractor.melW.copy_(extractor.melW.flip(1) * 2)  # bands from high to low, and louder

    reference, path = small_pair("2023", tmp_path, edit)
    backend = load_msclap(SMALL_2023, path)
    samples = recording(1.0, RATE)
    expected = F.normalize(reference.audio_encoder(samples)[0], dim=-1)
    with torch.no_grad():
        assert float((backend.analyze(samples).embedding - expected).norm()) < 1e-4
    assert bool((backend.mel_frequencies_hz.diff() < 0).all())


def test_the_checkpoints_own_stft_window_counts_for_the_encoder_and_for_playback(tmp_path):
    hann, hamming = torch.hann_window(1024), torch.hamming_window(1024)

    def edit(reference, state):
        stft = reference.audio_encoder.base.htsat.spectrogram_extractor.stft
        for kernels in (stft.conv_real.weight, stft.conv_imag.weight):
            angle_part = kernels / hann.clamp_min(1e-8)
            angle_part[:, 0, 0] = 1.0 if kernels is stft.conv_real.weight else 0.0  # Hann is 0 there
            kernels.copy_(angle_part * hamming)

    reference, path = small_pair("2023", tmp_path, edit)
    backend = load_msclap(SMALL_2023, path)
    samples = recording(1.0, RATE)
    expected = F.normalize(reference.audio_encoder(samples)[0], dim=-1)
    with torch.no_grad():
        state = backend.analyze(samples)
    assert float((state.embedding - expected).norm()) < 1e-4
    assert backend.spectral.window is not None
    whole = torch.ones(state.stft.shape[1:])
    kept = masked_waveform(samples[0], whole, backend.spectral)
    torch.testing.assert_close(kept, samples[0], atol=1e-5, rtol=0)
    back = istft(state.stft, backend.spectral, samples.shape[1])
    torch.testing.assert_close(back, samples, atol=1e-5, rtol=0)


def test_a_published_front_end_is_a_plain_hann_window(tmp_path):
    _, path = small_pair("2023", tmp_path)
    assert load_msclap(SMALL_2023, path).spectral.window is None


def test_the_2023_filters_lie_where_44_1_khz_puts_them(tmp_path):
    """Designed for 32 kHz and up to 14 kHz, fed with 44.1 kHz: the highest band ends at 19.3 kHz."""
    _, path = small_pair("2023", tmp_path)
    backend = load_msclap(SMALL_2023, path)
    seen = frequencies_hz(backend.spectral)[backend.mel_filters.sum(0) > 0]
    assert 19200 < float(seen.max()) < 19300
    assert 15000 < float(backend.mel_frequencies_hz[-1]) < 19300


def scramble_stft(reference, state):
    state["audio_encoder.base.htsat.spectrogram_extractor.stft.conv_real.weight"][7] += 0.01


def add_key(reference, state):
    state["audio_encoder.base.htsat.extra.weight"] = torch.zeros(3)


def drop_key(reference, state):
    del state["audio_encoder.base.htsat.layers.2.blocks.0.attn.qkv.weight"]


def shrink_key(reference, state):
    state["audio_encoder.projection.linear1.weight"] = torch.zeros(3, 3)


def drop_front_end(reference, state):
    del state["audio_encoder.base.htsat.logmel_extractor.melW"]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (scramble_stft, "is no windowed Fourier transform"),
        (add_key, "has unknown weights: encoder.extra.weight"),
        (drop_key, r"lacks: encoder.layers.2.blocks.0.attn.qkv.weight"),
        (shrink_key, r"another shape: audio_projection.linear1.weight is \(3, 3\) instead of \(16, 64\)"),
        (drop_front_end, r"lacks the front end \('melW'\)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_sentence(tmp_path, edit, words):
    _, path = small_pair("2023", tmp_path, edit)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_msclap(SMALL_2023, path)
    assert "'weights.pth'" in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_the_checkpoint_of_the_other_version_is_refused(tmp_path):
    _, path = small_pair("2023", tmp_path)
    read_vocabulary(tmp_path, "bert")
    with pytest.raises(CheckpointError, match="does not fit this model"):
        load_msclap(SMALL_2022, path)


def test_without_a_vocabulary_and_offline_the_sentence_names_the_embedded_model(tmp_path):
    _, path = small_pair("2023", tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(BackendUnavailableError, match="'compact-2', which needs no network"):
        load_msclap(SMALL_2023, path)


def test_an_exclamation_mark_does_not_move_the_end_of_the_sentence(tmp_path):
    """Its id is 0, that of the reference's padding; the reference then reads one token too early."""
    backend = small_backend("msclap-2023", tmp_path)
    tower = backend.text_tower
    ids = tower.tokenizer("rain! <|endoftext|>", return_tensors="pt")["input_ids"]
    assert 0 in ids[0].tolist() and ids[0, -1] == 256
    expected = tower.model(input_ids=ids).last_hidden_state[:, -1]
    torch.testing.assert_close(tower(["rain!"]), expected)
    early = tower.model(input_ids=ids).last_hidden_state[:, -2]
    assert float((early - expected).abs().max()) > 1e-2


def test_a_long_prompt_is_cut_and_still_ends_with_its_closing_token(tmp_path):
    tower = small_backend("msclap-2023", tmp_path).text_tower
    length = tower.max_tokens - 2  # letters are tokens here; a space and the closing token follow
    assert torch.equal(tower(["a" * length]), tower(["a" * (length + 30)]))
    assert not torch.equal(tower(["a" * length]), tower(["a" * (length - 1)]))


def test_weights_saved_from_data_parallel_training_load_too(tmp_path):
    backend = small_backend("msclap-2023", tmp_path)
    reference, _ = small_pair("2023", tmp_path)
    wrapped = {f"module.{name}": value for name, value in published_layout(reference)["model"].items()}
    load_strictly(backend, wrapped, SMALL_2023.keys, "wrapped.pth")
    weight = reference.audio_encoder.base.htsat.norm.weight
    assert torch.equal(backend.encoder.layers[-1].norm.weight, weight)


def test_building_leaves_random_numbers_alone(tmp_path):
    tokenizer = read_vocabulary(tmp_path, "bert")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    build_msclap(SMALL_2022, tokenizer)
    assert torch.equal(torch.rand(2), expected)
