"""The examples of docs/ run as they are written, and docs/ becomes a site without a warning."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

import lmaczs

ROOT = Path(__file__).parents[1]
OWN = (ROOT / "docs" / "own-classifier.md").read_text("utf-8")


@pytest.mark.slow
def test_a_folder_of_recordings_is_explained_as_the_page_says(tmp_path):
    """Both scripts and all commands of docs/own-classifier.md."""
    for name in ("sounds.py", "breaths.py"):
        after = OWN[OWN.index(f"`{name}` ") :]
        (tmp_path / name).write_text(re.search(r"```python\n(.*?)```", after, re.DOTALL).group(1))
    commands = re.search(r"```sh\n(.*?)```", OWN, re.DOTALL).group(1)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "out/cough/result.json").read_text())
    assert result["target"] == "cough" and result["backend"] == "py:breaths.py"
    assert result["probability"]["kept"] > 0.5
    assert "lmac-any" in (tmp_path / "out/scores/summary.md").read_text()


def test_its_five_lines_are_five():
    code = re.search(r"```python\n(.*?)```", OWN, re.DOTALL).group(1)
    assert len([line for line in code.splitlines() if line.strip()]) <= 5


def run_as_written(code: str) -> str:
    """Run Python in the repository as a reader would; what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_numbers_worked_by_hand_are_those_measured():
    page = (ROOT / "docs" / "judge.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert "ff: " in run_as_written(code)


@pytest.mark.slow
def test_the_notebook_runs_and_shows_sound_picture_and_numbers():
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text("utf-8"))
    assert notebook["nbformat"] == 4 and not any(cell.get("outputs") for cell in notebook["cells"])
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # What a notebook draws is the value of a cell's last line.
    shown = [
        re.sub(r"^(show\(.*\))$", r"print(\1._repr_html_()[:40], len(\1._repr_html_()))", cell, flags=re.M)
        for cell in cells
    ]
    told = run_as_written("\n".join(shown))
    assert re.search(r"\d+\.\d %  a siren wailing", told) and "Universal LMAC: " in told
    sizes = [int(size) for size in re.findall(r"What speaks for .* (\d+)", told)]
    assert len(sizes) == 2 and all(size > 100_000 for size in sizes)


def other_tools(word):
    """The block of docs/other-tools.md that imports a package."""
    page = (ROOT / "docs" / "other-tools.md").read_text("utf-8")
    return next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if word in code)


@pytest.mark.slow
@pytest.mark.parametrize(("package", "said"), [("captum", "largest difference: "), ("quantus", "by Quantus")])
def test_other_tools_give_the_same_numbers(package, said):
    pytest.importorskip(package)
    assert said in run_as_written(other_tools(f"import {package}" if package == "quantus" else "captum.attr"))


def test_mteb_measures_as_the_page_says(monkeypatch, tmp_path, capsys):
    """With a task that fetches nothing in place of that of the page."""
    mteb = pytest.importorskip("mteb")
    from miniature_task import Miniature

    monkeypatch.setenv("MTEB_CACHE", str(tmp_path))
    monkeypatch.setattr(mteb, "get_task", lambda name: Miniature())
    exec(other_tools("import mteb"), {})
    assert 0 <= float(capsys.readouterr().out.split()[-1]) <= 1


def test_docs_become_a_site_that_asks_nobody_for_anything(tmp_path):
    """Strict: a broken link between pages or a name that is not there ends it."""
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    dead = [
        (page.name, link)
        for page in pages
        if page.name != "404.html"
        for link in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text("utf-8"))
        if not re.match(r"[a-z]+:", link) and not (page.parent / unquote(link)).exists()
    ]
    assert not dead
    text = "\n".join(page.read_text("utf-8") for page in pages)
    assert not re.search(r"(?:src|href)=\"https?://[^\"]*\.(?:js|css|woff2?|png|svg)", text)
    reference = (tmp_path / "site" / "api.html").read_text("utf-8")
    missing = [name for name in lmaczs.__all__ if f'id="lmaczs.{name}"' not in reference]
    assert not missing
