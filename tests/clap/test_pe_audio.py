"""Perception Encoder Audio against transformers' own model: logits, frames, gradients, and the way in from a folder."""

import json

import pytest
import torch
import transformers
from hub_stand_in import StandInHub, serving, visit
from small_pe_audio import save_pe_audio

from lmaczs import load_backend, load_explainer
from lmaczs.clap import labels_for
from lmaczs.clap.hooks import outputs_of
from lmaczs.clap.labels.layers import IN_PLACE
from lmaczs.errors import CheckpointError, PromptError
from lmaczs.hearing import classify, classify_over_time, explain, listen, listen_over_time, make_target
from lmaczs.plots import explanation_figure
from lmaczs.results import result_row, write_explanation
from lmaczs.signal.audio import make_clip, save_wav
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio

FORMS = ("PeAudioModel", "PeAudioFrameLevelModel")
RATE, HOP = 48000, 1920
PROMPTS = ["this is the sound of a dog", "rain", "a siren"]


def noise(seconds, seed=0):
    """Noise with a tone in its second half: (samples,)."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * RATE)) / RATE
    tone = 0.3 * torch.sin(2 * torch.pi * 900 * time) * (time > seconds / 2)
    return 0.1 * torch.randn(len(time), generator=generator) + tone


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {form: save_pe_audio(tmp_path_factory.mktemp("pe") / form, form) for form in FORMS}


@pytest.fixture(scope="module", params=FORMS)
def form(request):
    return request.param


@pytest.fixture(scope="module")
def backend(folders, form):
    return load_backend(f"hf:{folders[form]}")


@pytest.fixture(scope="module")
def reference(folders, form):
    folder = folders[form]
    model = getattr(transformers, form).from_pretrained(folder).eval().requires_grad_(False)
    extractor = transformers.PeAudioFeatureExtractor.from_pretrained(folder)
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(PROMPTS, padding=True, return_tensors="pt")

    def logits(waveform):
        """(prompts,), or (prompts, frames) of the frame-level form."""
        heard = extractor(waveform.numpy(), sampling_rate=RATE, return_tensors="pt")
        return model(
            tokens["input_ids"], heard["input_values"], tokens["attention_mask"], heard["padding_mask"]
        ).logits_audio_text[0]

    return logits


def clip(waveform):
    return make_clip(waveform[None], RATE)


@pytest.mark.parametrize("seconds", [0.1, 1.04, 1.2, 10.0])
def test_logits_are_those_of_transformers(backend, reference, form, seconds):
    sound = noise(seconds)
    expected = reference(sound)
    expected = expected.mean(-1) if form == FORMS[1] else expected
    found = classify(listen(clip(sound), backend), PROMPTS, backend)
    assert found.unit == "logit" and not found.match
    torch.testing.assert_close(found.similarities, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.probabilities, expected.softmax(0), atol=1e-4, rtol=1e-4)
    assert float(expected.std()) > 0.05
    other = classify(listen(clip(noise(seconds, seed=1)), backend), PROMPTS, backend)
    assert float((other.similarities - found.similarities).abs().max()) > 0.01


def test_frames_are_those_of_transformers(folders):
    backend = load_backend(f"hf:{folders[FORMS[1]]}")
    model = transformers.PeAudioFrameLevelModel.from_pretrained(folders[FORMS[1]]).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(folders[FORMS[1]])(
        PROMPTS, padding=True, return_tensors="pt"
    )
    sound = noise(2.0)
    with torch.no_grad():
        expected = model(tokens["input_ids"], sound[None, None], tokens["attention_mask"]).logits_audio_text[
            0
        ]
    heard = listen_over_time(listen(clip(sound), backend), backend)
    assert heard.times.tolist() == pytest.approx([0.04 * (frame + 0.5) for frame in range(50)])
    found = heard.embeddings @ backend.encode_text(PROMPTS).embedding.T
    torch.testing.assert_close(found, expected.T, atol=1e-4, rtol=1e-4)
    assert heard.sounds.all()
    shares = classify_over_time(heard, PROMPTS, backend)
    torch.testing.assert_close(shares, expected.T.softmax(1), atol=1e-4, rtol=1e-4)


def test_frames_of_a_long_recording_follow_one_another_and_silence_says_nothing(folders):
    backend = load_backend(f"hf:{folders[FORMS[1]]}")
    sound = torch.cat([noise(11.0), torch.zeros(12 * RATE)])
    recording = listen(clip(sound), backend)
    heard = listen_over_time(recording, backend, most=1000)
    steps = heard.times.diff()
    assert float(steps.min()) > 0 and float(steps.max()) <= 0.08 and len(heard.times) == len(heard.embeddings)
    assert float(heard.times[-1]) == pytest.approx(23.0, abs=0.04)
    assert heard.sounds[heard.times < 10.9].all() and not heard.sounds[heard.times > 11.1].any()
    fewer = listen_over_time(recording, backend, most=20)
    assert len(fewer.times) <= 80 and float(fewer.times[-1]) <= 23.0


def test_a_model_without_frames_moves_its_window(folders):
    backend = load_backend(f"hf:{folders[FORMS[0]]}")
    assert backend.frame_s is None
    assert listen_over_time(listen(clip(noise(1.0)), backend), backend).times.tolist() == [0.5]


def test_maps_of_the_layers_lie_in_time(backend):
    first = noise(10.0)
    second = first.clone()
    second[len(first) // 2 :] = noise(10.0, seed=1)[len(first) // 2 :]
    assert len(backend.cam_layers) == 4
    maps = []
    for sound in (first, second):
        with outputs_of(list(backend.cam_layers.values())) as outputs, torch.no_grad():
            backend.analyze(sound[None])
        maps.append(
            [backend.layer_map(*pair, len(sound)) for pair in zip(backend.cam_layers, outputs, strict=True)]
        )
    for before, after in zip(*maps, strict=True):
        change = (after - before).abs().sum(dim=(0, 1, 3))
        assert float(change[len(change) // 2 :].sum() / change.sum()) > IN_PLACE
        assert len(change) == 250


def test_gradients_reach_the_cells_and_every_map(backend):
    audio = listen(clip(noise(2.0)), backend).states[0]
    with outputs_of(list(backend.cam_layers.values())) as outputs:
        power = audio.mel_power.clone().requires_grad_(True)
        score = make_target(backend, PROMPTS[0], PROMPTS).margin(
            backend.encode_changed(power, audio, "mel")[0]
        )
        gradients = torch.autograd.grad(score.sum(), [power, *outputs])
    assert all(bool(gradient.abs().sum() > 0) for gradient in gradients)


@pytest.mark.parametrize("method", ["lmac-any", "grad-cam++", "saliency", "optimized-mask"])
def test_methods_explain_it(backend, method):
    recording = listen(clip(noise(2.0)), backend)
    result = explain(recording, PROMPTS, backend, load_explainer(method, backend), target=PROMPTS[1])
    mask = result.explanation.mask
    assert mask.shape == result.magnitude_db.shape and bool(mask.isfinite().all())
    whole = result.listening.kept.waveform + result.listening.removed.waveform
    torch.testing.assert_close(whole, recording.clip.waveform, atol=1e-5, rtol=0)


def test_it_takes_any_prompt_of_its_length(backend, folders, form):
    assert labels_for(f"hf:{folders[form]}") is None and backend.labels is None
    with pytest.raises(PromptError, match="60 tokens, and this model reads 38"):
        backend.encode_text(["dog " * 60])


def test_rivals_of_another_length_are_told_apart(backend):
    """Vectors of its sentences have no unit norm: their products say nothing about being the same."""
    target = make_target(backend, PROMPTS[0], PROMPTS)
    assert target.rivals == tuple(PROMPTS[1:])


def broken(folders, tmp_path, **changes):
    import shutil

    folder = tmp_path / "broken"
    shutil.copytree(folders[FORMS[0]], folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_form_that_is_not_said_is_refused(folders, tmp_path):
    with pytest.raises(CheckpointError, match="which form it has"):
        load_backend(f"hf:{broken(folders, tmp_path, architectures=['PeAudioVideoModel'])}")


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_one_sentence(folders, tmp_path, name):
    folder = broken(folders, tmp_path)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
        load_backend(f"hf:{folder}")
    assert str(tmp_path) not in str(caught.value)


def test_weights_in_several_files_come_from_the_hub(folders, tmp_path, monkeypatch):
    folder = save_pe_audio(tmp_path / "sharded", FORMS[0], shard="60KB")
    assert (folder / "model.safetensors.index.json").is_file()
    with serving(StandInHub()) as hub:
        visit(hub, tmp_path / "cache", monkeypatch)
        commit = hub.add_folder("owner/pe", folder)
        found = load_backend(f"hf:owner/pe@{commit}", progress=lambda share, text: None)
    here = load_backend(f"hf:{folders[FORMS[0]]}")
    sound = clip(noise(1.0))
    torch.testing.assert_close(listen(sound, found).embedding, listen(sound, here).embedding)


def test_its_frames_are_a_witness_of_the_mask(folders, tmp_path):
    backend = load_backend(f"hf:{folders[FORMS[1]]}")
    sound = torch.cat([noise(2.0), torch.zeros(RATE), noise(1.0, seed=3)])
    recording = listen(clip(sound), backend)
    method = load_explainer("saliency", backend)
    result = explain(recording, PROMPTS, backend, method, target="the sound of a dog and rain")
    found = result.over_time
    assert found.times_s.tolist() == pytest.approx([0.04 * (frame + 0.5) for frame in range(100)])
    silent = (found.times_s > 2.1) & (found.times_s < 2.9)
    assert found.probability[silent].isnan().all() and not found.probability[~silent].isnan().all()
    sounds = ~found.probability.isnan()
    amplitude = result.listening.kept.waveform.double().view(100, HOP).square().mean(1).sqrt()
    pair = torch.stack([amplitude[sounds], found.probability[sounds].double()])
    assert found.agreement == pytest.approx(float(torch.corrcoef(pair)[0, 1]), abs=1e-6)
    write_explanation(result, tmp_path, backend.name, method.label)
    row = json.loads((tmp_path / "result.json").read_text())["over_time"]
    assert row["agreement"] == pytest.approx(found.agreement)
    assert len(row["times_s"]) == 100 and row["probability"][60] is None
    # Beside the three pictures and their scales.
    assert len(explanation_figure(result).axes) == 7


def test_models_without_frames_have_no_witness(folders, tmp_path):
    backend = load_backend(f"hf:{folders[FORMS[0]]}")
    method = load_explainer("saliency", backend)
    result = explain(listen(clip(noise(1.0)), backend), PROMPTS, backend, method)
    assert result.over_time is None and "over_time" not in result_row(result, backend.name)
    assert len(explanation_figure(result).axes) == 6


def test_the_page_has_its_frames_for_a_short_recording(folders, tmp_path):
    path = tmp_path / "short.wav"
    save_wav(clip(noise(1.2)), path)
    for form, places in ((FORMS[0], None), (FORMS[1], 30)):
        studio = Studio(Settings(backend=f"hf:{folders[form]}"))
        heard = studio.hear(str(path))
        found = studio.over_time(heard, PROMPTS)
        assert (found is None) if places is None else (found[1].shape == (places, len(PROMPTS)))


@pytest.mark.parametrize("name", ["../weights.safetensors", "weights.bin", "/etc/passwd", ""])
def test_an_index_that_names_other_files_is_refused(folders, tmp_path, monkeypatch, name):
    files = {path.name: path.read_bytes() for path in folders[FORMS[0]].iterdir()}
    del files["model.safetensors"]
    files["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": name}}).encode()
    with serving(StandInHub()) as hub:
        visit(hub, tmp_path / "cache", monkeypatch)
        commit = hub.add("owner/odd", files)
        with pytest.raises(CheckpointError, match="does not name files with weights"):
            load_backend(f"hf:owner/odd@{commit}", progress=lambda share, text: None)
