"""A page with a method whose components are known (see `bands`), and a visitor who looks at them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bands import EDGES_HZ
from lane_words import AMPLITUDES, RATE, SECONDS, TONES_HZ
from page_server import ROOT, running_page
from visit import Visit


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the page with the known method."""
    folder = tmp_path_factory.mktemp("server")
    program = Path(__file__).parents[1] / "bands.py"
    with running_page(folder, program, environment={"PYTHONPATH": str(ROOT)}) as url:
        yield url


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steady tones, one in each band."""
    path = tmp_path_factory.mktemp("tones") / "tones.wav"
    time_s = np.arange(round(SECONDS * RATE)) / RATE
    soundfile.write(path, AMPLITUDES @ np.sin(2 * np.pi * TONES_HZ[:, None] * time_s), RATE)
    return path


@pytest.fixture
def explained(visit: Visit, tones: Path) -> Visit:
    """A visitor who looks at the components of the tones."""
    assert [low < tone < high for low, tone, high in zip(EDGES_HZ, TONES_HZ, EDGES_HZ[1:], strict=False)]
    visit.ask(tones, "a beep", "rain falling", "a dog barking")
    return visit
