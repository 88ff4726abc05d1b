"""Every code block of README and docs runs, as it stands: here, or in the test that is named for it."""

import contextlib
import csv
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lmaczs.cli import main
from lmaczs.explainers import METHODS

ROOT = Path(__file__).parents[1]
RATE = 16000
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
# Page and how a block begins -> the test that runs it, or why nothing can run it here.
RUN_BY = {
    ("docs/own-method.md", "from dataclasses"): "test_docs_blocks.py::test_a_method_of_ones_own",
    ("docs/own-method.md", "from lmaczs import"): "test_docs_blocks.py::test_a_method_of_ones_own",
    ("docs/own-method.md", "import sys"): "test_docs_blocks.py::test_a_method_of_ones_own",
    ("docs/own-method.md", "python own.py"): "test_docs_blocks.py::test_a_method_of_ones_own",
    ("README.md", "make demo"): "test_readme.py::test_commands_of_make_exist",
    ("README.md", "from lmaczs import explain_clip"): "test_readme.py::test_python_example_runs_as_written",
    ("docs/quick-start.md", "make demo"): "test_readme.py::test_commands_of_make_exist",
    (
        "docs/quick-start.md",
        "from lmaczs import explain_clip",
    ): "test_docs_blocks.py::test_readme_and_quick_start",
    ("docs/quick-start.md", "printf"): "test_readme.py::test_command_line_examples_run_as_written",
    ("docs/quick-start.md", "python -m lmaczs evaluate"): "test_docs_blocks.py::test_commands_on_a_table",
    ("docs/quick-start.md", "python -m lmaczs report"): "test_docs_blocks.py::test_commands_on_a_folder",
    ("docs/quick-start.md", "python -m lmaczs study"): "test_docs_blocks.py::test_commands_of_a_study",
    ("docs/quick-start.md", "pip install -e"): "test_docs_blocks.py::test_commands_on_a_folder",
    (
        "docs/quick-start.md",
        "from gradio_client",
    ): "ui/test_endpoints.py::test_the_example_for_other_programs",
    ("docs/study.md", "python -m lmaczs study"): "test_docs_blocks.py::test_commands_of_a_study",
    ("docs/study.md", "LMACZS_STUDY"): "ui/test_blind.py::test_both_are_rated_before_their_names_are_told",
    ("docs/judge.md", "from lmaczs"): "test_docs.py::test_the_numbers_worked_by_hand_are_those_measured",
    (
        "docs/own-classifier.md",
        "lmaczs classify",
    ): "test_docs_blocks.py::test_commands_for_a_model_of_transformers",
    ("docs/own-classifier.md", "from lmaczs import Waveform"): "test_docs_blocks.py::test_a_torch_module",
    (
        "docs/own-classifier.md",
        "from pathlib",
    ): "test_docs.py::test_a_folder_of_recordings_is_explained_as_the_page_says",
    ("docs/own-classifier.md", "python sounds.py"): (
        "test_docs.py::test_a_folder_of_recordings_is_explained_as_the_page_says"
    ),
    ("docs/other-tools.md", "pip install"): "installs, and nothing else",
    ("docs/other-tools.md", "import mteb"): "test_docs.py::test_mteb_measures_as_the_page_says",
    ("docs/other-tools.md", "import torch"): "test_docs.py::test_other_tools_give_the_same_numbers",
    ("docs/other-tools.md", "import quantus"): "test_docs.py::test_other_tools_give_the_same_numbers",
    ("docs/hosting.md", "make space"): "test_space.py::test_space_explains_from_its_folder_alone",
    ("docs/hosting.md", "echo"): "installs, and nothing else",
    ("docs/hosting.md", "pip install huggingface_hub"): "pushes to the hub",
}


