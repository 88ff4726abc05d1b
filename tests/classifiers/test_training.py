"""Decoders and interpreters are trained for a classifier with labels: L-MAC's objective, and Listen to Interpret."""

import csv
import json
import sys
from dataclasses import replace

import pytest
import soundfile
import torch
from networks import LABELS, RATE, sound
from safetensors.torch import load_file
from taught_models import save_taught_ast

from lmaczs import load_backend, load_explainer
from lmaczs.cli import main as command_line
from lmaczs.errors import CheckpointError, LMACError
from lmaczs.explainers.lmac_zs.closed_set import closed_set_loss
from lmaczs.explainers.lmac_zs.explainer import build_decoder, decoder_config
from lmaczs.explainers.lmac_zs.loss import decode_pairs, view_spectrogram
from lmaczs.explainers.masked_sound import encode_masked
from lmaczs.hearing import explain, listen
from lmaczs.hub import load_golden
from lmaczs.signal.audio import make_clip
from train import fit_nmf, train_l2i, train_lmac_zs
from train.export import export_l2i, export_lmac_zs
from train.golden import repeat_golden

STEPS = 60


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """36 sounds of the three kinds, at all places."""
    folder = tmp_path_factory.mktemp("clips")
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "dataset", "fold", "concept", "captions"])
        for number in range(36):
            label = number % 3
            waveform, _ = sound(label, number / 36, 500 + number, level=0.2, noise=1e-3)
            soundfile.write(folder / f"{number}.wav", waveform.numpy(), RATE)
            name = LABELS[label]
            writer.writerow([f"{number}.wav", name, "own", number // 3 % 4, name, name])
    return folder / "clips.csv"


@pytest.fixture(scope="module")
def backend(taught_ast):
    return load_backend(f"hf:{taught_ast}")


def settings(clips, taught_ast, run, **more):
    options = {
        "steps": STEPS, "batch_size": 6, "save_every": STEPS, "ema_decay": 0.9, "mixed_precision": "no",
        "learning_rate": 3e-3, "objective": "labels", "prompt": "values", "sparsity_weight": 2.0,
    } | more  # fmt: skip
    return train_lmac_zs.TrainConfig(
        clips=str(clips), run=str(run), backend=f"hf:{taught_ast}", noisy_share=0.0, **options
    )


@pytest.fixture(scope="module")
def decoder(clips, taught_ast, tmp_path_factory):
    """Run and release of a decoder that was trained for some seconds."""
    run = tmp_path_factory.mktemp("l-mac")
    train_lmac_zs.main(settings(clips, taught_ast, run / "run"))
    export_lmac_zs(run / "run", run / "release")
    return run


def test_the_objective_is_learnt(decoder):
    rows = [json.loads(line) for line in (decoder / "run/metrics.jsonl").read_text().splitlines()]
    last = rows[-1]
    assert last["original/probability"] > 0.9 and last["kept/probability"] > 0.8
    assert last["removed/probability"] < 0.6 and last["mask/mean"] < 0.5


def test_its_masks_follow_the_sound(decoder, backend):
    method = load_explainer("lmac-zs", backend, release=str(decoder / "release"))
    assert method.objective == "labels"
    inside = []
    for label, place in ((0, 0.1), (0, 0.9), (1, 0.5), (2, 0.2), (2, 0.8)):
        waveform, (begin, end) = sound(label, place, 70 + label, level=0.2, noise=1e-3)
        recording = listen(make_clip(waveform[None], RATE), backend)
        result = explain(recording, LABELS, backend, method, target=LABELS[label])
        kept = result.listening.kept.waveform.square()
        inside.append(float(kept[int(begin * RATE) : int(end * RATE)].sum() / kept.sum()))
        assert result.explanation.evidence == "present"
        assert result.probability["kept"] > 0.5 * result.probability["original"]
    assert min(inside) > 0.5


def test_a_release_repeats_its_golden_mask(decoder, backend):
    method = load_explainer("lmac-zs", backend, release=str(decoder / "release"))
    golden = load_golden(decoder / "release")
    torch.testing.assert_close(repeat_golden(method, golden)["mask"], golden["mask"], atol=2e-3, rtol=0)


def test_it_is_refused_for_other_weights(decoder, tmp_path):
    save_taught_ast(tmp_path / "three-sounds", steps=2)
    other = load_backend(f"hf:{tmp_path / 'three-sounds'}")
    with pytest.raises(CheckpointError, match="other weights"):
        load_explainer("lmac-zs", other, release=str(decoder / "release"))


def test_the_loss_is_that_of_the_paper(backend):
    torch.manual_seed(0)
    network = build_decoder(backend, decoder_config(backend, "stft")).eval()
    windows = torch.stack([sound(label, 0.5, label)[0] for label in range(3)])
    audio = backend.analyze(windows)
    text = backend.encode_text(LABELS).embedding
    with torch.no_grad():
        found = closed_set_loss(backend, network, audio, text, 4.0, 0.2, 0.4)
        decided = audio.embedding.argmax(1)
        view, rows = view_spectrogram(audio, "stft"), torch.arange(3)
        mask = decode_pairs(network, audio, view, rows, text[decided]).logits.sigmoid()
        kept, removed = (encode_masked(backend, audio, rows, part, "stft") for part in (mask, 1 - mask))
        entropy = [torch.nn.functional.cross_entropy(part, decided) for part in (kept, removed)]
        # Cut into portions it is the same.
        portions = closed_set_loss(backend, network, audio, text, 4.0, 0.2, 0.4, at_once=2)
    assert float(found["loss/kept"]) == pytest.approx(4.0 * float(entropy[0]), rel=1e-4)
    assert float(found["loss/removed"]) == pytest.approx(-0.2 * float(entropy[1]), rel=1e-3)
    assert float(found["loss/sparsity"]) == pytest.approx(0.4 * float(mask.mean()), rel=1e-5)
    assert float(portions["loss/kept"]) == pytest.approx(float(found["loss/kept"]), rel=1e-5)


def test_a_clap_needs_a_closed_set(clips, tmp_path):
    config = replace(settings(clips, "", tmp_path / "run"), backend="debug", steps=1)
    with pytest.raises(LMACError, match="--prompts-file"):
        train_lmac_zs.main(config)
    (tmp_path / "prompts.txt").write_text("a low beep\na click\n")
    train_lmac_zs.main(replace(config, prompts_file=str(tmp_path / "prompts.txt"), save_every=1))
    assert (tmp_path / "run/metrics.jsonl").is_file()


def test_listen_to_interpret_is_trained_for_it(clips, taught_ast, backend, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys,
        "argv",
        ["fit_nmf.py", "--clips", str(clips), "--out", str(tmp_path / "nmf"), "--backend", f"hf:{taught_ast}",
         "--components", "8", "--columns", "400", "--steps", "60"],
    )  # fmt: skip
    fit_nmf.main()
    train_l2i.main(
        train_l2i.TrainConfig(
            clips=str(clips), run=str(tmp_path / "run"), backend=f"hf:{taught_ast}", dictionary=str(tmp_path / "nmf"),
            hold_out=("own:3",), steps=150, batch_size=8, save_every=150, windows=64, ema_decay=0.9, logit_weight=0.0,
        )
    )  # fmt: skip
    export_l2i(tmp_path / "run", tmp_path / "l2i")
    method = load_explainer("l2i", backend, release=str(tmp_path / "l2i"))
    assert tuple(method.prompts) == LABELS
    recording = listen(make_clip(sound(1, 0.5, 71, level=0.2, noise=1e-3)[0][None], RATE), backend)
    result = explain(recording, LABELS, backend, method, target=LABELS[1])
    assert result.explanation.mask.shape == result.magnitude_db.shape
    weights = load_file(tmp_path / "l2i/model.safetensors")
    assert all(bool(value.isfinite().all()) for value in weights.values() if value.is_floating_point())
    last = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    # Of three labels a third is chance.
    assert last["own:3"]["top-1"] > 60


def test_the_command_line_takes_the_release(decoder, taught_ast, tmp_path):
    waveform, _ = sound(2, 0.4, 71, level=0.2, noise=1e-3)
    soundfile.write(tmp_path / "click.wav", waveform.numpy(), RATE)
    arguments = ["explain", str(tmp_path / "click.wav"), "--backend", f"hf:{taught_ast}", "--labels", "all"]
    arguments += [
        "--method",
        "lmac-zs",
        "--option",
        f"release={decoder / 'release'}",
        "--out",
        str(tmp_path / "out"),
    ]
    assert command_line(arguments) == 0
    assert json.loads((tmp_path / "out/result.json").read_text())["method"] == "lmac-zs"
