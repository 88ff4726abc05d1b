"""Every training script runs on a few synthetic clips, resumes to the same weights, and its release loads."""

import csv
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from lmaczs.clap import debug, minilm
from lmaczs.clap.compact_release import load_compact
from lmaczs.explainers.lmac_zs.explainer import LMACZS
from lmaczs.hearing import listen, make_target
from lmaczs.signal.audio import make_clip
from train.golden import golden_error
from train.train_clap import contrastive_loss

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Twelve tones of 0.5 s in four classes, three folds."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for index in range(12):
        name = ("low hum", "whistle", "hiss", "click")[index % 4]
        time = torch.arange(8000) / 16000
        wave = torch.sin(2 * torch.pi * 200 * (1 + index % 4) * time) * 0.3
        soundfile.write(folder / f"{index // 4}-{1000 + index}-A-0.wav", wave.numpy(), 16000)
        rows.append(
            (f"{index // 4}-{1000 + index}-A-0.wav", "esc50", index // 4, name, name, f"a {name}|some {name}")
        )
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "dataset", "fold", "label", "concept", "captions"])
        writer.writerows(rows)
    return folder / "clips.csv"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Keeps what the first LMAC-ZS run has read for the next ones."""
    return tmp_path_factory.mktemp("texts")


def run_script(name: str, *arguments: str) -> None:
    """Run a training script as a user would, but for the start of a process, which takes most of a run of two steps."""
    path = list(sys.path)
    # One process holds one state, which other tests may have set otherwise.
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments])
        patch.setattr(sys, "path", path)
        runpy.run_path(str(ROOT / "train" / name), run_name="__main__")
    AcceleratorState._reset_state(reset_partial_state=True)


def share_texts(source: Path, *runs: Path) -> None:
    """Spare further runs the reading of the same sentences, which takes most of a run of two steps."""
    for run in runs:
        (run / "cache").mkdir(parents=True, exist_ok=True)
        for file in (source / "cache").glob("texts-*.pt"):
            shutil.copy(file, run / "cache")


def equal_weights(first: Path, second: Path) -> bool:
    """Whether two runs have the same averaged weights, bit for bit."""
    one, two = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_contrastive_loss_of_two_clips_by_hand():
    logits = torch.tensor([[2.0, 0.0, 9.0], [0.0, 1.0, 0.0]])
    target = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    excluded = torch.tensor([[False, False, True], [False, False, False]])
    losses = contrastive_loss(logits, target, excluded)
    # Clip 1 against texts 1 and 2 only: -ln(e^2 / (e^2 + 1)) = 0.1269; clip 2: -ln(e / (e + 2)) = 0.5514.
    assert losses["loss/audio_to_text"].item() == pytest.approx((0.1269 + 0.5514) / 2, abs=1e-3)
    # Text 1 over clips: 0.1269; text 2: -ln(e / (e + 1)) = 0.3133; weight 0.3.
    assert losses["loss/text_to_audio"].item() == pytest.approx(0.3 * (0.1269 + 0.3133) / 2, abs=1e-3)


def test_train_clap_resumes_to_the_weights_of_an_uninterrupted_run(collection, tmp_path, monkeypatch):
    # Its recipe has thousands of sentences.
    monkeypatch.setattr(minilm, "MiniLM", debug.HashedSentences)
    common = ("--clips", str(collection), "--hold-out", "esc50:2", "--batch-size", "4", "--save-every", "1")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    run_script("train_clap.py", *common, "--run", str(whole), "--steps", "2")
    share_texts(whole, halves)
    run_script("train_clap.py", *common, "--run", str(halves), "--steps", "2", "--stop-after", "1")
    assert not equal_weights(whole, halves)
    run_script("train_clap.py", *common, "--run", str(halves), "--steps", "2")
    assert equal_weights(whole, halves)

    run_script("export.py", "clap", "--run", str(whole), "--out", str(tmp_path / "release"))
    model = load_compact(tmp_path / "release", debug.HashedSentences())
    assert model.embed_sentences(["a whistle"]).norm().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("objective", ["contrast", "paper"])
def test_train_lmac_zs_resumes_and_its_release_explains(collection, texts, tmp_path, objective):
    common = ("--clips", str(collection), "--hold-out", "esc50:2", "--batch-size", "2", "--save-every", "1")
    common += ("--objective", objective, "--num-rivals", "2", "--backend", "debug")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    share_texts(texts, whole)
    run_script("train_lmac_zs.py", *common, "--run", str(whole), "--steps", "2")
    head = tmp_path / "head"
    share_texts(whole, texts, halves, head)
    if objective == "contrast":
        run_script("train_lmac_zs.py", *common, "--run", str(halves), "--steps", "2", "--stop-after", "1")
        run_script("train_lmac_zs.py", *common, "--run", str(halves), "--steps", "2")
        assert equal_weights(whole, halves)
        start = str(whole / "model.safetensors")
        run_script(
            "train_lmac_zs.py", *common, "--run", str(head), "--steps", "1", "--init", start, "--worth-only"
        )
        before, after = (load_file(run / "model.safetensors") for run in (whole, head))
        changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
        assert changed == {key for key in before if key.startswith("worth.")}
    run_script("export.py", "lmac-zs", "--run", str(whole), "--out", str(tmp_path / "release"))

    from lmaczs import load_backend

    backend = load_backend("debug")
    method = LMACZS.load(backend, release=tmp_path / "release")
    waveform = torch.randn(backend.clip_samples, generator=torch.Generator().manual_seed(0)) * 0.1
    recording = listen(make_clip(waveform, 16000), backend)
    explanation = method.explain(recording, make_target(backend, "rain"))
    assert explanation.mask.shape == (257, 101) and explanation.evidence in ("present", "absent")
    assert golden_error(tmp_path / "release") == 0
