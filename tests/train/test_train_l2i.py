"""Dictionary and interpreter are trained on a few tones, resume to the same weights, and their releases explain."""

import csv
import json
import sys

import pytest
import soundfile
import torch
from safetensors.torch import load_file

from lmaczs.errors import PromptError
from lmaczs.explainers import load_explainer
from lmaczs.hearing import explain_clip
from lmaczs.hub import load_golden, load_release
from train import fit_nmf, train_l2i
from train.clips import read_clips
from train.export import export_l2i
from train.golden import repeat_golden
from train.model_card import render
from train.prompts import Sentences, load_sentences
from train.train_l2i import TrainConfig
from train.windows import NOBODY, draw_windows, load_windows, open_store

NAMES = ("hum", "whistle", "hiss", "click")
HELD_OUT = ("esc50:2",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve tones of 1 s in four classes, three folds; clips.csv, and a file of a concept that is left out."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for index in range(12):
        name, file = NAMES[index % 4], f"{index // 4}-{1000 + index}-A-0.wav"
        time = torch.arange(16000) / 16000
        wave = torch.sin(2 * torch.pi * 400 * (1 + index % 4) * time) * 0.3
        soundfile.write(folder / file, wave.numpy(), 16000)
        rows.append((file, "esc50", index // 4, name, name, f"a {name}|some {name}|no click, a {name}"))
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "dataset", "fold", "label", "concept", "captions"])
        writer.writerows(rows)
    (folder / "unheard.txt").write_text("click\n")
    (folder / "prompts.txt").write_text("a hum\na whistle\n")
    return folder


@pytest.fixture(scope="module")
def dictionary(folder):
    """Release of `fit_nmf.py`."""
    out = folder / "nmf"
    arguments = [
        "fit_nmf.py",
        "--clips",
        str(folder / "clips.csv"),
        "--out",
        str(out),
        "--hold-out",
        "esc50:2",
    ]
    arguments += ["--backend", "debug", "--components", "6", "--columns", "300", "--steps", "30"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        fit_nmf.main()
    return out


def settings(folder, dictionary, run, **more):
    return TrainConfig(
        clips=str(folder / "clips.csv"), run=str(run), hold_out=HELD_OUT, backend="debug",
        dictionary=str(dictionary), unheard=str(folder / "unheard.txt"), windows=12, batch_size=4,
        num_prompts=4, save_every=2, **{"steps": 4, **more},
    )  # fmt: skip


def test_the_dictionary_is_of_unit_norm_and_its_fit_never_got_worse(dictionary, debug_backend):
    release = load_release(dictionary, "nmf")
    found = release.state["dictionary"]
    assert found.shape == (debug_backend.spectral.n_bins, 6) and float(found.min()) >= 0
    torch.testing.assert_close(found.norm(dim=0), torch.ones(6))
    centre = torch.arange(len(found), dtype=torch.float32) @ found.square()
    assert bool((centre.diff() >= 0).all())  # low patterns first
    objective = json.loads((dictionary / "training.json").read_text())["objective"]
    assert all(now <= last * (1 + 1e-6) for last, now in zip(objective, objective[1:], strict=False))
    assert "sparse NMF" in render(dictionary)


def test_windows_are_clips_and_mixtures_and_are_encoded_once(folder, dictionary, debug_backend, tmp_path):
    clips = read_clips(folder / "clips.csv")
    store = open_store(clips, debug_backend, tmp_path, unheard=frozenset({"click"}))
    assert store.concepts == ("hiss", "hum", "whistle") and len(store.rows) == 9
    waveform, concepts = draw_windows(store, 64, 0.5, torch.Generator().manual_seed(0))
    single = concepts[:, 1] == NOBODY
    assert 16 < int(single.sum()) < 56 and not bool((concepts[:, 0] == concepts[:, 1]).any())
    level = waveform.square().mean(1).sqrt()
    torch.testing.assert_close(level[single], torch.full((int(single.sum()),), 0.05), atol=1e-4, rtol=0)
    assert float(level[~single].min()) > 0.05

    patterns = load_release(dictionary, "nmf").state["dictionary"]
    bank = load_windows(store, debug_backend, patterns, tmp_path, 5, 0.5, seed=0)
    waveform, concepts = draw_windows(store, 5, 0.5, torch.Generator().manual_seed(0))
    audio = debug_backend.analyze(waveform)
    log_mag = fit_nmf.log_magnitude(audio.stft)
    hidden, projected, energy, embedding = bank.read(torch.tensor([3, 1]), torch.device("cpu"))
    assert torch.equal(bank.concepts, concepts)
    torch.testing.assert_close(embedding, audio.embedding[[1, 3]])
    torch.testing.assert_close(energy, log_mag[[1, 3]].square().sum((1, 2)))
    torch.testing.assert_close(projected, (patterns.T @ log_mag)[[1, 3]], atol=1e-2, rtol=1e-2)
    for found, level in zip(hidden, audio.hidden, strict=True):
        torch.testing.assert_close(found, level[[1, 3]], atol=1e-2, rtol=1e-2)
    deep = load_windows(store, debug_backend, patterns, tmp_path / "deep", 5, 0.5, seed=0, maps=3)
    assert [level.shape for level in deep.hidden] == [level.shape for level in bank.hidden[1:]]
    before = (tmp_path / "windows.pt").stat().st_mtime_ns
    load_windows(store, debug_backend, patterns, tmp_path, 5, 0.5, seed=0)
    assert (tmp_path / "windows.pt").stat().st_mtime_ns == before
    load_windows(store, debug_backend, patterns, tmp_path, 5, 0.5, seed=1)
    assert (tmp_path / "windows.pt").stat().st_mtime_ns != before


def test_an_open_vocabulary_resumes_and_its_release_explains_any_prompt(
    folder, dictionary, debug_backend, make_beep, tmp_path
):
    train_l2i.main(settings(folder, dictionary, tmp_path / "whole"))
    train_l2i.main(settings(folder, dictionary, tmp_path / "halves", stop_after=2))
    train_l2i.main(settings(folder, dictionary, tmp_path / "halves"))
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "halves"))
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["esc50:2"]["n"] == 4 and rows[-1]["esc50:2 among unheard prompts"]["top-1"] == 100.0

    export_l2i(tmp_path / "whole", tmp_path / "release")
    text = (tmp_path / "release" / "training.json").read_text()
    assert str(folder) not in text and '"unheard": [\n      "click"' in text
    explainer = load_explainer("l2i", debug_backend, release=tmp_path / "release")
    assert explainer.prompts is None
    result = explain_clip(make_beep(), ["anything at all"], debug_backend, explainer, measure=False)
    assert result.explanation.components
    golden = load_golden(tmp_path / "release")
    again = repeat_golden(explainer, golden)
    assert again.keys() < golden.keys() and "relevance" in again
    for name, value in again.items():
        torch.testing.assert_close(value, golden[name], atol=1e-4, rtol=0)


