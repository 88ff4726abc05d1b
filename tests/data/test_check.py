"""`datasets check`: counts, faults, and originals that training and evaluation share."""

import json

import pytest
from layouts import LAYOUTS, table, tone

from lmaczs.cli import main
from lmaczs.data.check import examine, find_listings, find_overlaps
from lmaczs.data.clip_csv import list_csv
from lmaczs.data.clip_table import select_clips
from lmaczs.data.registry import list_selection


def all_of(items, total):
    return items


@pytest.fixture
def folder(tmp_path):
    """All miniatures in one folder."""
    for build in LAYOUTS.values():
        build(tmp_path)
    return tmp_path


def findings_in(folder, decode=False):
    listings = find_listings(folder)
    return [
        finding for name, listing in listings.items() for finding in examine(listing, name, decode, all_of)
    ]


def test_everything_in_a_folder_is_found_and_counted(folder):
    counts = {f.name: (len(f.clips), f.captions, f.missing, len(f.bad_rows)) for f in findings_in(folder)}
    assert counts == {
        "clotho": (3, 6, 0, 1),
        "fsd50k": (4, 4, 0, 2),
        "audiocaps": (2, 6, 1, 1),
        "macs": (2, 3, 0, 1),
        "esc50": (3, 0, 1, 3),
        "urbansound8k": (2, 0, 0, 1),
        "ljspeech": (2, 0, 1, 0),
    }
    # Half a second each.
    assert sum(f.hours for f in findings_in(folder)) == pytest.approx(18 * 0.5 / 3600)


def test_freesound_sounds_of_training_and_evaluation_are_named(folder):
    shared = {(o.first, o.second): o.originals for o in find_overlaps(findings_in(folder))}
    assert shared == {
        ("esc50 fold 1", "esc50 fold 5"): ("freesound 100032",),
        ("esc50", "clotho"): ("freesound 100032",),
        ("esc50", "urbansound8k"): ("freesound 100032",),
        ("urbansound8k", "clotho"): ("freesound 100032",),
    }


def test_recordings_that_cannot_be_read_are_named_and_silence_only_by_decoding(tmp_path):
    import numpy as np
    import soundfile

    tone(tmp_path / "good.wav")
    (tmp_path / "bad.wav").write_bytes(b"RIFF....")
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    rows = [[name, "rain"] for name in ("good.wav", "bad.wav", "silent.wav")]
    table(tmp_path / "clips.csv", [["path", "captions"], *rows])
    (finding,) = findings_in(tmp_path)
    assert len(finding.unreadable) == 1 and "bad.wav" in finding.unreadable[0]
    (finding,) = findings_in(tmp_path, decode=True)
    assert len(finding.unreadable) == 2 and "silent.wav" in finding.unreadable[1]


def test_the_command_prints_a_table_and_writes_all_faults(folder, tmp_path, capsys):
    assert main(["datasets", "check", str(folder), "--json", str(tmp_path / "out.json")]) == 1
    text = capsys.readouterr().out
    assert "esc50" in text and "share 1 original: freesound 100032" in text
    assert "its file lies outside the dataset" in text
    content = json.loads((tmp_path / "out.json").read_text())
    assert {entry["name"] for entry in content["datasets"]} == set(LAYOUTS)
    assert len(next(e for e in content["datasets"] if e["name"] == "esc50")["bad_rows"]) == 3


def test_a_clean_folder_gives_exit_code_0(tmp_path, capsys):
    tone(tmp_path / "a.wav")
    table(tmp_path / "clips.csv", [["path", "captions"], ["a.wav", "rain"]])
    assert main(["datasets", "check", str(tmp_path)]) == 0
    assert "No original recording is shared" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_with_nothing_known_is_refused_in_one_sentence(tmp_path, capsys, name):
    (tmp_path / "empty").mkdir()
    assert main(["datasets", "check", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err.strip()
    assert f"'{name}'" in error and "\n" not in error and str(tmp_path) not in error


def test_the_list_names_every_page_and_preset(capsys):
    assert main(["datasets", "list"]) == 0
    text = capsys.readouterr().out
    assert "https://zenodo.org/records/4783391" in text and "--datasets full" in text


def test_a_dataset_becomes_a_csv_that_training_and_evaluation_read(folder, capsys):
    assert (
        main(["datasets", "csv", "esc50,clotho:development", str(folder), "--out", str(folder / "all.csv")])
        == 1
    )
    assert "5 clips; 5 rows left out" in capsys.readouterr().out
    clips = list_csv(folder / "all.csv").clips
    expected = list_selection("esc50,clotho:development", folder).clips
    assert [(c.file.resolve(), c.dataset, c.captions, c.labels, c.original) for c in clips] == [
        (c.file.resolve(), c.dataset, c.captions, c.labels, c.original) for c in expected
    ]
    dogs = select_clips(folder / "all.csv", {"dataset": "esc50", "fold": "5"})
    assert [clip.label for clip in dogs.clips] == ["dog"] and dogs.labels == ("crying baby", "dog")


def test_a_csv_whose_paths_would_leave_its_folder_is_refused(folder, capsys):
    (folder / "lists").mkdir()
    assert main(["datasets", "csv", "esc50:fold 1", str(folder), "--out", str(folder / "lists/all.csv")]) == 2
    assert "'all.csv' must lie in a folder above the recordings" in capsys.readouterr().err
