"""Verdicts against equal area: read back from scores, with the probabilities that the scores came from."""

import json
import runpy
from pathlib import Path

import pytest

from lmaczs.evaluation.scores import ScoreTable
from lmaczs.metrics.faithfulness import faithfulness

ROOT = Path(__file__).parents[1]
VERDICT = runpy.run_path(str(ROOT / "benchmarks" / "verdict.py"), run_name="verdict")


def scores(p, q, r):
    """FF, AD and AG of a prompt with these probabilities on whole, kept and removed part."""
    import torch

    logits = [torch.tensor([[value, 1 - value]], dtype=torch.float64).log() for value in (p, q, r)]
    found = faithfulness(*logits, torch.tensor([0]))
    return {key: float(found[key]) for key in ("ff", "ad", "ag")}


@pytest.fixture
def folder(tmp_path):
    """Two methods on two clips: one that is right at any area, and one that only keeps everything."""
    with ScoreTable(tmp_path / "scores", {"a": 1}) as table:
        for clip in ("one", "two"):
            table.add("none", clip, "sound", {"probability": 0.8, "label": "x"})
            for method, soft, top in (("right", (0.9, 0.1), (0.7, 0.22)), ("large", (0.8, 0.7), (0.1, 0.7))):
                for form, (q, r) in (("soft", soft), ("top10", top)):
                    values = {
                        f"stft/{method}/{form}/{key}": value for key, value in scores(0.8, q, r).items()
                    }
                    table.add("none", clip, "sound", values)
        table.finish([("none", "one"), ("none", "two")])
    return tmp_path / "scores"


def test_probabilities_and_verdicts_are_read_back(folder):
    judged = VERDICT["read_scores"](folder)
    assert len(judged) == 4
    by_verdict = {one.verdict(): one for one in judged}
    assert set(by_verdict) == {"believe", "enough"}
    right = by_verdict["believe"]
    assert (right.whole, right.kept, right.removed) == pytest.approx((0.8, 0.9, 0.1))
    assert right.gain == pytest.approx((0.7 - 0.22) / 0.8)
    assert by_verdict["enough"].gain == pytest.approx((0.1 - 0.7) / 0.8)
    assert right.verdict(needed=0.1) == "enough"


def test_the_page_says_what_was_read(folder, tmp_path, capsys):
    VERDICT["main"](["--scores", str(folder), "--out", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert found["verdicts"]["believe"]["n"] == 2 and found["verdicts"]["believe"]["gain"][
        "mean"
    ] == pytest.approx(0.6)
    # Not the 0.625 of before, which lies between two numbers of two digits: machines rounded it differently.
    assert "| believe | Believe it | 2 | 0 | 0.60" in capsys.readouterr().out
    assert {one["n"] for one in found["agreement"]} == {4}


def test_a_folder_without_scores_is_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        VERDICT["main"](["--scores", str(tmp_path), "--out", str(tmp_path)])
    assert end.value.code == 2 and "holds no scores" in capsys.readouterr().err


def test_what_is_stored_was_made_from_the_stored_scores():
    """benchmarks/verdict is what the command gives today."""
    judged = VERDICT["read_scores"](ROOT / "benchmarks" / "lmac-any" / "compact-2")
    stored = json.loads((ROOT / "benchmarks" / "verdict" / "verdict.json").read_text())
    assert stored["n"] == len(judged)
    for key, found in stored["verdicts"].items():
        assert found["n"] == sum(one.verdict() == key for one in judged)
