"""A taught classifier and a folder of sounds for it, made once for all tests of this folder."""

import pytest
import soundfile
from networks import LABELS, RATE, sound
from taught_models import save_taught_ast


@pytest.fixture(scope="session")
def taught_ast(tmp_path_factory):
    """Folder of a tiny AST that tells the three sounds apart."""
    folder = tmp_path_factory.mktemp("taught") / "three-sounds"
    save_taught_ast(folder)
    return folder


@pytest.fixture
def sounds(tmp_path):
    """A folder with a subfolder of sounds for each label, and the table that names them."""
    lines = ["path,label"]
    for number, label in enumerate(LABELS):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        for seed in (900, 901):
            file = tmp_path / "sounds" / label / f"{seed}.wav"
            soundfile.write(file, sound(number, 0.6, seed)[0].numpy(), RATE)
            lines.append(f"{file},{label}")
    (tmp_path / "sounds.csv").write_text("\n".join(lines) + "\n")
    return tmp_path
