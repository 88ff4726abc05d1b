"""What the README promises: its examples run as written, its links lead somewhere, its header is right."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import soundfile
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
QUICK_START = (ROOT / "docs" / "quick-start.md").read_text("utf-8")
MODELS = (ROOT / "docs" / "models.md").read_text("utf-8")
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "DEVELOPERS.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "train/README.md",
)


def block(language: str, containing: str, page: str = README) -> str:
    """The first fenced block of a language that holds some text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return next(text for text in blocks if containing in text)


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder that looks like the checkout to a reader's commands, and may be written to."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    """Run a command as a reader would, with this Python in front, and show what it said where it fails."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_python_example_runs_as_written(checkout):
    code = block("python", "explain_clip")
    assert len([line for line in code.splitlines() if line.strip()]) == 5
    run([sys.executable, "-c", code], checkout)
    kept, sample_rate = soundfile.read(checkout / "kept.wav")
    assert len(kept) == 5 * sample_rate
    assert kept.std() > 1e-4  # something is heard


@pytest.mark.slow
def test_command_line_examples_run_as_written(checkout):
    done = run(["bash", "-euo", "pipefail", "-c", block("sh", "lmaczs explain", QUICK_START)], checkout)
    assert "siren-and-engine" in done.stdout
    written = {path.name for path in (checkout / "out" / "siren").iterdir()}
    assert {"kept.wav", "removed.wav", "mask.npz", "explanation.png", "result.json"} <= written


def test_commands_of_make_exist():
    targets = re.findall(r"^make (\w+)", block("sh", "make demo"), re.MULTILINE)
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_the_readme_is_short():
    _, _, text = README.split("---\n", 2)
    assert len(text.strip().splitlines()) <= 60


@pytest.mark.parametrize("page", [*PAGES, *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_to_files_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)\)", (ROOT / page).read_text("utf-8"))
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (ROOT / page).parent.joinpath(link).exists()]


def test_every_measured_figure_is_filled_in():
    assert not [page for page in PAGES if "<!-- figures" in (ROOT / page).read_text("utf-8")]


def test_releases_named_in_the_docs_are_the_embedded_ones():
    table = MODELS[MODELS.index("| release |") :].split("\n\n")[0]
    named = set(re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE))
    assert named == {path.parent.name for path in (ROOT / "assets" / "releases").glob("*/config.json")}


def test_front_matter_fits_the_project():
    _, header, _ = README.split("---\n", 2)
    card = yaml.safe_load(header)
    wanted = [
        Requirement(line)
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line[:1].isalpha()
    ]
    gradio = next(requirement for requirement in wanted if requirement.name == "gradio")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert card["sdk"] == "gradio"
    assert str(card["sdk_version"]) in gradio.specifier
    assert (ROOT / card["app_file"]).is_file()
    assert card["license"] == project["license"].lower()
    assert card["python_version"] == "3.12"
    assert len(card["short_description"]) <= 60  # the hub refuses longer ones
