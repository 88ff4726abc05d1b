"""Located truth: when something is kept against when the event sounds."""

import csv
import json
import math

import numpy as np
import pytest
import soundfile
import torch

import make_scenes
from lmaczs.cli import main
from lmaczs.errors import LMACError
from lmaczs.evaluation.contenders import contenders, load_methods
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.located import located_summary, measure_located, read_scenes
from lmaczs.evaluation.scores import ScoreTable
from lmaczs.metrics.events import frame_energy, frames_of, located

RATE = 16000


def test_energy_is_summed_over_tenths_of_a_second():
    waveform = torch.cat([torch.ones(1600), 2 * torch.ones(1600), torch.ones(800)])
    assert frame_energy(waveform, RATE).tolist() == [1600, 6400, 800]


def test_a_frame_belongs_to_an_event_that_fills_half_of_it():
    assert frames_of([(0.16, 0.34)], 5).tolist() == [False, False, True, False, False]
    assert frames_of([(0.15, 0.35), (0.4, 0.42)], 5).tolist() == [False, True, True, True, False]


def test_times_are_compared_by_hand():
    # Within 20 dB of 100: the first three frames. The event: the second to fourth.
    energy = torch.tensor([2.0, 100.0, 50.0, 0.5, 0.0], dtype=torch.float64)
    found = located(energy, torch.tensor([False, True, True, True, False]))
    assert found["event_precision"] == pytest.approx(2 / 3) and found["event_recall"] == pytest.approx(2 / 3)
    assert found["event_f1"] == pytest.approx(2 / 3)
    # The threshold 0.5 keeps four frames, three of them right: F1 = 6 / 7; 50 keeps two: F1 = 4 / 5.
    assert found["event_f1_best"] == pytest.approx(6 / 7)
    amplitude = energy.sqrt().numpy()
    assert found["event_correlation"] == pytest.approx(np.corrcoef(amplitude, [0, 1, 1, 1, 0])[0, 1])


