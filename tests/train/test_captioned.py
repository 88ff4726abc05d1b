"""Clips with their own captions: epochs without repetition, windows, and a batch that processes share."""

import csv
from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import soundfile
import torch

from lmaczs.errors import LMACError
from lmaczs.explainers.lmac_zs.explainer import build_decoder, decoder_config
from train import train_lmac_zs
from train.captioned import MAX_SECONDS, open_captioned
from train.clips import training_clips
from train.train_lmac_zs import CaptionFeed, TrainConfig, main


@pytest.fixture
def clips_csv(tmp_path):
    """Four tones, the last one of three windows' length; two captions each, one of them shared."""
    rows = [("path", "captions")]
    for index in range(4):
        time_s = torch.arange(8000 * (1 if index < 3 else 40)) / 16000
        tone = torch.sin(2 * torch.pi * 300 * (1 + index) * time_s) * 0.3 * (0.1 + time_s / time_s[-1])
        soundfile.write(tmp_path / f"{index}.wav", tone.numpy(), 16000)
        rows.append((f"{index}.wav", f"a tone of {index}|a tone"))
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "clips.csv"


@pytest.fixture
def captioned(clips_csv, debug_backend, tmp_path):
    return open_captioned(training_clips(str(clips_csv)), debug_backend, tmp_path / "cache", seed=3)


def test_every_pair_comes_once_in_an_epoch_in_an_order_of_its_own(captioned):
    assert len(captioned.pairs) == 8 and len(captioned.features) == 5
    drawn = [tuple(pair) for step in range(8) for pair in captioned.draw(step, 3).tolist()]  # three epochs
    epochs = [drawn[:8], drawn[8:16], drawn[16:]]
    assert all(Counter(epoch) == Counter(map(tuple, captioned.pairs.tolist())) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    other = [tuple(pair) for step in range(4) for pair in captioned.draw(step, 6).tolist()]
    assert other == drawn  # the order does not depend on the size of a batch
    assert captioned.steps_in(2, 3) == 6


def test_windows_lie_anywhere_in_a_recording_and_short_ones_are_tiled(captioned, debug_backend):
    length = debug_backend.clip_samples
    first, last = captioned.read(torch.tensor([3, 3]), torch.tensor([0.0, 0.9999]))
    assert first.shape == (length,) and last.abs().max() > 1.5 * first.abs().max()  # the tone grows louder
    whole = captioned.starts[4] - captioned.starts[3]
    assert length < whole <= MAX_SECONDS * debug_backend.spectral.sample_rate
    short = captioned.read(torch.tensor([0]), torch.tensor([0.9]))[0]
    period = int(captioned.starts[1] - captioned.starts[0])
    assert torch.equal(short[:period], short[period : 2 * period])


def test_a_second_start_reads_the_caches_and_other_clips_make_them_again(
    clips_csv, debug_backend, tmp_path, monkeypatch
):
    clips = training_clips(str(clips_csv))
    first = open_captioned(clips, debug_backend, tmp_path / "cache", 3)
    monkeypatch.setattr("train.captioned.load_dataset_clip", lambda clip: pytest.fail("decoded again"))
    again = open_captioned(clips, debug_backend, tmp_path / "cache", 3)
    assert torch.equal(first.features, again.features) and (first.samples == again.samples).all()
    monkeypatch.undo()
    fewer = open_captioned(clips[:2], debug_backend, tmp_path / "cache", 3)
    assert len(fewer.starts) == 3 and len(fewer.pairs) == 4


def test_the_parts_of_a_batch_average_to_the_gradient_of_the_whole(clips_csv, debug_backend, tmp_path):
    config = TrainConfig(
        str(clips_csv), str(tmp_path), objective="paper", sparsity_weight=0.3, diversity_weight=0.7
    )
    feed = CaptionFeed(training_clips(str(clips_csv)), debug_backend, tmp_path / "cache", config)
    torch.manual_seed(0)
    decoder = build_decoder(debug_backend, decoder_config(debug_backend, "stft"))

    def gradient(part: slice) -> torch.Tensor:
        run = SimpleNamespace(network=decoder, full_batch=4, mine=lambda: part)
        report, batch = feed.report(run, 1, nullcontext)
        assert len(batch["waveform"]) == part.stop - part.start and len(batch["text"]) == 4
        loss = sum(value for key, value in report.items() if key.startswith("loss/"))
        found = torch.autograd.grad(
            loss, list(decoder.parameters()), allow_unused=True, materialize_grads=True
        )
        return torch.cat([value.flatten() for value in found])

    whole = gradient(slice(0, 4))
    parts = (gradient(slice(0, 2)) + gradient(slice(2, 4))) / 2
    assert whole.norm() > 0
    assert (whole - parts).norm() <= 1e-4 * whole.norm()


def test_more_concepts_than_fit_into_memory_are_refused(clips_csv, debug_backend, tmp_path, monkeypatch):
    monkeypatch.setattr(train_lmac_zs, "MAX_CONCEPTS", 3)
    config = TrainConfig(str(clips_csv), str(tmp_path))
    with pytest.raises(LMACError, match="name 4 concepts.*up to 3"):
        train_lmac_zs.MixtureFeed(training_clips(str(clips_csv)), debug_backend, tmp_path, config)


def test_prompts_that_compete_with_nothing_are_refused(clips_csv, debug_backend, tmp_path):
    config = TrainConfig(str(clips_csv), str(tmp_path))
    with pytest.raises(LMACError, match="name 1 concepts and --num-rivals is 64"):
        train_lmac_zs.MixtureFeed(training_clips(str(clips_csv))[:1], debug_backend, tmp_path, config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "best"}, "'best': choose contrast or paper"),
        ({"epochs": 2.0}, "--epochs counts pairs"),
        ({"objective": "paper", "worth_only": True}, "--worth-only trains a head.*use --objective contrast"),
        ({"datasets": "clotho"}, "Clotho is not complete here.*zenodo.org/records/4783391"),
    ],
)
def test_settings_that_do_not_fit_are_refused(clips_csv, tmp_path, settings, message):
    config = {
        "clips": str(clips_csv),
        "backend": "debug",
        "mixed_precision": "no",
        "num_rivals": 2,
    } | settings
    with pytest.raises(LMACError, match=message):
        main(TrainConfig(run=str(tmp_path / "run"), data_dir=str(tmp_path), **config))
