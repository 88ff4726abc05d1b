"""Scores on disk: whole or not at all, never of two makers, and in long form."""

import math

import pyarrow.parquet
import pytest

from lmaczs.errors import LMACError
from lmaczs.evaluation import scores
from lmaczs.evaluation.scores import COLUMNS, ScoreTable

SETTINGS = {"run": 1}
ROW = {"label": "dog", "stft/cam/soft/ff": 0.123456789, "stft/cam/soft/ad": 12.5}


def files(folder):
    return sorted(folder.glob("scores-*.parquet"))


def filled(folder, **options):
    table = ScoreTable(folder, SETTINGS, **options)
    with table:
        table.add("none", "a.wav", "sound-a", ROW)
    with table:
        table.add("none", "b.wav", "sound-b", {"label": "cat", "mel/rise/soft/ff": -0.5})
    return table


def test_every_number_is_one_row_of_the_long_form(tmp_path):
    filled(tmp_path).finish([])
    (file,) = files(tmp_path)
    rows = pyarrow.parquet.read_table(file).to_pylist()
    assert tuple(rows[0]) == COLUMNS
    found = [row for row in rows if row["metric"] == "ff" and row["clip"] == "a.wav"]
    assert found == [
        {
            "clip": "a.wav", "condition": "none", "domain": "stft", "method": "cam", "form": "soft", "metric": "ff",
            "value": 0.123456789, "text": None, "sound": "sound-a",
        }
    ]  # fmt: skip
    (label,) = [row for row in rows if row["metric"] == "label" and row["clip"] == "b.wav"]
    assert (label["text"], label["method"]) == ("cat", "") and math.isnan(label["value"])


def test_what_was_added_is_read_back_exactly(tmp_path):
    first = filled(tmp_path)
    assert len(files(tmp_path)) == 2
    again = ScoreTable(tmp_path, SETTINGS)
    assert again.rows == first.rows and again.damaged == 0
    assert again.open_row("none", "a.wav", "sound-a") == {"sound": "sound-a", **ROW}
    assert again.finish([("none", "b.wav"), ("none", "never.wav")])[0]["clip"] == "b.wav"
    assert len(files(tmp_path)) == 1 and ScoreTable(tmp_path, SETTINGS).rows == first.rows


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: data[:60] + b"?" + data[61:], lambda data: b""]
)
def test_a_file_that_was_cut_short_or_changed_is_done_again(tmp_path, damage):
    filled(tmp_path)
    first, second = files(tmp_path)
    second.write_bytes(damage(second.read_bytes()))
    (tmp_path / ".scores-000009-0123456789abcdef.parquet.new").write_bytes(b"half")
    table = ScoreTable(tmp_path, SETTINGS)
    assert table.damaged == 1 and list(table.rows) == [("none", "a.wav")]
    assert table.open_row("none", "b.wav", "sound-b") == {}
    table.add("none", "b.wav", "sound-b", {"label": "cat"})
    table.finish([])
    assert ScoreTable(tmp_path, SETTINGS).rows.keys() == {("none", "a.wav"), ("none", "b.wav")}
    assert not first.exists() and ScoreTable(tmp_path, SETTINGS).damaged == 0


def test_another_sound_under_the_same_name_has_no_scores(tmp_path):
    filled(tmp_path)
    table = ScoreTable(tmp_path, SETTINGS)
    assert table.open_row("none", "a.wav", "another") == {}
    with table:
        table.add("none", "a.wav", "another", {"label": "dog"})
    assert ScoreTable(tmp_path, SETTINGS).rows["none", "a.wav"] == {"sound": "another", "label": "dog"}


def test_other_settings_are_refused_and_more_settings_are_not(tmp_path):
    filled(tmp_path)
    with pytest.raises(LMACError, match=r"other settings \(run\): choose another folder"):
        ScoreTable(tmp_path, {"run": 2})
    assert ScoreTable(tmp_path, {"run": 1, "snr_db": 3.0}).rows
    with pytest.raises(LMACError, match=r"snr_db"):
        ScoreTable(tmp_path, {"run": 1, "snr_db": 0.0})


def test_a_folder_that_does_not_say_what_made_it_is_refused(tmp_path):
    filled(tmp_path)
    (tmp_path / "settings.json").write_text("{}", "utf-8")
    with pytest.raises(LMACError, match=r"settings.json does not say"):
        ScoreTable(tmp_path, SETTINGS)


def test_new_weights_of_a_method_leave_the_others_numbers_alone(tmp_path):
    filled(tmp_path, parts={"stft/cam": "1", "mel/rise": "1"})
    same = ScoreTable(tmp_path, SETTINGS, {"stft/cam": "1", "mel/rise": "1"})
    assert same.dropped == () and "stft/cam/soft/ff" in same.rows["none", "a.wav"]
    changed = ScoreTable(tmp_path, SETTINGS, {"stft/cam": "2", "mel/rise": "1"})
    assert changed.dropped == ("stft/cam",)
    assert changed.rows["none", "a.wav"] == {"sound": "sound-a", "label": "dog"}
    assert changed.rows["none", "b.wav"]["mel/rise/soft/ff"] == -0.5
    assert ScoreTable(tmp_path, SETTINGS, again=("mel/rise",)).dropped == ("mel/rise",)
    assert ScoreTable(tmp_path, SETTINGS).rows["none", "b.wav"] == {"sound": "sound-b", "label": "cat"}


def test_values_can_be_taken_away_and_nan_is_no_value(tmp_path):
    table = filled(tmp_path)
    with table:
        table.add("none", "a.wav", "sound-a", {"stft/cam/soft/ff": math.nan, "label": None})
    for found in (table, ScoreTable(tmp_path, SETTINGS)):
        assert found.rows["none", "a.wav"] == {"sound": "sound-a", "stft/cam/soft/ad": 12.5}


def test_rows_reach_the_disk_while_the_work_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "FLUSH_S", -1.0)
    table = ScoreTable(tmp_path, SETTINGS)
    table.add("none", "a.wav", "sound-a", ROW)
    assert len(files(tmp_path)) == 1  # nothing was closed: a killed run would find it
    with pytest.raises(KeyboardInterrupt), table:
        monkeypatch.setattr(scores, "FLUSH_S", 1e9)
        table.add("none", "b.wav", "sound-b", {"label": "cat"})
        raise KeyboardInterrupt
    assert ScoreTable(tmp_path, SETTINGS).rows == table.rows


def test_what_to_install_is_said_where_pyarrow_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(LMACError, match=r"needs the package 'pyarrow': run 'pip install pyarrow'"):
        ScoreTable(tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()
