"""That nothing in a sound speaks for a prompt is an outcome of its own, for the page and for programs."""

import numpy as np
import pytest
import soundfile
from bands import METHODS

from lmaczs.ui.endpoints import Endpoints
from lmaczs.ui.handlers import Handlers
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio

PROMPTS = ["a beep", "rain"]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A studio whose methods are those of `bands`."""
    for home in ("lmaczs.explainers.METHODS", "lmaczs.ui.engine.METHODS"):
        monkeypatch.setattr(home, METHODS)
    return Studio(Settings(backend="debug"))


@pytest.mark.parametrize(
    ("method", "evidence"), [("nothing", "absent"), ("l2i", "present"), ("grad-cam", "unknown")]
)
def test_evidence_reaches_the_page_and_programs(known: Studio, clip: str, method: str, evidence: str):
    updates = list(Handlers(known).explain(clip, PROMPTS, 0, [method]))
    (payload,) = [update.player for update in updates if update.player][-1]["results"]
    assert payload["evidence"] == evidence
    sound = {"path": clip, "meta": {"_type": "gradio.FileData"}}
    row, kept, removed, _ = next(Endpoints(known).explain(sound, PROMPTS, method=method))
    assert row["evidence"] == evidence


def test_where_nothing_speaks_for_it_everything_is_ignored(known: Studio, clip: str):
    sound = {"path": clip, "meta": {"_type": "gradio.FileData"}}
    answers = Endpoints(known).explain(sound, PROMPTS, method="nothing")
    row, kept, removed, _ = next(answers)
    assert np.abs(soundfile.read(kept["path"])[0]).max() == 0
    assert np.abs(soundfile.read(removed["path"])[0]).max() > 0.5
    assert row["metrics"]["mm"] == 0 and row["probability"]["removed"] == pytest.approx(
        row["probability"]["original"], abs=1e-4
    )
