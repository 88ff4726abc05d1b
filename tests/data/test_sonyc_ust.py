"""SONYC-UST's official layout in miniature: who is heard in which split, and tags that nobody gave."""

import csv

import numpy as np
import pytest
import soundfile

from lmaczs.data.registry import DATASETS
from lmaczs.data.sonyc_ust import COLUMNS, TAGS
from lmaczs.errors import DatasetError

# Columns of version 2 before the eight coarse ones; of the fine ones and of their proximity one each stands for all.
BEFORE = (
    *("split", "sensor_id", "audio_filename", "annotator_id", "borough", "block", "latitude", "longitude"),
    *("year", "week", "day", "hour"),
    *("1-1_small-sounding-engine_presence", "1-1_small-sounding-engine_proximity"),
)


def write(root, rows, names=None, folder="audio"):
    """rows: (split, file, annotator, {tag: value})."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "annotations.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*BEFORE, *COLUMNS])
        for split, name, annotator, values in rows:
            place = [split, 7, name, annotator, 1, 42, 40.7, -73.9, 2018, 5, 1, 13, -1, -1]
            table.writerow([*place, *(values.get(tag, 0) for tag in TAGS)])
    for name in {row[1] for row in rows} if names is None else names:
        file = root / folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, np.zeros(4800), 48000)


@pytest.fixture
def sonyc():
    return DATASETS["sonyc-ust"]


def labels_by_name(listing):
    return {clip.path: (clip.split, clip.labels) for clip in listing.clips}


def test_columns_are_the_official_ones():
    assert COLUMNS[0] == "1_engine_presence" and COLUMNS[6] == "7_human-voice_presence" and len(COLUMNS) == 8


def test_one_listener_is_enough_in_training_and_the_team_alone_counts_elsewhere(tmp_path, sonyc):
    rows = [
        ("train", "a.wav", 11, {"dog": 0}),
        ("train", "a.wav", 12, {"dog": 1, "music": -1}),
        ("train", "a.wav", 13, {"engine": 1, "dog": 0}),
        ("train", "b.wav", 11, {}),
        ("validate", "c.wav", 11, {"music": 1}),
        ("validate", "c.wav", -4, {"engine": 1}),
        ("validate", "c.wav", 0, {"human-voice": 1, "alert-signal": 1}),
        ("validate", "d.wav", 11, {"music": 1}),  # never agreed on
        ("test", "e.wav", 0, {}),
        ("test", "f.wav", 14, {"dog": 1}),
    ]
    write(tmp_path / "SONYC_UST", rows)
    listing = sonyc.list_clips(tmp_path)
    assert labels_by_name(listing) == {
        "a.wav": ("train", ("engine", "dog")),
        "b.wav": ("train", ()),
        "c.wav": ("validate", ("alert-signal", "human-voice")),
        "e.wav": ("test", ()),
    }
    assert not listing.missing and not listing.bad_rows
    assert all(clip.file.is_file() and clip.dataset == "sonyc-ust" for clip in listing.clips)


def test_folders_for_splits_are_read_too(tmp_path, sonyc):
    write(tmp_path, [("train", "a.wav", 1, {"dog": 1})], folder="audio/train")
    (clip,) = sonyc.list_clips(tmp_path).clips
    assert clip.file == tmp_path / "audio" / "train" / "a.wav"


def test_what_cannot_be_used_is_told(tmp_path, sonyc):
    rows = [
        ("train", "here.wav", 1, {"dog": 1}),
        ("train", "gone.wav", 1, {"dog": 1}),
        ("train", "odd.wav", 1, {"music": 2}),
        ("train", "../out.wav", 1, {}),
        ("train", "", 1, {}),
    ]
    write(tmp_path, rows, names=["here.wav"])
    listing = sonyc.list_clips(tmp_path)
    assert [clip.path for clip in listing.clips] == ["here.wav"] and listing.missing == ("gone.wav",)
    assert listing.bad_rows == (
        "'annotations.csv', line 4: '6_music_presence' is '2', not -1, 0 or 1",
        "'annotations.csv', line 6: 'audio_filename' is empty",
        "'annotations.csv', line 5: its file lies outside the dataset",
    )


def test_another_version_is_refused_in_one_sentence(tmp_path, sonyc):
    with pytest.raises(DatasetError, match="zenodo.org/record/3966543"):
        sonyc.list_clips(tmp_path)
    (tmp_path / "annotations.csv").write_text("split,audio_filename,annotator_id\ntrain,a.wav,0\n")
    with pytest.raises(DatasetError, match="no column '1_engine_presence'"):
        sonyc.list_clips(tmp_path)
