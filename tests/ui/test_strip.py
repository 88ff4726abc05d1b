"""Scores over time under the picture: for recordings longer than a window, on the picture's own axis."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from visit import Visit

import lmaczs
from lmaczs.hearing import classify_over_time, listen, listen_over_time
from lmaczs.ui.examples import examples_folder

PROMPTS = ("a siren wailing", "crickets chirping", "a dog barking")
# Of each line: what prompt it is of, and its first and last point.
LINES = """lines => Object.fromEntries(lines.map(line => [line.dataset.prompt,
    line.getAttribute('points').split(' ').map(point => point.split(',').map(Number))]))"""

# Colour of each prompt: of its line, and of its mark among the prompts.
STROKES = (
    "lines => Object.fromEntries(lines.map(line => [line.dataset.prompt, getComputedStyle(line).stroke]))"
)
TINTS = """bars => Object.fromEntries(bars.map(bar => [bar.dataset.prompt,
    getComputedStyle(bar).borderLeftColor]))"""


@pytest.fixture(scope="module")
def two_halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A siren, then crickets: 5 s each, then 3 s of the siren."""
    parts = []
    for name in ("siren-and-engine", "crickets", "siren-and-engine"):
        sound, rate = soundfile.read(examples_folder() / f"{name}.wav")
        parts.append(sound / np.abs(sound).max() / 2)
    path = tmp_path_factory.mktemp("halves") / "halves.wav"
    soundfile.write(path, np.concatenate([parts[0], parts[1], parts[2][: 3 * rate]]), rate)
    return path


def test_each_prompt_has_a_line_and_the_explained_one_stands_out(visit: Visit, two_halves: Path):
    visit.ready()
    assert visit.page.locator(".lz-strip").is_hidden()  # 5 s
    visit.type_prompts(*PROMPTS)
    visit.upload(two_halves)
    visit.page.locator(".lz-strip").wait_for()
    visit.ready()
    lines = visit.page.locator(".lz-strip polyline").evaluate_all(LINES)
    clip, backend = lmaczs.load_clip(two_halves), lmaczs.load_backend("compact-2")
    heard = listen_over_time(listen(clip, backend), backend)
    expected = classify_over_time(heard, PROMPTS, backend)
    assert lines.keys() == set(PROMPTS)
    for prompt, points in lines.items():
        x, y = np.array(points).T
        assert x / 1000 * clip.duration_s == pytest.approx(heard.times.numpy(), abs=0.02)
        assert 1 - (y - 3) / 54 == pytest.approx(expected[:, PROMPTS.index(prompt)].numpy(), abs=5e-3)
    shown = visit.state()["prompt"]
    own = visit.page.locator(".lz-strip-own")
    assert own.get_attribute("data-prompt") == shown
    words = visit.page.locator(".lz-strip-words").inner_text()
    assert words.startswith(f"{shown} over time: most likely at ")
    visit.picture("over-time")
    # The same numbers, another line stands out.
    visit.page.locator(".lz-bar").nth(1).click()
    visit.until(f"state.prompt !== {shown!r}")
    visit.ready()
    assert own.get_attribute("data-prompt") == visit.state()["prompt"]
    # On one picture, each prompt has its colour here, too.
    visit.page.get_by_role("button", name="All prompts", exact=True).click()
    visit.until("state.layers?.length === 3")
    visit.ready()
    strokes = visit.page.locator(".lz-strip polyline").evaluate_all(STROKES)
    tints = visit.page.locator(".lz-bar").evaluate_all(TINTS)
    assert strokes == tints and len(set(strokes.values())) == 3
    visit.page.get_by_role("button", name="All prompts", exact=True).click()
    visit.until("state.layers === null")
    # A short sound has none.
    visit.try_example(1)
    visit.ready()
    assert visit.page.locator(".lz-strip").is_hidden()
