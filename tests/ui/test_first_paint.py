"""The stored explanation is what the embedded models say about the first example today."""

import filecmp
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmaczs.ui.build_first_paint import explain_example
from lmaczs.ui.examples import FIRST_PAINT, examples_folder, load_examples, load_first_paint
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio

REMAKE = "run: python -m lmaczs.ui.build_first_paint"


def test_stored_example_is_what_the_models_say_today(tmp_path: Path):
    folder = examples_folder()
    assert folder is not None
    stored, example = load_first_paint(folder), load_examples(folder)[0]
    assert stored is not None, REMAKE
    fresh = explain_example(Studio(Settings(backend=stored["backend"])), example, tmp_path)
    fresh = json.loads(json.dumps(fresh))
    assert stored["example"] == example.path.name
    assert stored["scores"]["prompts"] == fresh["scores"]["prompts"], REMAKE
    # Another processor may round differently; other weights move these by far more.
    assert stored["scores"]["similarities"] == pytest.approx(fresh["scores"]["similarities"], abs=2e-3), (
        REMAKE
    )
    payloads = zip([stored["player"], *stored["more"]], [fresh["player"], *fresh["more"]], strict=True)
    for old, new in payloads:
        for key in ("clip", "prompts", "target", "method", "methods", "mask"):
            assert old[key] == new[key], REMAKE
        assert old["probability"] == pytest.approx(new["probability"], abs=0.01), REMAKE
        masks = [
            np.asarray(Image.open(place / old["mask"]["file"])).astype(int)
            for place in (folder / FIRST_PAINT, tmp_path)
        ]
        assert np.abs(masks[0] - masks[1]).mean() < 1, REMAKE
    for track in (stored["player"]["clip"]["original"]["file"],):
        assert filecmp.cmp(folder / FIRST_PAINT / track, tmp_path / track, shallow=False), REMAKE
