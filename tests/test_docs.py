"""The examples of docs/ run as they are written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
