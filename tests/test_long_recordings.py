"""The benchmark of long recordings, on tones that are found by construction."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import soundfile
import torch

from benchmarks import long_recordings
from lmaczs.clap.recording import listen
from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.scores import ScoreTable
from lmaczs.explainers.base import Method, MethodEntry
from lmaczs.types import AudioClip, Explanation

RATE = 16000
HERTZ = {"low": 300, "middle": 1000, "high": 3000, "higher": 6000}


@pytest.fixture
def table(tmp_path):
    """Two tones of each of four labels, at very different levels."""
    lines = ["path,label"]
    for place, (label, hertz) in enumerate(HERTZ.items()):
        for copy in range(2):
            time = np.arange(2 * RATE) / RATE
            sound = 10.0 ** -(place % 3) * 0.5 * np.sin(2 * np.pi * (hertz + 20 * copy) * time)
            soundfile.write(tmp_path / f"{label}{copy}.wav", sound, RATE, subtype="FLOAT")
            lines.append(f"{label}{copy}.wav,{label}")
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return tmp_path / "clips.csv"


@pytest.fixture
def clips(table):
    lines = [line.split(",") for line in table.read_text("utf-8").splitlines()[1:]]
    return [Clip(path, table.parent / path, label) for path, label in lines]


@dataclass(frozen=True, eq=False)
class Finder(Method):
    """Keeps the tone that the prompt names, or nothing."""

    entry: ClassVar[MethodEntry] = MethodEntry("finder", "Finder", "", "Knows the tones.")
    finds: bool = True

    def passes(self):
        return 100.0 if self.finds else 1.0

    def explain(self, recording, target, progress=lambda *_: None):
        grid = self.backend.spectral
        mask = torch.zeros(grid.n_bins, 1 + len(recording.clip.waveform) // grid.hop_length)
        if self.finds:
            row = round(HERTZ[target.prompt.split()[-1]] * grid.n_fft / RATE)
            spectrum = torch.stft(
                recording.clip.waveform,
                grid.n_fft,
                grid.hop_length,
                window=torch.hann_window(grid.n_fft),
                return_complex=True,
            )
            mask[row] = (spectrum[row].abs() > 0.5 * spectrum[row].abs().max()).float()
        return Explanation("finder", target.prompt, mask, "stft", "present" if self.finds else "absent")


def test_sequences_are_seeded_and_of_three_labels(clips):
    plans = long_recordings.plan_sequences(clips, 8, 0)
    assert plans == long_recordings.plan_sequences(clips, 8, 0) != long_recordings.plan_sequences(clips, 8, 1)
    assert plans[:3] == long_recordings.plan_sequences(clips, 3, 0)
    for plan in plans:
        assert len({clip.label for clip in plan.clips}) == 3
        assert all(1.0 <= pause <= 3.0 for pause in plan.pauses_s) and len(plan.pauses_s) == 2
    with pytest.raises(LMACError, match="at least 3 labels"):
        long_recordings.plan_sequences(clips[:4], 1, 0)


def test_sounds_have_one_level_and_borders_lie_in_the_pauses(clips):
    plan = long_recordings.plan_sequences(clips, 1, 0)[0]
    waveform, borders = long_recordings.build_sequence(plan, RATE)
    first, second = (round(pause * RATE) for pause in plan.pauses_s)
    assert len(waveform) == 3 * 2 * RATE + first + second
    assert borders == [2 * RATE + first // 2, 4 * RATE + first + second // 2]
    thirds = torch.tensor_split(waveform, borders)
    peaks = [float(third.abs().max()) for third in thirds]
    assert max(peaks) / min(peaks) < 1.05
    assert all(
        float(waveform[border - 400 : border + 400].abs().max()) < 0.01 * min(peaks) for border in borders
    )


def test_shares_by_hand(debug_backend):
    """A mask of ones in one second of three: all of it there, and as much of the energy as lies there."""
    waveform = torch.cat([0.2 * torch.ones(RATE), 0.4 * torch.ones(RATE), 0.2 * torch.ones(RATE)])
    recording = listen(AudioClip(waveform, RATE, "steps"), debug_backend)
    frames = 1 + len(waveform) // debug_backend.spectral.hop_length
    borders = [RATE, 2 * RATE]

    def shares(mask, place, evidence="present"):
        explanation = Explanation("toy", "a", mask, "stft", evidence)
        return long_recordings.shares_in_place(explanation, recording, borders, place, debug_backend)

    full = torch.ones(debug_backend.spectral.n_bins, frames)
    assert shares(full, 1)["mass_in_place"] == pytest.approx(1 / 3, abs=0.01)
    assert shares(full, 1)["energy_in_place"] == pytest.approx(4 / 6, abs=0.01)
    assert sum(shares(full, place)["energy_in_place"] for place in range(3)) == pytest.approx(1.0)
    middle = full.clone()
    middle[:, :52] = middle[:, 98:] = 0
    assert shares(middle, 1) == pytest.approx({"mass_in_place": 1.0, "energy_in_place": 1.0, "absent": 0.0})
    assert shares(middle, 0)["mass_in_place"] == 0.0
    assert shares(0 * full, 1, "absent") == {"absent": 100.0}


def test_the_right_third_is_found_and_a_slow_method_takes_part_in_fewer(clips, debug_backend, tmp_path):
    evaluator = MaskEvaluator(debug_backend, tuple(sorted(HERTZ)))
    everyone = [
        Contender("finder", Finder(debug_backend)),
        Contender("silent", Finder(debug_backend, finds=False)),
    ]
    plans = long_recordings.plan_sequences(clips, 3, 0)
    rows = long_recordings.score_sequences(evaluator, everyone, plans, 2, ScoreTable(tmp_path / "work", {}))
    summary = long_recordings.summary_of(rows, everyone, 3, 0)
    found, silent = summary["methods"]["finder"], summary["methods"]["silent"]
    assert found["mass_in_place"]["n"] == 2 and found["mass_in_place"]["mean"] > 0.95
    assert found["energy_in_place"]["low"] > 0.95 and found["absent"]["mean"] == 0.0
    assert silent["mass_in_place"]["n"] == 0 and silent["absent"] == {
        "mean": 100.0, "median": 100.0, "low": 100.0, "high": 100.0, "n": 3,
    }  # fmt: skip


def test_the_script_writes_its_summary_and_goes_on(table, tmp_path, capsys, monkeypatch):
    flags = [
        "--clips",
        str(table),
        "--backend",
        "debug",
        "--methods",
        "grad-cam++,lmac-zs",
        "--sequences",
        "2",
    ]
    flags += ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    long_recordings.main(flags)
    captured = capsys.readouterr()
    assert "left out" in captured.err  # there is no decoder of the debug backend
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert set(summary["methods"]) == {"grad-cam++", "full", "constant", "random", "energy"}
    assert summary["ranking"]["mass_in_place"]["best"] == "grad-cam++"
    assert summary["methods"]["full"]["mass_in_place"]["n"] == 2
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert "| grad-cam++ |" in text and "2 sequences" in text and text.strip() in captured.out
    monkeypatch.setattr(long_recordings, "build_sequence", lambda *_: pytest.fail("explained again"))
    long_recordings.main(flags)
    assert (tmp_path / "out" / "summary.md").read_text("utf-8") == text
