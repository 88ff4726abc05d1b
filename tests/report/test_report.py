"""`lmaczs report`: what stands on the pages, that they stand alone, and what is refused."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from lmaczs.cli import main
from lmaczs.explainers import load_explainer
from lmaczs.hearing import explain_clip
from lmaczs.report.classes import averaged, profile_of
from lmaczs.report.picture import mask_picture, where_the_mask_lies
from lmaczs.signal.audio import load_clip

HOSTILE = '<script>alert(1)</script> & "rain"'


def write_beep(path: Path, hertz: float, seconds: float = 2.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * 16000)) / 16000
    noise = np.random.default_rng(0).normal(0, 0.01, len(time))
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * hertz * time) * (time < 0.7) + noise, 16000)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder of four recordings in two classes, and prompts."""
    for number, hertz in enumerate((300, 350, 2000, 2500)):
        write_beep(tmp_path / "sounds" / ("low" if hertz < 1000 else "high") / f"{number}.wav", hertz)
    (tmp_path / "prompts.txt").write_text(f"a beep\n{HOSTILE}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(*arguments: str) -> int:
    return main(
        ["report", *arguments, "--prompts-file", "prompts.txt", "--backend", "debug", "--out", "out"]
        + (["--methods", "saliency,grad-cam"] if "--methods" not in arguments else [])
    )


class Reader(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def addresses(self):
        return [value for _, attrs in self.tags for key, value in attrs.items() if key in ("src", "href")]


def test_a_folder_becomes_an_index_and_a_page_for_each(desk):
    assert report("sounds") == 0
    index = Reader(desk / "out/index.html")
    assert [f"{number:04d}.html" for number in range(1, 5)] == [
        a for a in index.addresses() if a.endswith(".html")
    ]
    assert "high" in index.text and "low" in index.text and "4 recordings, heard by debug" in index.text
    assert "What speaks for each prompt" in index.text
    for path in (desk / "out").glob("*.html"):
        reader = Reader(path)
        for address in reader.addresses():
            # All lies beside the page.
            assert not re.match(r"[a-z]+:|/|\.\.", address) and (path.parent / address).is_file()
        assert not {tag for tag, _ in reader.tags} & {"script", "link", "iframe", "object"}
        assert all(attrs.get("alt") for tag, attrs in reader.tags if tag == "img")
        assert not [key for _, attrs in reader.tags for key in attrs if key.startswith("on")]
    page = Reader(desk / "out/0001.html")
    assert {"GradCAM", "Saliency"} <= {word for word in ("GradCAM", "Saliency") if word in page.text}
    assert HOSTILE in page.text and "Fid-In" in page.text


def test_what_is_heard_on_a_page_is_what_explain_keeps(desk, debug_backend):
    assert report("sounds/low/0.wav") == 0
    assert not list((desk / "out").glob("0*.html"))
    clip = load_clip(desk / "sounds/low/0.wav")
    expected = explain_clip(
        clip, ["a beep", HOSTILE], debug_backend, load_explainer("grad-cam", debug_backend)
    )
    parts = [
        soundfile.read(desk / f"out/files/0001/{name}.wav")[0]
        for name in ("original", "grad-cam/kept", "grad-cam/removed")
    ]
    assert np.abs(parts[1] - expected.listening.kept.waveform.numpy()).max() < 1e-3
    assert np.abs(parts[1] + parts[2] - parts[0]).max() < 1e-3
    text = Reader(desk / "out/index.html").text
    assert f"{100 * expected.probability['kept']:.1f} %" in text and "All recordings" not in text


def test_pages_are_small_without_sounds(desk):
    assert report("sounds") == 0
    files = [path for path in (desk / "out").rglob("*") if path.suffix in (".html", ".webp")]
    assert sum(path.stat().st_size for path in files) < 4 * 50_000


def test_a_recording_that_cannot_be_read_leaves_the_others(desk, capsys):
    (desk / "sounds/low/broken.wav").write_bytes(b"no sound at all" * 20)
    assert report("sounds") == 1
    assert "broken.wav" in capsys.readouterr().err
    assert "4 recordings" in Reader(desk / "out/index.html").text


def test_an_old_report_gives_way_and_another_folder_does_not(desk, capsys):
    assert report("sounds") == 0
    assert report("sounds/low/0.wav") == 0
    assert not (desk / "out/0004.html").exists() and not (desk / "out/files/0004").exists()
    (desk / "out/index.html").unlink()
    assert report("sounds") == 2
    assert "'out' holds other files and no report" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing-here",), "nothing-here"),
        (("sounds", "--methods", ","), "--methods names none"),
        (("sounds", "--methods", "tea-leaves"), "no explainer 'tea-leaves'"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(desk, capsys, arguments, words):
    assert report(*arguments) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
    assert not (desk / "out").exists()


def test_a_limit_takes_some_of_each_class(desk):
    assert report("sounds", "--limit", "2") == 0
    index = Reader(desk / "out/index.html")
    assert "high" in index.text and "low" in index.text and "2 recordings" in index.text


def explained(backend, hertz, tmp_path):
    write_beep(tmp_path / f"{hertz}.wav", hertz)
    clip = load_clip(tmp_path / f"{hertz}.wav")
    return explain_clip(
        clip, ["a beep", "rain"], backend, load_explainer("saliency", backend), target="a beep"
    )


def with_mask(result, mask):
    from dataclasses import replace

    return replace(result, explanation=replace(result.explanation, mask=mask))


def test_words_say_when_and_where(debug_backend, tmp_path):
    result = explained(debug_backend, 300, tmp_path)
    mask = torch.zeros_like(result.explanation.mask)
    rows = (result.frequencies_hz > 900) & (result.frequencies_hz < 1100)
    columns = (result.times_s >= 0.5) & (result.times_s < 1.0)
    mask[rows[:, None] & columns[None]] = 1
    words = where_the_mask_lies(with_mask(result, mask))
    share = round(100 * float(mask.mean()))
    low, high = map(int, re.search(r"between (\d+) and (\d+) Hz", words).groups())
    assert f"keeps {share} %" in words and "from 0.5 to 1.0 s" in words and 900 <= low <= high <= 1100
    assert where_the_mask_lies(with_mask(result, 0 * mask)).startswith("The mask is empty")


def test_the_picture_is_amber_where_the_mask_keeps(debug_backend, tmp_path):
    import io

    from PIL import Image

    result = explained(debug_backend, 300, tmp_path)
    mask = torch.zeros_like(result.explanation.mask)
    mask[:, mask.shape[1] // 2 :] = 1
    picture = np.asarray(Image.open(io.BytesIO(mask_picture(with_mask(result, mask)))).convert("RGB")).astype(
        int
    )
    warmth = (picture[..., 0] - picture[..., 2]).mean(0)
    half = len(warmth) // 2
    assert warmth[half + 20 :].mean() > 20 > 0 > warmth[: half - 20].mean()


def test_profiles_are_means_over_recordings(debug_backend, tmp_path):
    first, second = (explained(debug_backend, hertz, tmp_path) for hertz in (300, 400))
    full, empty = torch.ones_like(first.explanation.mask), torch.zeros_like(first.explanation.mask)
    late = empty.clone()
    late[:, late.shape[1] // 2 :] = 1
    results = [with_mask(first, full), with_mask(second, late), with_mask(second, empty)]
    found = averaged([one for one in map(profile_of, results) if one is not None])
    assert (found.prompt, found.method, found.count) == ("a beep", "saliency", 2)
    assert list(found.bands)[-1] == 8000 and found.bands[8000] == pytest.approx(0.75, abs=0.01)
    assert found.moments[0] == pytest.approx(0.5) and found.moments[-1] == pytest.approx(1.0)
    assert profile_of(with_mask(first, empty)) is None
