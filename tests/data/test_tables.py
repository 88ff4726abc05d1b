"""Tables as programs and people write them: one reader for all of them."""

import codecs

import pytest
from layouts import tone

from lmaczs.data.clip_csv import list_csv
from lmaczs.data.clip_table import select_clips
from lmaczs.data.sources import list_source
from lmaczs.data.tables import read_table
from lmaczs.errors import DatasetError, LMACError

PLAIN = "path,label\ncafé.wav,dog\nb.wav,cat\n"
WRITTEN = {
    "plain": PLAIN.encode(),
    "byte order mark": codecs.BOM_UTF8 + PLAIN.encode(),
    "semicolons": PLAIN.replace(",", ";").encode(),
    "tabs": PLAIN.replace(",", "\t").encode(),
    "spaces": PLAIN.replace(",", " , ").encode(),
    "quoted after spaces": b'path, label\n"caf\xc3\xa9.wav", "dog"\n"b.wav", "cat"\n',
    "capitals": PLAIN.replace("path,label", "Path,LABEL").encode(),
    "latin-1": PLAIN.encode("latin-1"),
    "utf-16": PLAIN.encode("utf-16"),
    "utf-16 without a mark": PLAIN.encode("utf-16-le"),
    "big-endian": codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
    "Windows": PLAIN.replace("\n", "\r\n").encode(),
    "old Macintosh": PLAIN.replace("\n", "\r").encode(),
    "Excel says its delimiter": b"sep=;\r\n" + PLAIN.replace(",", ";").encode(),
    "empty lines": PLAIN.replace("\n", "\n\n,\n").encode(),
    "stray NUL": PLAIN.replace("cat", "c\0at").encode(),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_all_commands_read_a_table_however_it_is_written(tmp_path, way):
    (tmp_path / "clips.csv").write_bytes(WRITTEN[way])
    for name in ("café.wav", "b.wav"):
        tone(tmp_path / name)
    expected = [("café.wav", "dog"), ("b.wav", "cat")]
    assert [(c.path, c.label) for c in select_clips(tmp_path / "clips.csv").clips] == expected
    listed = list_csv(tmp_path / "clips.csv")
    assert [(c.path, c.label) for c in listed.clips] == expected and not listed.bad_rows
    found = list_source(str(tmp_path / "clips.csv"))
    assert [(c.path, c.label) for c in found.clips] == sorted(expected)


def test_a_clip_counts_once_however_its_path_is_written(tmp_path):
    tone(tmp_path / "a.wav")
    (tmp_path / "clips.csv").write_text("path,label\n./a.wav,dog\na.wav,dog\n.//a.wav,dog\n")
    assert [clip.path for clip in select_clips(tmp_path / "clips.csv").clips] == ["a.wav"]
    assert [clip.path for clip in list_source(str(tmp_path / "clips.csv")).clips] == ["a.wav"]
    listed = list_csv(tmp_path / "clips.csv")
    assert [clip.path for clip in listed.clips] == ["a.wav"]
    assert listed.bad_rows == (
        "'clips.csv', line 3: 'a.wav' is named twice",
        "'clips.csv', line 4: 'a.wav' is named twice",
    )


def test_one_clip_with_two_labels_is_refused_with_both(tmp_path):
    (tmp_path / "clips.csv").write_text("path,label\n./a.wav,dog\na.wav,cat\n")
    with pytest.raises(LMACError, match="'a.wav' twice, as 'dog' and as 'cat'"):
        select_clips(tmp_path / "clips.csv")


def test_columns_are_asked_for_whatever_their_case(tmp_path):
    (tmp_path / "clips.csv").write_text("Path;Label;Fold\na.wav;dog;1\nb.wav;cat;2\n")
    assert [clip.path for clip in select_clips(tmp_path / "clips.csv", {"fold": "2"}).clips] == ["b.wav"]


def test_rows_know_their_line_and_short_rows_have_empty_cells():
    table = read_table(b'a,b\n"one\ntwo",2\nthree\n', "t.csv")
    assert [(row.place, row["A"], row["b"]) for row in table.rows] == [
        ("'t.csv', line 3", "one\ntwo", "2"),
        ("'t.csv', line 4", "three", ""),
    ]
    assert table.rows[0]["c"] == "" and table.lacking(("B", "c")) == "c"


def test_a_row_that_no_reader_can_read_costs_the_rest_and_is_told(tmp_path):
    table = read_table(b"a\n1\n" + b"x" * 200_000 + b"\n2\n", "t.csv")
    assert [row["a"] for row in table.rows] == ["1"] and "so the rest is not read" in table.faults[0]


def test_what_is_no_text_is_refused():
    with pytest.raises(DatasetError, match=r"'t.csv' is no text"):
        read_table(b"RIFF\xff\xfe\xe4\0\0WAVE", "t.csv")
