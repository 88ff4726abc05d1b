"""Every command takes a classifier of transformers, and its labels are the prompts."""

import json

import pyarrow.parquet
import pytest
from networks import LABELS

from lmaczs.cli import main


@pytest.fixture
def backend(taught_ast):
    return ("--backend", f"hf:{taught_ast}")


def test_classify_and_explain_all_labels(sounds, backend, capsys):
    clip = str(sounds / "sounds" / "click" / "900.wav")
    assert main(["classify", clip, "--labels", "all", *backend, "--json", str(sounds / "found.json")]) == 0
    (row,) = json.loads((sounds / "found.json").read_text())
    assert (
        row["prompts"] == list(LABELS)
        and row["prompts"][row["predicted"]] == "click"
        and row["unit"] == "logit"
    )
    assert "logit  prompt" in capsys.readouterr().out
    assert main(["explain", clip, "--labels", "all", *backend, "--out", str(sounds / "out")]) == 0
    written = json.loads((sounds / "out/result.json").read_text())
    assert (written["backend"], written["method"]) == ("hf:three-sounds", "lmac-any")
    assert written["verdict"]["key"] in ("believe", "enough") and written["target"] == "click"
    assert "explained with Universal LMAC" in capsys.readouterr().out


def test_a_label_that_it_does_not_know(sounds, backend, capsys):
    (sounds / "labels.txt").write_text("click\na dog\n")
    clip = str(sounds / "sounds" / "click" / "900.wav")
    assert main(["classify", clip, "--labels-file", str(sounds / "labels.txt"), *backend]) == 2
    assert "a dog' is none of the 3 labels" in capsys.readouterr().err


def test_a_clap_has_no_labels_of_its_own(sounds, capsys):
    clip = str(sounds / "sounds" / "click" / "900.wav")
    assert main(["classify", clip, "--labels", "all", "--backend", "debug"]) == 2
    assert "'debug' takes any prompt and has no labels of its own" in capsys.readouterr().err


def test_evaluate(sounds, backend):
    command = ["evaluate", "--clips", str(sounds / "sounds.csv"), *backend, "--methods", "lmac-any,saliency"]
    assert main([*command, "--domains", "stft", "--curve", "10", "--out", str(sounds / "scores")]) == 0
    assert (
        json.loads((sounds / "scores/settings.json").read_text())["settings"]["backend"] == "hf:three-sounds"
    )
    text = (sounds / "scores/summary.md").read_text()
    assert "top-1 100.0 %" in text and "lmac-any" in text


def test_sanity(sounds, backend):
    command = [
        "sanity",
        "--clips",
        str(sounds / "sounds.csv"),
        *backend,
        "--methods",
        "saliency",
        "--limit",
        "3",
    ]
    assert main([*command, "--checks", "cascade", "--out", str(sounds / "checks")]) == 0
    assert list((sounds / "checks").glob("*.md"))


def test_explain_many(sounds, backend):
    command = ["explain-many", str(sounds / "sounds"), "--labels", "all", *backend]
    assert main([*command, "--out", str(sounds / "many")]) == 0
    rows = pyarrow.parquet.read_table(sounds / "many" / "rows").to_pylist()
    assert len(rows) == 6 and {row["prompt"] for row in rows} == set(LABELS)
