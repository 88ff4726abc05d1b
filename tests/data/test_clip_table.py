"""Choosing clips from a table."""

from collections import Counter
from pathlib import Path

import pytest

from lmaczs.data.clip_table import limit_by_label, select_clips
from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError

TABLE = """path,dataset,fold,label
a/1.ogg,pets,1,dog
a/2.ogg,pets,2,cat
a/3.ogg,pets,2,dog
a/4.ogg,pets,1,parrot
b/5.ogg,tools,2,saw
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "clips.csv").write_text(TABLE, "utf-8")
    return tmp_path / "clips.csv"


def test_lines_are_picked_and_paths_are_relative_to_the_table(table):
    selection = select_clips(table, {"dataset": "pets", "fold": "2"})
    assert [clip.path for clip in selection.clips] == ["a/2.ogg", "a/3.ogg"]
    assert selection.clips[0].file == table.parent / "a/2.ogg"
    assert [clip.label for clip in selection.clips] == ["cat", "dog"]


def test_labels_are_those_of_the_whole_data_set_and_not_of_the_fold(table):
    assert select_clips(table, {"dataset": "pets", "fold": "2"}).labels == ("cat", "dog", "parrot")
    assert select_clips(table, {"fold": "2"}).labels == ("cat", "dog", "parrot", "saw")


def test_a_table_needs_only_paths_and_labels(tmp_path):
    (tmp_path / "few.csv").write_text("label,path\nrain,r.wav\n", "utf-8")
    selection = select_clips(tmp_path / "few.csv")
    assert selection.labels == ("rain",)
    assert len(selection.clips) == 1


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        (TABLE, {"split": "test"}, "no column 'split'.*fold"),
        (TABLE, {"fold": "9"}, "fold=9"),
        ("path,dataset\nx.wav,pets\n", {}, "no column 'label'"),
        ("path,label\nx.wav,dog\nx.wav,cat\n", {}, "'x.wav' twice"),
        ("path,label\nx.wav,\n", {}, "without path or label"),
        ("", {}, "no column 'path'.*none"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_one_sentence(tmp_path, content, where, message):
    (tmp_path / "bad.csv").write_text(content, "utf-8")
    with pytest.raises(LMACError, match=message) as raised:
        select_clips(tmp_path / "bad.csv", where)
    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize("name", ["missing.csv", "binary.csv", "."])
def test_what_is_no_table_is_refused(tmp_path, name):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00path")
    with pytest.raises(LMACError, match="cannot be read as a clip table"):
        select_clips(tmp_path / name)


CLIPS = [Clip(f"{label}{n}", Path(f"{label}{n}"), label) for n in range(6) for label in "abc"]


def test_a_limit_takes_all_labels_evenly_and_keeps_the_order():
    chosen = limit_by_label(CLIPS, 6)
    assert Counter(clip.label for clip in chosen) == {"a": 2, "b": 2, "c": 2}
    assert list(chosen) == [clip for clip in CLIPS if clip in chosen]
    counts = Counter(clip.label for clip in limit_by_label(CLIPS, 8))
    assert sorted(counts.values()) == [2, 3, 3]


def test_a_limit_is_seeded():
    assert limit_by_label(CLIPS, 6, seed=1) == limit_by_label(CLIPS, 6, seed=1)
    assert limit_by_label(CLIPS, 6, seed=1) != limit_by_label(CLIPS, 6, seed=3)


def test_a_rare_label_gives_what_it_has_and_a_large_limit_everything():
    few = [clip for clip in CLIPS if clip.label != "a"] + [CLIPS[0]]
    assert Counter(clip.label for clip in limit_by_label(few, 7))["a"] == 1
    assert list(limit_by_label(CLIPS, 99)) == CLIPS
    with pytest.raises(LMACError, match="0"):
        limit_by_label(CLIPS, 0)