def test_nothing_kept_finds_nothing_and_equal_frames_are_taken_together():
    nothing = located(torch.zeros(4), torch.tensor([True, False, False, False]))
    assert nothing["event_f1"] == nothing["event_f1_best"] == nothing["event_recall"] == 0
    assert math.isnan(nothing["event_precision"]) and math.isnan(nothing["event_correlation"])
    flat = located(torch.ones(4), torch.tensor([True, False, False, False]))
    assert flat["event_f1_best"] == flat["event_f1"] == pytest.approx(2 / 5)
    with pytest.raises(ValueError, match="with an event"):
        located(torch.ones(4), torch.zeros(4, dtype=torch.bool))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("path,onset,label\na.wav,1,dog", "no column 'offset'"),
        ("path,onset,offset,label", "names no event"),
        ("path,onset,offset,label\na.wav,2,1,dog", "onset '2' and the offset '1': give seconds"),
        ("path,onset,offset,label\na.wav,x,1,dog", "onset 'x'"),
        ("path,onset,offset,label\na.wav,0,inf,dog", "offset 'inf'"),
        ("path,onset,offset,label\na.wav,0,1,", "without path or label"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(tmp_path, rows, words):
    (tmp_path / "events.csv").write_text(rows, "utf-8")
    with pytest.raises(LMACError, match=words):
        read_scenes(tmp_path / "events.csv")


def test_events_of_one_label_are_explained_together(tmp_path):
    rows = "path;onset;offset;label\na.wav;1;2;dog\na.wav;3;4;dog\na.wav;0;4;rain\nb.wav;0;1;dog\n"
    (tmp_path / "events.csv").write_text(rows, "utf-8")
    first, second = read_scenes(tmp_path / "events.csv")
    assert [(event.label, event.spans) for event in first.events] == [
        ("dog", ((1.0, 2.0), (3.0, 4.0))), ("rain", ((0.0, 4.0),)),
    ]  # fmt: skip
    assert second.file == tmp_path / "b.wav" and second.events[0].parts == ()


@pytest.fixture
def scene(tmp_path, beep_in_noise):
    """The beep from 1.0 to 1.5 s with what it is made of, and a file that is not there."""
    time = torch.arange(len(beep_in_noise.waveform)) / RATE
    beep = 0.5 * torch.sin(2 * torch.pi * 1000 * time) * ((time >= 1.0) & (time < 1.5))
    soundfile.write(tmp_path / "scene.wav", beep_in_noise.waveform.numpy(), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "beep.wav", beep.numpy(), RATE, subtype="FLOAT")
    with (tmp_path / "events.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "onset", "offset", "label", "part"))
        writer.writerow(("scene.wav", 1.0, 1.5, "beep", "beep.wav"))
        writer.writerow(("gone.wav", 1.0, 1.5, "rain", ""))
    return tmp_path / "events.csv"


def test_a_mask_on_the_event_is_told_from_one_that_keeps_all(scene, planted_backend, tmp_path):
    """The ideal mask is the upper bound; a second run explains nothing again."""
    methods = [("saliency", one) for one in load_methods("saliency", (), planted_backend, ("stft",))]
    everyone = contenders(methods, ("stft",), planted_backend)
    evaluator = MaskEvaluator(planted_backend, ("beep", "rain"))
    scenes = read_scenes(scene)

    def measured():
        table = ScoreTable(tmp_path / "out", {"seed": 0}, {one.key: one.key for one in everyone})
        rows = measure_located(evaluator, everyone, scenes, table, quiet=True)
        return rows, located_summary(rows, everyone)

    rows, summary = measured()
    assert (summary["events"], summary["failed"]) == (2, 1) and "error" in rows[1]
    found = {name: {key: one["mean"] for key, one in row.items()} for name, row in summary["methods"].items()}
    ideal, full, own = (found[name] for name in ("ideal ratio mask", "full", "saliency"))
    assert ideal["event_f1"] > 0.9 and own["event_f1"] > 0.9 and full["event_f1"] < ideal["event_f1"]
    assert full["event_si_sdr_i"] == pytest.approx(0, abs=1e-4) and ideal["event_si_sdr_i"] > 5
    assert ideal["event_correlation"] > 0.95
    again, same = measured()
    assert same == summary and len(again) == 2


def test_the_command_writes_its_table(scene, tmp_path, capsys):
    out = tmp_path / "results"
    flags = [
        "evaluate",
        "--events",
        str(scene),
        "--methods",
        "grad-cam",
        "--backend",
        "debug",
        "--device",
        "cpu",
    ]
    assert main([*flags, "--out", str(out)]) == 1  # one scene is not there
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    assert summary["failed"] == 1 and "grad-cam" in summary["methods"]
    assert "F1 at -20 dB" in capsys.readouterr().out
    assert main(["evaluate", "--methods", "grad-cam", "--backend", "debug", "--out", str(out)]) == 2
    assert "--clips, or events with --events" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ["--where", "label=beep"], ["--contaminate", "white"], ["--snr", "0"], ["--speech", "a.csv"],
        ["--speech-where", "a=b"], ["--slow-limit", "3"], ["--mixtures", "2"], ["--curve", "10"],
        ["--again", "grad-cam"],
    ],
)  # fmt: skip
def test_a_flag_about_clips_is_not_passed_over(scene, tmp_path, capsys, flags):
    assert main(["evaluate", "--events", str(scene), *flags, "--out", str(tmp_path / "results")]) == 2
    assert f"{flags[0]} is about --clips: leave it out with --events." in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_scenes_are_made_alike_from_a_seed_and_their_parts_add_up(tmp_path):
    time = np.arange(RATE) / RATE
    rows = ["path,label"]
    for number, label in enumerate(("dog", "cat", "bell", "sea")):
        sound = 0.2 * np.sin(2 * np.pi * 300 * (number + 1) * time) * ((time > 0.2) & (time < 0.8))
        sound = sound if label != "sea" else 0.1 * np.random.default_rng(0).standard_normal(RATE)
        soundfile.write(tmp_path / f"{label}.wav", sound, RATE, subtype="FLOAT")
        rows.append(f"{label}.wav,{label}")
    (tmp_path / "clips.csv").write_text("\n".join(rows[:4]), "utf-8")
    (tmp_path / "sea.csv").write_text("\n".join([rows[0], rows[4]]), "utf-8")
    made = []
    for name in ("one", "two"):
        out = tmp_path / name
        flags = [
            "--clips",
            str(tmp_path / "clips.csv"),
            "--backgrounds",
            str(tmp_path / "sea.csv"),
            "--scenes",
            "2",
        ]
        make_scenes.main([*flags, "--out", str(out)])
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert made[0] == made[1]
    for scene in read_scenes(tmp_path / "one" / "events.csv"):
        whole, rate = soundfile.read(scene.file)
        assert 10 * rate <= len(whole) <= 30 * rate and abs(np.abs(whole).max() - 0.9) < 1e-3
        for event in scene.events:
            (part,) = (soundfile.read(file)[0] for file in event.parts)
            ((onset, offset),) = event.spans
            sounding = np.flatnonzero(part) / rate
            assert (
                onset - 1e-3 <= sounding[0] and sounding[-1] <= offset + 1e-3 and 0.5 < offset - onset < 0.7
            )
