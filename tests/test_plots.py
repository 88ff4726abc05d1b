"""The still picture: fixed scales, right places, and prompts of any kind."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lmaczs.explainers.base import MethodEntry, WindowMaps, WindowMethod
from lmaczs.hearing import explain_clip
from lmaczs.plots import LONGEST_PROMPT, RANGE_DB, _averaged, explanation_figure, save_explanation_figure


@pytest.fixture
def result(planted_backend, beep_in_noise):
    """The beep, explained by its own row of cells."""

    class Beep(WindowMethod):
        entry = MethodEntry("beep", "Beep", "nobody", "Keeps the beep.")

        def passes(self):
            return 0.0

        def map_windows(self, audio, target, progress):
            mask = torch.zeros(1, 257, 101)
            mask[:, 25:59, 50:75] = 1.0
            return WindowMaps(mask)

    return explain_clip(
        beep_in_noise, ["a beep", "rain"], planted_backend, Beep(planted_backend), measure=False
    )


def images(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_panels_share_their_axes_and_their_scales_are_fixed(result):
    figure = explanation_figure(result)
    recording, mask, kept = images(figure)
    assert mask.get_clim() == (0.0, 1.0)
    assert recording.get_clim() == kept.get_clim() == (-RANGE_DB, 0.0)
    assert {tuple(image.get_extent()) for image in (recording, mask, kept)} == {tuple(mask.get_extent())}
    assert mask.get_extent()[:2] == [0.0, 2.0]


def with_mask(result, factor, **changes):
    explanation = replace(result.explanation, mask=factor * result.explanation.mask, **changes)
    return replace(result, explanation=explanation)


def title_of_the_mask(figure):
    return figure.axes[1].get_title(loc="left")


def test_a_mask_that_is_not_faint_is_drawn_as_it_is(result):
    figure = explanation_figure(with_mask(result, 0.6))
    mask = images(figure)[1]
    assert float(mask.get_array().max()) == pytest.approx(0.6, abs=1e-6)
    assert mask.get_clim() == (0.0, 1.0) and "colours" not in title_of_the_mask(figure)


def test_a_faint_mask_is_drawn_in_colours_of_its_own_and_the_picture_says_so(result):
    figure = explanation_figure(with_mask(result, 0.2))
    mask = images(figure)[1]
    assert float(mask.get_array().max()) == pytest.approx(0.2, abs=1e-6), "the values stay"
    assert mask.get_clim() == (0.0, pytest.approx(0.2))
    assert title_of_the_mask(figure).endswith("colours end at its largest value, 0.2")


def test_a_mask_of_nothing_says_so(result):
    figure = explanation_figure(with_mask(result, 0.0, evidence="absent"))
    assert images(figure)[1].get_clim() == (0.0, 1.0)
    assert "nothing in this sound speaks for the prompt" in title_of_the_mask(figure)


def test_the_beep_is_drawn_at_1_khz_between_1_and_1_5_s(result):
    figure = explanation_figure(result)
    recording, mask, _ = images(figure)
    cells = np.asarray(recording.get_array())
    row, column = np.unravel_index(cells.argmax(), cells.shape)
    left, right, bottom, top = recording.get_extent()
    mel = bottom + (row + 0.5) / cells.shape[0] * (top - bottom)
    assert 700 * (10 ** (mel / 2595) - 1) == pytest.approx(1000, rel=0.05)
    assert 1.0 <= left + (column + 0.5) / cells.shape[1] * (right - left) <= 1.5
    assert np.asarray(mask.get_array())[row, column] == pytest.approx(1.0)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()][:4] == [
        "0 Hz",
        "250 Hz",
        "500 Hz",
        "1 kHz",
    ]


def test_what_counted_is_nowhere_louder_than_the_recording(result):
    recording, _, kept = (np.asarray(image.get_array()) for image in images(explanation_figure(result)))
    assert (kept <= recording + 1e-9).all() and (kept < recording - 1).any()


@pytest.mark.parametrize(
    "prompt",
    [
        "$x^{2$ and \\frac{",
        "W" * 10_000,
        "雨" * 500,
        "مطر على السقف",
        "🌧️ 雨の音",
        "<img src=x onerror=alert(1)>",
        "a\nb\x07c",
    ],
    ids=["mathtext", "endless", "wide", "right-to-left", "emoji", "html", "control"],
)
def test_any_prompt_can_be_drawn(result, tmp_path, prompt, recwarn):
    hostile = replace(result, target=prompt)
    save_explanation_figure(hostile, tmp_path / "picture.png", "Method $1$")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert not recwarn.list
    figure = explanation_figure(hostile)
    heading = figure._suptitle
    assert not heading.get_parse_math()
    assert len(heading.get_text()) <= LONGEST_PROMPT + 2 and heading.get_text().isprintable()
    assert heading.get_window_extent().x1 <= figure.bbox.x1


def test_a_long_recording_is_averaged_down(result):
    """Ten minutes: 30,001 columns become 1,200, and their mean stays."""
    repeats = 300
    long = replace(
        result,
        magnitude_db=result.magnitude_db.repeat(1, repeats),
        explanation=replace(result.explanation, mask=result.explanation.mask.repeat(1, repeats)),
        times_s=torch.arange(101 * repeats) * 0.02,
    )
    short_mask, long_mask = (np.asarray(images(explanation_figure(r))[1].get_array()) for r in (result, long))
    assert long_mask.shape[1] == 1200
    np.testing.assert_allclose(long_mask.mean(1), short_mask.mean(1), atol=0.02)


def test_averaging_conserves_the_integral():
    cells = np.array([[1.0], [3.0], [5.0]])
    source, target = np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.0, 0.5, 2.5, 4.0])
    # by hand: [0, .5] is 1; [.5, 2.5] is (.5 * 1 + 1 * 3 + .5 * 5) / 2 = 3; [2.5, 4] is 5
    np.testing.assert_allclose(_averaged(cells, source, target)[:, 0], [1.0, 3.0, 5.0])