def blocks(page):
    """Text of every fenced block of code; indented ones in lists too."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(r"^```(?:sh|python)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def block(page, start):
    return next(text for text in blocks(page) if text.startswith(start))


def test_every_block_has_a_test_that_runs_it():
    unknown = [
        (page, text.splitlines()[0])
        for page in PAGES
        for text in blocks(page)
        if not any(page == known and text.startswith(start) for known, start in RUN_BY)
    ]
    assert not unknown
    unused = [key for key in RUN_BY if not any(text.startswith(key[1]) for text in blocks(key[0]))]
    assert not unused
    for runner in RUN_BY.values():
        if "::" in runner:
            file, name = runner.split("::")
            assert f"def {name}(" in (ROOT / "tests" / file).read_text("utf-8"), runner


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reader's folder: recordings with a table of labels, sentences and the project's examples."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "recordings").mkdir()
    (folder / "assets").symlink_to(ROOT / "assets")
    (folder / "prompts.txt").write_text("a low hum\na whistle\n")
    time_s = np.arange(RATE) / RATE
    rows = []
    for number in range(6):
        label = ("hum", "whistle")[number % 2]
        hertz = (110 if label == "hum" else 2500) + 7 * number
        name = f"recordings/{number}.wav"
        soundfile.write(folder / name, 0.2 * np.sin(2 * np.pi * hertz * time_s), RATE)
        rows.append({"path": name, "label": label, "fold": 4})
    with (folder / "clips.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    for name in ("street", "sound", "cough"):
        soundfile.write(folder / f"{name}.wav", 0.1 * np.random.default_rng(0).normal(size=RATE), RATE)
    return folder


def run(text, folder, **replaced):
    """Every lmaczs command of a block, in a folder; words in capitals may stand for something."""
    lines = text.replace("\\\n", " ").splitlines()
    commands = [re.split(r"\s#\s", line)[0] for line in lines if re.match(r"(python -m )?lmaczs ", line)]
    assert commands
    with contextlib.chdir(folder):
        for command in commands:
            words = shlex.split(command)
            words = words[3:] if words[0] == "python" else words[1:]
            for name, value in replaced.items():
                words = [word.replace(name, value) for word in words]
            if words[:2] != ["study", "serve"]:
                assert main(words) == 0, command


@pytest.mark.slow
def test_readme_and_quick_start(folder):
    assert block("docs/quick-start.md", "from lmaczs") == block("README.md", "from lmaczs")


@pytest.mark.slow
def test_commands_on_a_table(folder):
    # Fewer clips and seeds than a reader would take, and the smallest classifier.
    text = block("docs/quick-start.md", "python -m lmaczs evaluate")
    run(
        text.replace("clips.csv", "clips.csv --limit 2 --backend debug").replace(
            "sanity --", "sanity --seeds 1 --"
        ),
        folder,
    )
    assert (folder / "results/summary.md").is_file() and (folder / "sanity/summary.md").is_file()


@pytest.mark.slow
def test_commands_on_a_folder(folder):
    run(block("docs/quick-start.md", "python -m lmaczs report"), folder)
    assert (folder / "report/index.html").is_file()
    run(block("docs/quick-start.md", "pip install -e").replace("results", "rows"), folder)
    assert list((folder / "rows").rglob("*.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/quick-start.md", "docs/study.md"])
def test_commands_of_a_study(folder, page):
    from lmaczs.study.answers import Answers
    from lmaczs.study.design import read_study

    text = block(page, "python -m lmaczs study").replace("--items 10", "--items 2")
    name = Path(page).stem
    make, analyse = (line for line in text.splitlines() if " serve " not in line)
    run(make.replace("--out study", f"--out {name}"), folder)
    study, answers = read_study(folder / name), Answers(folder / name)
    listener = answers.welcome("somebody")
    for item in range(len(study.items)):
        answers.keep_item(listener, item, {one: 10 * at for at, one in enumerate(reversed(study.conditions))})
    run(analyse.replace("analyse study", f"analyse {name}"), folder)
    assert "mean rating" in (folder / name / "analysis.md").read_text("utf-8")


@pytest.mark.slow
def test_commands_for_a_model_of_transformers(folder, tmp_path):
    sys.path.insert(0, str(ROOT / "tests" / "classifiers"))
    from tiny_models import tiny

    model, extractor = tiny("audio-spectrogram-transformer")
    model.save_pretrained(tmp_path / "model")
    extractor.save_pretrained(tmp_path / "model")
    text = block("docs/own-classifier.md", "lmaczs classify")
    run(text, folder, FOLDER=str(tmp_path / "model"))
    assert (folder / "out/kept.wav").is_file()
    assert "LMACZS_BACKEND=hf:FOLDER python app.py" in text


@pytest.mark.slow
def test_a_method_of_ones_own(folder, monkeypatch, capsys):
    page = "docs/own-method.md"
    (folder / "own_method.py").write_text(block(page, "from dataclasses"))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr("lmaczs.explainers.METHODS", dict(METHODS))
    monkeypatch.chdir(folder)
    exec(block(page, "from lmaczs import"), {})
    assert "'ff': " in capsys.readouterr().out
    program = block(page, "import sys")
    for line in block(page, "python own.py").splitlines():
        # The smallest classifier, two recordings.
        few = ["--limit", "2", "--backend", "debug"] if "clips.csv" in line else []
        monkeypatch.setattr(sys, "argv", [*shlex.split(line)[1:], *few])
        with pytest.raises(SystemExit) as left:
            exec(program, {})
        assert left.value.code == 0, line
    assert "signed-gradient" in (folder / "own/summary.md").read_text("utf-8")
    assert "signed-gradient" in (folder / "own-sanity/summary.md").read_text("utf-8")


def test_a_torch_module(folder):
    sys.path.insert(0, str(ROOT / "tests" / "classifiers"))
    from networks import WaveNetwork

    found = {"module": WaveNetwork(labels=2)}
    with contextlib.chdir(folder):
        exec(block("docs/own-classifier.md", "from lmaczs import Waveform"), found)
    assert found["result"].target in ("breath", "cough")
