"""Any CSV and WebDataset shards."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from layouts import table, tone

from lmaczs.data.clip_csv import list_csv
from lmaczs.data.places import local_copy
from lmaczs.data.shards import list_shards, load_dataset_clip
from lmaczs.data.sources import list_source
from lmaczs.errors import AudioError, DatasetError


def test_a_csv_may_have_captions_labels_folds_and_originals(tmp_path):
    for name in ("a/1-100032-A-0.wav", "a/x.wav", "a/y.wav"):
        tone(tmp_path / name)
    rows = [
        ["path", "dataset", "fold", "label", "concept", "captions", "original"],
        ["a/1-100032-A-0.wav", "esc50", 1, "dog", "dog barking", "a dog|woof| ", ""],
        ["a/x.wav", "", "", "rain", "", "", "freesound 7"],
        ["a/y.wav", "", "", "", "", " | ", ""],
        ["a/gone.wav", "", "", "", "", "wind", ""],
    ]
    table(tmp_path / "clips.csv", rows)
    listing = list_csv(tmp_path / "clips.csv")
    dog, rain = listing.clips
    assert (dog.dataset, dog.split, dog.captions, dog.concept) == (
        "esc50", "fold 1", ("a dog", "woof"), "dog barking",
    )  # fmt: skip
    assert dog.original == "freesound 100032" and rain.original == "freesound 7" and rain.labels == ("rain",)
    assert listing.bad_rows == ("'clips.csv', line 4: it has neither captions nor a label",)
    assert listing.missing == ("a/gone.wav",)


def test_a_csv_without_paths_or_that_is_not_there_is_refused(tmp_path):
    table(tmp_path / "clips.csv", [["file", "captions"], ["a.wav", "b"]])
    with pytest.raises(DatasetError, match="no column 'path'"):
        list_csv(tmp_path / "clips.csv")
    with pytest.raises(DatasetError, match="'other.csv' is not there"):
        list_csv(tmp_path / "other.csv")


def shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path):
    """Two shards; the second has every fault, and its end is cut off."""
    tone(tmp_path / "tone.flac", 0.5)
    tone(tmp_path / "long.wav", 1.5)
    flac, wav = (tmp_path / "tone.flac").read_bytes(), (tmp_path / "long.wav").read_bytes()
    folder = tmp_path / "laion"
    folder.mkdir()
    label = json.dumps(
        {"text": ["rain", "a  shower"], "label": "rain", "original": "freesound 5", "split": "train"}
    )
    shard(
        folder / "0000.tar",
        {"a/0.flac": flac, "a/0.json": label.encode(), "a/1.wav": wav, "a/1.txt": b"a dog\nwoof\n"},
    )
    faults = {"a/0.flac": flac, "b.json": b"{", "c.txt": b"nobody", "b.flac": flac, "d.wav": b""}
    shard(folder / "0001.tar", faults | {"e.wav": b"no sound", "f.wav": wav})
    whole = (folder / "0001.tar").read_bytes()
    (folder / "0001.tar").write_bytes(whole[: whole.index(wav) + 100])
    return folder


def test_shards_give_samples_with_captions_of_json_and_txt(shards):
    first, second = list_shards(shards / "0000.tar").clips
    assert (first.captions, first.labels, first.original, first.split) == (
        ("rain", "a shower"), ("rain",), "freesound 5", "train",
    )  # fmt: skip
    assert second.captions == ("a dog", "woof") and second.dataset == "laion"
    assert load_dataset_clip(first).duration_s == pytest.approx(0.5)
    assert load_dataset_clip(second).duration_s == pytest.approx(1.5)


def test_faults_of_a_shard_are_put_aside_and_the_rest_is_read(shards):
    listing = list_shards(shards)
    assert [clip.path for clip in listing.clips] == ["a/0.flac", "a/1.wav", "b.flac", "e.wav"]
    told = " ".join(listing.bad_rows)
    for fault in (
        "the json of 'b' is damaged", "'c' has no recording", "'d.wav' is empty", "'a/0.flac' is named twice",
        "'f.wav' is cut short",
    ):  # fmt: skip
        assert fault in told
    with pytest.raises(AudioError, match="e.wav"):
        load_dataset_clip(listing.clips[3])


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="holds no shard"):
        list_shards(tmp_path)


def test_what_is_no_plain_tar_file_is_put_aside(tmp_path):
    (tmp_path / "0.tar").write_bytes(b"\x1f\x8b compressed" * 100)
    (tmp_path / "1.tar").write_bytes(b"")
    listing = list_shards(tmp_path)
    assert (
        not listing.clips
        and len(listing.bad_rows) == 2
        and "damaged or no plain tar file" in listing.bad_rows[0]
    )


def test_what_exists_here_is_a_path_whatever_its_name_looks_like(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["a::b.wav", "x{1..2}.wav", "[1].wav", "~nobody.wav", "a#b?c=1.wav"]
    for name in names:
        tone(tmp_path / name)
        (clip,) = list_source(name).clips
        assert clip.path == name
        with local_copy(clip) as file:
            assert file.samefile(name)
    (tmp_path / "http:").mkdir()
    tone(tmp_path / "http:" / "c.wav")
    (clip,) = list_source("http://c.wav").clips
    with local_copy(clip) as file:
        assert file.samefile("http:/c.wav")


def test_names_that_differ_in_bytes_that_are_no_utf8_are_two_recordings(tmp_path):
    tone(tmp_path / "plain.wav")
    for name in (b"/caf\xe9.wav", b"/caf\xe8.wav"):
        os.link(tmp_path / "plain.wav", bytes(tmp_path) + name)
    (tmp_path / "plain.wav").unlink()
    clips = list_source(str(tmp_path)).clips
    assert len(clips) == 2
    for clip in clips:
        clip.path.encode("utf-8")
        with local_copy(clip) as file:
            assert file.is_file()
