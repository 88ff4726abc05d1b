"""Splits that do not leak, samplers and augmentation with effects that can be measured."""

import csv

import numpy as np
import pytest
import soundfile
import torch

from lmaczs.errors import DatasetError
from train import augment
from train.clips import ClipSampler, cache_waveforms, read_clips, split_clips


@pytest.fixture
def clips_csv(tmp_path):
    """Eight rows in the layout of a collection, two of them cut from one recording that is held out."""
    rows = [
        ("a/1-100-A-0.ogg", "esc50", "1", "dog", "dog barking", "a dog barking|woof"),
        ("a/1-101-A-3.ogg", "esc50", "1", "rain", "rain", "rain falling"),
        ("a/4-200-A-0.ogg", "esc50", "4", "dog", "dog barking", "a dog barking"),
        ("a/2-200-B-0.ogg", "esc50", "2", "dog", "dog barking", "a dog barking"),
        ("b/300-3-0-1.ogg", "urbansound8k", "3", "dog bark", "dog barking", "a dog barking"),
        ("b/300-3-0-2.ogg", "urbansound8k", "2", "dog bark", "dog barking", "a dog barking"),
        ("c/wind.ogg", "other", "", "wind", "wind", "wind"),
        ("c/wind2.ogg", "other", "", "wind", "wind", "wind"),
    ]
    path = tmp_path / "clips.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "dataset", "fold", "label", "concept", "captions"])
        writer.writerows(rows)
    for name, *_ in rows:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return path


def test_held_out_folds_take_every_clip_of_the_same_recording_with_them(clips_csv):
    train, valid = split_clips(read_clips(clips_csv), ["esc50:4", "urbansound8k:3"])
    assert [clip.path.name for clip in train] == ["1-100-A-0.ogg", "1-101-A-3.ogg", "wind.ogg", "wind2.ogg"]
    assert {name: len(group) for name, group in valid.items()} == {"esc50:4": 1, "urbansound8k:3": 1}


def test_every_fold_of_a_dataset_that_is_held_out_takes_its_recordings_with_it(clips_csv):
    train, valid = split_clips(read_clips(clips_csv), ["esc50:4", "esc50:1"])
    assert {name: len(group) for name, group in valid.items()} == {"esc50:4": 1, "esc50:1": 2}
    # 2-200-B-0 was cut from the recording of 4-200-A-0.
    assert [clip.path.name for clip in train] == [
        "300-3-0-1.ogg",
        "300-3-0-2.ogg",
        "wind.ogg",
        "wind2.ogg",
    ]


@pytest.mark.parametrize("name", ["esc50:9", "esc51:4", "esc50", "esc50:4:1"])
def test_a_fold_that_does_not_exist_is_refused_in_one_sentence(clips_csv, name):
    with pytest.raises(DatasetError, match=f"--hold-out is '{name}'.*choose from .*esc50:4"):
        split_clips(read_clips(clips_csv), ["esc50:4", name])


def test_a_csv_of_path_and_captions_is_enough(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("path,captions\nx.wav,a door slams|a slamming door\n")
    (tmp_path / "x.wav").touch()
    (clip,) = read_clips(path)
    assert clip.concept == "a door slams" and clip.texts == ("a door slams", "a slamming door")
    assert clip.path == tmp_path / "x.wav"


def test_silence_is_a_sound_to_train_on(tmp_path, debug_backend):
    soundfile.write(tmp_path / "silence.wav", np.zeros(8000), 8000)
    (tmp_path / "clips.csv").write_text("path,captions\nsilence.wav,silence\n")
    clips = read_clips(tmp_path / "clips.csv")
    assert not cache_waveforms(clips, debug_backend, tmp_path / "cache", "train").any()


def test_common_concepts_are_drawn_less_than_in_proportion_to_their_clips(clips_csv):
    sampler = ClipSampler(read_clips(clips_csv), emphasis=())
    drawn = sampler.concept[sampler.draw(20000, torch.Generator().manual_seed(0))]
    dogs, rain = (drawn == 0).float().mean(), (drawn == 1).float().mean()
    # Five dogs and one rain: weights 5 / sqrt(5) to 1 / sqrt(1), that is 2.24 to 1.
    assert (dogs / rain).item() == pytest.approx(5**0.5, rel=0.1)


def test_one_label_of_a_dataset_can_be_drawn_more_often_than_the_rest_of_it(clips_csv):
    clips = read_clips(clips_csv)
    plain, label = ClipSampler(clips, ()), ClipSampler(clips, ("esc50:rain=3",))
    both = ClipSampler(clips, ("esc50=2", "esc50:rain=3"))
    rain = [clip.label == "rain" for clip in clips].index(True)
    assert label.weight[rain] == pytest.approx(3 * plain.weight[rain].item())
    assert both.weight[rain] == label.weight[rain]
    others = [i for i in range(len(clips)) if i != rain]
    assert torch.equal(label.weight[others], plain.weight[others])


@pytest.mark.parametrize("item", ["esc50", "esc50=often", "esc50=0", "esc50=inf", "esc51=2", "esc50:rein=3"])
def test_an_emphasis_that_would_do_nothing_or_harm_is_refused_in_one_sentence(clips_csv, item):
    with pytest.raises(DatasetError, match=f"'{item}': use dataset=factor"):
        ClipSampler(read_clips(clips_csv), (item,))


def test_mix_puts_the_second_sound_at_the_level_asked_for():
    first, second = torch.rand(2, 8, 50), torch.rand(2, 8, 50) * 40
    mixed = augment.mix(first, second, torch.tensor([0.0, 10.0]))
    level = first.mean((1, 2)) / (mixed - first).mean((1, 2))
    assert torch.allclose(10 * level.log10(), torch.tensor([0.0, 10.0]), atol=1e-3)


def test_time_roll_keeps_every_frame():
    power = torch.rand(3, 4, 30)
    rolled = augment.time_roll(power, torch.Generator().manual_seed(2))
    assert torch.allclose(rolled.sum(2), power.sum(2), atol=1e-5)
    assert not torch.equal(rolled, power)


def test_stretch_by_nothing_changes_nothing():
    power = torch.rand(2, 16, 40) + 0.1
    assert torch.allclose(augment.stretch(power, 0.0, torch.Generator().manual_seed(0)), power, rtol=1e-4)


def test_random_regions_only_take_away():
    power = torch.rand(4, 32, 60)
    assert (augment.random_regions(power, torch.Generator().manual_seed(0)) <= power).all()


def test_augmentation_depends_on_its_generator_only():
    power = torch.rand(2, 16, 40)
    for function in (augment.spec_augment, augment.random_regions, augment.time_roll):
        first = function(power, torch.Generator().manual_seed(5))
        torch.rand(7)  # the global generator must not matter
        assert torch.equal(first, function(power, torch.Generator().manual_seed(5)))
        assert not torch.equal(first, function(power, torch.Generator().manual_seed(6)))
