"""Where the clips of a training come from: datasets, shards, and what a release says of them."""

import io
import tarfile

import pytest
from layouts import LAYOUTS, table, tone

from lmaczs.errors import LMACError
from train.clips import only_open, split_clips, training_clips
from train.export import training_sources


def test_a_preset_gives_clips_with_the_captions_of_the_paper(tmp_path):
    LAYOUTS["clotho"](tmp_path)
    dog, rain = training_clips("", "clotho", str(tmp_path))
    assert dog.dataset == "clotho" and dog.fold == "development" and len(dog.texts) == 4
    assert rain.concept == "Rain falls ."


def test_a_held_out_fold_takes_the_same_freesound_sound_out_of_another_set(tmp_path):
    for key in ("clotho", "esc50", "fsd50k"):
        LAYOUTS[key](tmp_path)
    clips = training_clips("", "clotho,fsd50k,esc50", str(tmp_path))
    train, valid = split_clips(clips, ["esc50:5"])
    assert [clip.source.path for clip in valid["esc50:5"]] == ["5-100032-B-0.wav"]
    assert [clip.source.path for clip in train if clip.dataset == "clotho"] == ["Rain.wav", "Wind.wav"]
    assert "1-100032-A-0.wav" not in {clip.source.path for clip in train}


def test_what_is_left_out_is_told(tmp_path, capsys):
    LAYOUTS["esc50"](tmp_path)
    training_clips("", "esc50", str(tmp_path))
    text = capsys.readouterr().out
    assert "3 rows are left out" in text and "1 recordings are not there, the first is 2-1-A-0.wav" in text


def test_labels_become_sentences_where_there_are_no_captions(tmp_path):
    LAYOUTS["urbansound8k"](tmp_path)
    first, _ = training_clips("", "urbansound8k", str(tmp_path))
    assert first.captions == ("this is the sound of dog bark",) and first.concept == first.label == "dog bark"


def test_shards_are_clips_too(tmp_path):
    tone(tmp_path / "a.flac")
    content = (tmp_path / "a.flac").read_bytes()
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for name, data in {"x.flac": content, "x.txt": b"rain\n"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    (clip,) = training_clips(str(tmp_path / "0.tar"))
    assert clip.captions == ("rain",) and clip.path.name == "x.flac"


def test_nothing_to_train_with_is_refused(tmp_path):
    table(tmp_path / "clips.csv", [["path", "captions"], ["gone.wav", "rain"]])
    with pytest.raises(LMACError, match="names no recording that is there"):
        training_clips(str(tmp_path / "clips.csv"))


def test_a_release_names_datasets_with_their_licences_and_csv_collections_with_theirs(tmp_path):
    LAYOUTS["clotho"](tmp_path)
    tone(tmp_path / "a.wav")
    table(
        tmp_path / "clips.csv", [["path", "captions", "dataset", "licence"], ["a.wav", "rain", "mine", "CC0"]]
    )
    clips = training_clips(str(tmp_path / "clips.csv"), "clotho", str(tmp_path))
    found = training_sources(str(tmp_path / "clips.csv"), clips)
    assert [(source["dataset"], source["clips"]) for source in found] == [("mine", 1), ("Clotho", 2)]
    assert found[0]["licences"] == ["CC0"] and "non-commercial" in found[1]["licences"][0]


HEADER = ["path", "captions", "split", "open", "overlap"]
ROWS = [
    ["a.wav", "rain", "train", "yes", ""],
    ["b.wav", "rain", "train", "no", ""],
    ["c.wav", "rain", "test", "yes", ""],
    ["./d.wav", "rain", "train", "yes", "esc50/1-1-A-0.wav"],
]


def test_rows_that_a_table_keeps_from_shipped_weights_are_not_trained_on(tmp_path):
    for row in ROWS:
        tone(tmp_path / row[0])
    table(tmp_path / "clips.csv", [HEADER, *ROWS])
    table(tmp_path / "plain.csv", [HEADER[:2], *(row[:2] for row in ROWS)])
    table(tmp_path / "closed.csv", [HEADER, *ROWS[1:]])

    def kept(name):
        return [
            clip.path.name for clip in only_open(training_clips(str(tmp_path / name)), str(tmp_path / name))
        ]

    assert kept("clips.csv") == ["a.wav"]
    assert kept("plain.csv") == ["a.wav", "b.wav", "c.wav", "d.wav"]
    with pytest.raises(LMACError, match="'closed.csv' names no open training clip"):
        kept("closed.csv")
