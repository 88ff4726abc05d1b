"""Contamination: levels, draws, lists, and whose sound is whose."""

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError
from lmaczs.evaluation.conditions import Contamination, contaminant_name, speech_clips
from lmaczs.signal.mixing import active_power

RATE = 16000


def write_noise(path: Path, seconds: float, level: float, seed: int, rate: int = RATE) -> None:
    samples = level * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    soundfile.write(path, samples.clip(-1, 1), rate, subtype="FLOAT")


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Six clips of three labels: different lengths and levels."""
    found = []
    for index in range(6):
        path = tmp_path / f"{index}.wav"
        write_noise(path, 1.0 + 0.5 * index, 0.02 * (index + 1), index)
        found.append(Clip(path.name, path, "abc"[index // 2]))
    return found


@pytest.fixture
def speech(tmp_path: Path) -> tuple[Clip, ...]:
    """A folder with two short recordings at another rate, one in a folder below, and something else."""
    folder = tmp_path / "speech"
    (folder / "deep").mkdir(parents=True)
    write_noise(folder / "one.wav", 0.4, 0.1, 10, rate=22050)
    write_noise(folder / "deep" / "two.flac.wav", 0.6, 0.1, 11, rate=22050)
    (folder / "notes.txt").write_text("not a sound")
    return speech_clips(folder)


@pytest.mark.parametrize("condition", ["white", "same", "speech"])
@pytest.mark.parametrize("snr_db", [3.0, -5.0])
def test_snr_is_measured_on_what_is_heard(clips, speech, condition, snr_db):
    contamination = Contamination(snr_db, 0, clips, speech)
    for clip in clips:
        scene = contamination.scene(condition, clip, RATE)
        own, other = scene.parts
        assert torch.equal(scene.waveform, own + other)
        assert torch.equal(own, contamination.scene("none", clip, RATE).waveform)  # the clip keeps its level
        assert own.shape == other.shape  # a short contaminant is repeated, a long one cut
        measured = 10 * math.log10(active_power(own) / active_power(other))
        # A repeated or cut contaminant is brought to its level after that, so the stated level is exact.
        assert measured == pytest.approx(snr_db, abs=1e-3)


def test_clean_clips_are_left_alone(clips):
    scene = Contamination().scene("none", clips[0], RATE)
    assert scene.parts is None and len(scene.waveform) == RATE


def test_draws_depend_on_seed_and_clip_alone(clips, speech):
    first, again = (Contamination(3.0, 0, clips, speech) for _ in range(2))
    other = Contamination(3.0, 1, clips, speech)
    for condition in ("white", "same", "speech"):
        drawn = [first.contaminant(condition, clip) for clip in clips]
        assert drawn == [again.contaminant(condition, clip) for clip in reversed(clips)][::-1]
        assert drawn != [other.contaminant(condition, clip) for clip in clips]
        assert len(set(map(contaminant_name, drawn))) > 1
    noise = [first.scene("white", clip, RATE).parts[1] for clip in clips[:2]]
    assert not torch.allclose(noise[0] / noise[0].std(), noise[1][:RATE] / noise[1].std(), atol=0.1)


def test_another_clip_of_the_set_has_another_label(clips):
    for seed in range(20):
        contamination = Contamination(3.0, seed, clips)
        for clip in clips:
            assert contamination.contaminant("same", clip).label != clip.label


def test_the_list_names_what_lies_over_each_clip(clips, speech):
    contamination = Contamination(6.0, 0, clips, speech)
    rows = list(csv.DictReader(io.StringIO(contamination.table(("none", "white", "same", "speech"), clips))))
    assert [row["condition"] for row in rows] == ["white"] * 6 + ["same"] * 6 + ["speech"] * 6
    assert all(row["snr_db"] == "6.0" for row in rows)
    for row, clip in zip(rows[6:12], clips, strict=True):
        assert row["path"] == clip.path
        assert row["contaminant"] == contamination.contaminant("same", clip).path
    assert {row["contaminant"] for row in rows[12:]} == {"one.wav", "deep/two.flac.wav"}
    seed = int(rows[0]["contaminant"].removeprefix("white noise, seed "))
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(seed))
    heard = contamination.scene("white", clips[0], RATE).parts[1]
    assert torch.allclose(heard / heard.std(), noise / noise.std(), atol=1e-4)  # anyone can make it again


def test_settings_name_the_level_and_the_pools_that_are_used(clips, speech):
    contamination = Contamination(3.0, 0, clips, speech)
    assert contamination.settings(("none",)) == {}
    assert set(contamination.settings(("none", "white"))) == {"snr_db"}
    assert set(contamination.settings(("same",))) == {"snr_db", "clips_for_same"}
    fewer = Contamination(3.0, 0, clips[:4], speech).settings(("same",))
    assert contamination.settings(("same",))["clips_for_same"] != fewer["clips_for_same"]


def test_speech_can_be_lines_of_any_table(tmp_path, clips):
    table = tmp_path / "all.csv"
    table.write_text("path,label,kind\n0.wav,a,speech\n1.wav,b,music\n2.wav,c,speech\n", "utf-8")
    found = speech_clips(table, {"kind": "speech"})
    assert [clip.path for clip in found] == ["0.wav", "2.wav"]
    contamination = Contamination(3.0, 0, (), found)
    assert contamination.contaminant("speech", clips[0]).path == "2.wav"  # never the clip itself


@pytest.mark.parametrize(
    ("source", "where", "message"),
    [("empty", {}, "no recordings"), ("empty", {"a": "b"}, "no columns"), ("missing.csv", {}, "missing.csv")],
)
def test_speech_that_is_not_there_is_said_so(tmp_path, source, where, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LMACError, match=message):
        speech_clips(tmp_path / source, where)


def test_a_set_of_one_label_has_no_other_clips(clips):
    with pytest.raises(LMACError, match="two labels"):
        Contamination(3.0, 0, clips[:2]).contaminant("same", clips[0])


def test_a_contaminant_that_cannot_be_read_is_named(clips, tmp_path):
    (tmp_path / "5.wav").write_bytes(b"no sound")
    with pytest.raises(LMACError, match=r"contaminant.*5\.wav"):
        Contamination(3.0, 0, clips[:1] + clips[5:]).scene("same", clips[0], RATE)
