"""Small pictures of the examples: each shows its own sound, and their rules hold nothing else."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from visit import Visit

from lmaczs.ui.examples import Example, examples_folder, load_examples
from lmaczs.ui.thumbnails import HEIGHT, HIGH, LOW, WIDTH, thumbnail, thumbnails_css


@pytest.mark.parametrize("seconds", [0.02, 3.0])
def test_a_tone_is_a_line_at_its_height_while_it_sounds(tmp_path: Path, seconds: float):
    rate, hertz = 16000, 1000.0
    time_s = np.arange(int(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * hertz * time_s) * (time_s < seconds / 2 if seconds > 1 else 1)
    soundfile.write(tmp_path / "tone.wav", tone, rate)
    picture = Image.open(io.BytesIO(thumbnail(Example(tmp_path / "tone.wav", "Tone", ()))))
    assert picture.size == (WIDTH, HEIGHT)
    bright = np.asarray(picture.convert("L"), float)
    row = int(bright[:, : WIDTH // 3].mean(1).argmax())
    height = HEIGHT * (1 - np.log(hertz / LOW) / np.log(HIGH / LOW))
    assert abs(row + 0.5 - height) <= 1.5
    if seconds > 1:
        assert bright[row, : WIDTH // 3].mean() > 3 * bright[row, -WIDTH // 3 :].mean()


def test_each_example_has_a_rule_of_its_own_and_all_are_small():
    examples = load_examples(examples_folder())
    rules = thumbnails_css(examples)
    pictures = re.findall(r"base64,([A-Za-z0-9+/=]+)", rules)
    assert len(pictures) == len(set(pictures)) == len(examples)
    assert len(rules) < 20_000
    rest = re.sub(r"base64,[A-Za-z0-9+/=]+", "", rules)
    assert not [example.title for example in examples if example.title in rest]


def test_they_are_seen_on_the_buttons(visit: Visit):
    visit.ready()
    found = visit.page.locator("#lz-tries button").evaluate_all(
        "buttons => buttons.map(button => getComputedStyle(button, '::before').backgroundImage)"
    )
    assert len(set(found)) == len(found) > 5 and all(one.startswith('url("data:image/webp') for one in found)
