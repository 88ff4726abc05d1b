"""The folder of a Space: complete, pinned, and alone able to run. Installing it is `make space`'s own check."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from build_space import BINARY, build, front_matter, requirements, without_dead_links
from check_space import builders_command

ROOT = Path(__file__).parents[1]
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "space"
    build(folder)
    return folder


def wanted(folder: Path) -> dict[str, Requirement]:
    lines = (folder / "requirements.txt").read_text("utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {requirement.name: requirement for requirement in found}


def test_front_matter_is_what_a_space_needs(space: Path):
    settings = front_matter((space / "README.md").read_text("utf-8"))
    assert settings["sdk"] == "gradio"
    assert (space / settings["app_file"]).is_file()
    assert {settings["colorFrom"], settings["colorTo"]} <= COLOURS
    assert len(settings["short_description"]) <= 60
    assert settings["python_version"] in ("3.10", "3.12")  # what ZeroGPU has
    needed = re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert needed
    assert tuple(map(int, settings["python_version"].split("."))) >= tuple(map(int, needed[1].split(".")))


def test_requirements_are_the_projects_at_the_releases_of_a_space(space: Path):
    settings = front_matter((space / "README.md").read_text("utf-8"))
    here, project = wanted(space), wanted(ROOT)
    assert str(here["torch"].specifier) == "==2.13.0"
    assert project["torch"].specifier.contains("2.13.0")
    assert str(here["gradio"].specifier) == f"=={settings['sdk_version']}"
    assert project["gradio"].specifier.contains(settings["sdk_version"])
    assert set(here) == set(project) - {"torchaudio"}
    same = set(here) - {"torch", "gradio"}
    assert {name: here[name].specifier for name in same} == {name: project[name].specifier for name in same}
    text = "# why\ntorch>=2.11,<=2.13.0\ntorchaudio==2.11.0\nsoxr>=0.5\ngradio>=6\n"
    assert requirements(text, {"sdk_version": "7.0"}).splitlines()[1:] == [
        "torch==2.13.0",
        "soxr>=0.5",
        "gradio==7.0",
    ]


def test_every_binary_file_is_stored_as_the_hub_wants(space: Path):
    rules = (space / ".gitattributes").read_text("utf-8")
    assert all(f"*.{ending} filter=lfs" in rules for ending in BINARY)
    for path in space.rglob("*"):
        if path.is_file() and b"\0" in path.read_bytes()[:4096]:
            assert path.suffix[1:] in BINARY, path.name


def test_nothing_of_a_checkout_or_a_tool_slips_in(space: Path):
    names = {path.relative_to(space).as_posix() for path in space.rglob("*") if path.is_file()}
    assert {"app.py", "README.md", "packages.txt", "LICENSE", "assets/examples/examples.json"} <= names
    assert "assets/releases/compact-clap-2/model.safetensors" in names
    assert {name.split("/")[0] for name in names} == {
        ".gitattributes", "CITATION.cff", "LICENSE", "README.md", "app.py", "assets", "docs", "lmaczs", "packages.txt",
        "requirements.txt",
    }  # fmt: skip
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".log"))]
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lmaczs").rglob("*.py")}
    assert package <= names
    assert not [path for path in space.rglob("*") if path.is_symlink()]


def test_links_lead_somewhere(space: Path):
    readme = (space / "README.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s#]+)", readme):
        assert "://" in target or (space / target).exists(), target
    text = "see [this](app.py), [that](nowhere.md#x), [there](https://example.org) ![p](docs/page.png)"
    expected = "see [this](app.py), that, [there](https://example.org) ![p](docs/page.png)"
    assert without_dead_links(text, space) == expected


def test_another_folder_is_not_overwritten(space: Path, tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="no Space"):
        build(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    (space / "old.txt").write_text("of an older Space")
    build(space)
    assert not (space / "old.txt").exists()


def test_check_installs_as_the_builder_does(space: Path, tmp_path: Path):
    command = builders_command(space, Path("python"), tmp_path / "constraint.txt")
    settings = front_matter((space / "README.md").read_text("utf-8"))
    assert f"gradio[oauth,mcp]=={settings['sdk_version']}" in command
    assert command[-2:] == ["--constraint", str(tmp_path / "constraint.txt")]


@pytest.mark.slow
def test_space_explains_from_its_folder_alone(space: Path, tmp_path: Path):
    """The package that is imported is the folder's, and it finds the folder's checkpoints and examples."""
    code = (
        "import app, lmaczs\n"
        "from lmaczs.release_names import asset_folders\n"
        "from lmaczs.ui.examples import load_examples, examples_folder\n"
        "studio = app.demo.studio\n"
        "example = load_examples(examples_folder())[0]\n"
        "explained = studio.explain(studio.hear(str(example.path)), example.prompts, None, None)\n"
        "print(lmaczs.__file__, *asset_folders(), explained.result.explanation.method, sep='\\n')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=space,
        env=environment | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *places, method = done.stdout.splitlines()
    assert places and all(Path(place).resolve().is_relative_to(space.resolve()) for place in places)
    assert method == "lmac-zs"


def test_front_matter_is_only_the_top():
    assert front_matter("---\ntitle: a\n---\n# Text\n\n---\nmore\n") == yaml.safe_load("title: a")
