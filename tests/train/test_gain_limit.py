"""The gain that a mask must promise lies between prompts that are heard and prompts that are not."""

from dataclasses import dataclass

import pytest
import torch

from lmaczs.clap.base import CLAPBackend
from lmaczs.data.clip_table import select_clips
from lmaczs.signal.audio import save_wav
from train.gain_limit import _limit, calibrate_gain


@dataclass
class Promising:
    """Promises much for the beep that the planted CLAP hears, and little for anything else."""

    backend: CLAPBackend

    def rank_windows(self, audio, target):
        gain = 0.8 if "beep" in target.prompt else 0.1
        return torch.zeros(len(audio.embedding), 2, 2), torch.full((len(audio.embedding), 3), gain)


def test_the_limit_separates_what_is_heard_from_what_is_not(planted_backend, beep_in_noise, tmp_path):
    labels = {"a.wav": "beep", "b.wav": "rain", "c.wav": "dog"}
    for name in labels:
        save_wav(beep_in_noise, tmp_path / name)
    table = "path,label\n" + "".join(f"{name},{label}\n" for name, label in labels.items())
    (tmp_path / "clips.csv").write_text(table, "utf-8")
    limit = calibrate_gain([Promising(planted_backend)], select_clips(tmp_path / "clips.csv"), "three clips")
    assert limit.needed_gain == pytest.approx(0.45)
    assert (limit.missed_percent, limit.invented_percent) == (0, 0)
    assert limit.heard == 3 and limit.unheard > 0 and limit.clips == "three clips"


def test_errors_of_both_kinds_are_counted():
    limit = _limit(torch.tensor([0.2, 0.6, 0.7, 0.9]), torch.tensor([0.1, 0.3, 0.4, 0.65]), "-")
    assert limit.needed_gain == pytest.approx(0.5)  # between .4 and .6
    assert (limit.missed_percent, limit.invented_percent) == (25, 25)