@pytest.mark.parametrize("theta", ["attention", "max"])
def test_a_closed_set_is_stored_with_the_weights(
    folder, dictionary, debug_backend, make_beep, tmp_path, theta
):
    file = str(folder / "prompts.txt")
    run = tmp_path / "run"
    train_l2i.main(
        settings(folder, dictionary, run, steps=2, prompts_file=file, theta=theta, logit_weight=0.0)
    )
    export_l2i(run, tmp_path / "release")
    explainer = load_explainer("l2i-esc50", debug_backend, release=tmp_path / "release")
    assert explainer.prompts == ("a hum", "a whistle") and explainer.interpreter.config.pooling == theta
    with pytest.raises(PromptError, match="knows 2 prompts .* 'a hiss' is none of them"):
        explain_clip(make_beep(), ["a hum"], debug_backend, explainer, target="a hiss")


def test_sentences_that_name_what_is_left_out_are_never_drawn(folder, debug_backend, tmp_path):
    clips = read_clips(folder / "clips.csv")
    store = open_store(clips, debug_backend, tmp_path, unheard=frozenset({"click"}))
    sentences = load_sentences(clips, ("click",), store, debug_backend, tmp_path)
    texts = torch.load(tmp_path / "sentences.pt", weights_only=True)["texts"]
    assert texts and not any("click" in text for text in texts)
    assert [len(rows) for rows in sentences.rows_of] == [3, 3, 3]  # two captions and the label's prompt
    expected = debug_backend.embed_sentences(texts)
    torch.testing.assert_close(sentences.embedding, expected)


def test_a_concept_without_sentences_is_passed_over():
    embedding = torch.eye(3)
    sentences = Sentences(embedding, (torch.tensor([0]), torch.tensor([], dtype=torch.long)), torch.ones(3))
    drawn = sentences.draw(torch.tensor([0, 1]), 3, torch.Generator().manual_seed(0))
    assert len(drawn) == 3
