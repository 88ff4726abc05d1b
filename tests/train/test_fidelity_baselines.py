"""Heads, FLINT and VIBI are trained on a few tones, resume to the same weights, and their releases answer."""

import csv
from dataclasses import replace

import pytest
import soundfile
import torch
from safetensors.torch import load_file

from lmaczs.clap.decisions import load_head
from lmaczs.data.sonyc_ust import TAGS
from lmaczs.errors import LMACError
from lmaczs.explainers.l2i.surrogates import load_surrogate, surrogate_logits
from lmaczs.explainers.l2i.vibi import relaxed_choice
from train import train_classifier, train_l2i_baselines
from train.make_tagged_mixtures import make
from train.tagged_mixtures import CLASSES
from train.train_classifier import ClassifierConfig, best_thresholds
from train.train_l2i_baselines import BaselineConfig

NAMES = [classes[0] for classes in CLASSES.values()] + ["rain"]
QUICK = {"steps": 2, "batch_size": 4, "save_every": 1, "mixed_precision": "no", "backend": "debug"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tone of half a second for each class, in two folds."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for index, name in enumerate(NAMES * 2):
        fold = index // len(NAMES)
        time = torch.arange(8000) / 16000
        wave = 0.3 * torch.sin(2 * torch.pi * 200 * (1 + index % len(NAMES)) * time)
        soundfile.write(folder / f"{fold}-{1000 + index}-A-0.wav", wave.numpy(), 16000)
        rows.append((f"{fold}-{1000 + index}-A-0.wav", "esc50", fold, name, name, f"a {name}"))
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "dataset", "fold", "label", "concept", "captions"])
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def mixtures(folder):
    make(folder / "clips.csv", "1", folder / "mixtures", {"train": 8, "validate": 6})
    return folder / "mixtures"


@pytest.fixture(scope="module")
def tag_head(mixtures, folder):
    """A multi-label head, trained through SONYC-UST's own reader."""
    config = ClassifierConfig(
        clips="", run=str(folder / "tags"), datasets="sonyc-ust", data_dir=str(mixtures), **QUICK
    )
    train_classifier.main(config)
    return folder / "tags" / "release"


def same_weights(first, second):
    one, two = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_a_single_label_head_resumes_and_decides(folder, tmp_path, debug_backend):
    config = ClassifierConfig(
        clips=str(folder / "clips.csv"), run=str(tmp_path / "whole"), hold_out=("esc50:1",), **QUICK
    )
    train_classifier.main(config)
    halves = replace(config, run=str(tmp_path / "halves"))
    train_classifier.main(replace(halves, stop_after=1))
    assert not same_weights(tmp_path / "whole", tmp_path / "halves")
    train_classifier.main(halves)
    assert same_weights(tmp_path / "whole", tmp_path / "halves")
    decision = load_head(tmp_path / "whole" / "release", debug_backend)
    assert decision.labels == tuple(sorted(NAMES)) and not decision.multi_label


def test_a_multi_label_head_has_thresholds(tag_head, debug_backend):
    decision = load_head(tag_head, debug_backend)
    assert decision.labels == TAGS and decision.multi_label and len(decision.thresholds) == 8


def test_thresholds_are_those_of_the_largest_f1():
    truth = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    probability = torch.tensor([[0.62, 0.1], [0.7, 0.3], [0.41, 0.2], [0.2, 0.32]])
    first, second = best_thresholds(truth, probability)
    assert 0.41 < first <= 0.62 and 0.2 < second <= 0.3


@pytest.mark.parametrize("name", ["flint", "vibi"])
def test_baselines_learn_a_head_and_resume(
    folder, mixtures, tag_head, tmp_path, debug_backend, name, monkeypatch
):
    config = BaselineConfig(
        clips=str(mixtures / "clips.csv"),
        run=str(tmp_path / "whole"),
        hold_out=("tagged-mixtures:validate",),
        collection="tagged-mixtures",
        classifier=str(tag_head),
        interpreter=name,
        components=6,
        **QUICK,
    )
    draws = []
    monkeypatch.setattr(
        train_l2i_baselines, "relaxed_choice", lambda *a: draws.append(relaxed_choice(*a)) or draws[-1]
    )
    train_l2i_baselines.main(config)
    assert bool(draws) == (name == "vibi") and all(draw.requires_grad for draw in draws)
    halves = replace(config, run=str(tmp_path / "halves"))
    train_l2i_baselines.main(replace(halves, stop_after=1))
    train_l2i_baselines.main(halves)
    assert same_weights(tmp_path / "whole", tmp_path / "halves")
    network = load_surrogate(tmp_path / "whole" / "release", debug_backend)
    audio = debug_backend.analyze(torch.randn(2, debug_backend.clip_samples) * 0.1)
    assert surrogate_logits(network, audio).shape == (2, 8)


def test_a_baseline_learns_the_zero_shot_decision(folder, tmp_path):
    config = BaselineConfig(
        clips=str(folder / "clips.csv"),
        run=str(tmp_path / "run"),
        hold_out=("esc50:1",),
        components=6,
        **QUICK,
    )
    train_l2i_baselines.main(config)
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(metrics) == 2 and '"top-1"' in metrics[-1]


def test_what_cannot_be_trained_is_told(folder, tmp_path):
    config = ClassifierConfig(clips="", run=str(tmp_path), datasets="clotho", **QUICK)
    with pytest.raises(LMACError, match="--datasets is 'clotho'"):
        train_classifier.main(config)
    config = ClassifierConfig(clips=str(folder / "clips.csv"), run=str(tmp_path), collection="none", **QUICK)
    with pytest.raises(LMACError, match="nothing to train with"):
        train_classifier.main(config)
