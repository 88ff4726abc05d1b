"""Planted truth: cues lie where they say, copies decide by them, and a mask is judged by them."""

import csv
import json
from argparse import Namespace

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from torch import nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.cli import main
from lmaczs.cli.planted import _learning_clips
from lmaczs.data.clips import Clip
from lmaczs.evaluation.contenders import Contender, contenders
from lmaczs.evaluation.masks import IDEAL
from lmaczs.evaluation.scores import ScoreTable
from lmaczs.explainers.base import MethodEntry, WindowMaps, WindowMethod
from lmaczs.hearing.boxes import Box
from lmaczs.sanity.cues import CUES, at_level
from lmaczs.sanity.planted import Copies, measure_planted, planted_markdown, planted_summary
from lmaczs.sanity.planting import Planting, plant
from lmaczs.signal.mixing import active_power
from lmaczs.signal.spectral import SpectralConfig, mel_filterbank

RATE, SAMPLES = 16000, 32000
LABELS = ("alpha", "beta", "gamma", "delta")


def sound(seed: int) -> torch.Tensor:
    """A chord in faint noise, 2 s."""
    generator = np.random.default_rng(seed)
    time = np.arange(SAMPLES) / RATE
    tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in generator.uniform(100, 7000, 3))
    return at_level(torch.from_numpy(tones + 0.1 * generator.normal(size=SAMPLES)).float())


SOUNDS = [sound(seed) for seed in range(24)]


class LoudestQuarter(CLAPBackend):
    """Says which quarter of the mel bands is loudest; it can learn from maxima and the start, too."""

    name = "quarter"
    spectral = SpectralConfig(
        sample_rate=RATE, n_fft=512, hop_length=320, n_mels=32, f_min=50.0, f_max=8000.0
    )
    clip_samples = SAMPLES
    embed_dim = len(LABELS)
    hidden_channels = (1,)

    def __init__(self):
        super().__init__()
        self.register_buffer("mel_filters", mel_filterbank(self.spectral))
        self.block = nn.Identity()
        self.head = nn.Linear(96, self.embed_dim)
        with torch.no_grad():
            self.head.bias.zero_()
            self.head.weight.zero_()
            for quarter in range(4):
                self.head.weight[quarter, 8 * quarter : 8 * quarter + 8] = 1.0

    @property
    def logit_scale(self):
        return torch.tensor(10.0)

    @property
    def cam_layers(self):
        return {"block": self.block}

    def encode(self, mel_power):
        level = torch.log(mel_power + 1e-3).transpose(1, 2)[:, None]
        maps = self.block((level - level.mean(dim=(2, 3), keepdim=True)) / 3)
        features = torch.cat([maps[:, 0].mean(1), maps[:, 0].amax(1), maps[:, 0, :25].mean(1)], dim=1)
        return F.normalize(self.head(features), dim=1), (maps,)

    def embed_sentences(self, prompts):
        words = [prompt.split()[-1] for prompt in prompts]
        return torch.stack(
            [torch.eye(self.embed_dim)[LABELS.index(word) if word in LABELS else 0] for word in words]
        )


@pytest.mark.parametrize("name", CUES)
def test_a_cue_is_put_where_its_box_is_and_nowhere_else(name):
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    carrier, source = SOUNDS[0], SOUNDS[1]
    cued, again = (CUES[name].put(carrier, source, RATE, generator) for generator in generators)
    assert torch.equal(cued.waveform, again.waveform) and cued.box == again.box
    box, change = cued.box, cued.waveform - carrier
    first, last = round(box.start_s * RATE), round(box.end_s * RATE)
    outside = torch.cat([change[:first], change[last:]])
    assert float(outside.abs().max() if len(outside) else 0.0) < 1e-6
    spectrum = torch.fft.rfft(change).abs().square()
    hertz = torch.fft.rfftfreq(SAMPLES, 1 / RATE)
    inside = (hertz >= box.low_hz) & (hertz <= box.high_hz)
    assert float(spectrum[inside].sum() / spectrum.sum()) > 0.98
    assert float(spectrum.sum()) > 0


def test_the_low_band_and_the_onset_are_those_of_the_other_sound():
    generator = torch.Generator().manual_seed(0)
    band = CUES["band"].put(SOUNDS[0], SOUNDS[1], RATE, generator)
    bins = torch.fft.rfftfreq(SAMPLES, 1 / RATE) < 500
    heard, low, high = (torch.fft.rfft(part) for part in (band.waveform, SOUNDS[1], SOUNDS[0]))
    assert torch.allclose(heard[bins], low[bins], atol=1e-2)
    assert torch.allclose(heard[~bins], high[~bins], atol=1e-2)
    onset = CUES["onset"].put(SOUNDS[0], SOUNDS[1], RATE, generator)
    assert torch.equal(onset.waveform[RATE // 2 :], SOUNDS[0][RATE // 2 :])
    assert onset.meant is not None and not onset.meant[RATE // 2 :].any()
    assert onset.box == Box(0.0, 0.5, 0.0, RATE / 2)


def test_sounds_are_brought_to_one_level():
    levels = [active_power(at_level(gain * SOUNDS[0])) for gain in (0.01, 1.0, 30.0)]
    assert levels == pytest.approx([10**-2.6] * 3, rel=1e-3)


@pytest.fixture(scope="module")
def copies():
    """A tiny classifier's copies that were taught two of the cues."""
    backend = LoudestQuarter().eval().requires_grad_(False)
    prompts = prompts_from_labels(LABELS)
    before = {name: value.clone() for name, value in backend.state_dict().items()}
    planted = {
        name: plant(backend, CUES[name], SOUNDS[:12], prompts, Planting(200, 8, rate=0.05), quiet=True)
        for name in ("beep", "onset")
    }
    assert all(torch.equal(value, before[name]) for name, value in backend.state_dict().items())
    assert not any(value.requires_grad for copy in planted.values() for value in copy.parameters())
    return backend, planted


class Early(WindowMethod):
    """Keeps a stretch of time, whatever is heard: here the one that decides."""

    entry = MethodEntry("early", "early", "", "")
    start_s, end_s = 0.0, 0.48

    def passes(self):
        return 0.0

    def map_windows(self, audio, target, progress=lambda *_: None):
        seconds = torch.arange(audio.stft.shape[2]) * 0.02
        columns = ((seconds >= self.start_s) & (seconds <= self.end_s)).float()
        return WindowMaps(columns.expand(audio.stft.shape).clone())


class Late(Early):
    """Looks where nothing decides."""

    entry = MethodEntry("late", "late", "", "")
    start_s, end_s = 1.0, 1.5


def clips_of(folder, count=12):
    found = []
    for index, waveform in enumerate(SOUNDS[12 : 12 + count]):
        path = folder / f"{index:02d}.wav"
        soundfile.write(path, waveform.numpy(), RATE, subtype="FLOAT")
        found.append(Clip(str(path), str(path), labels=(LABELS[index % len(LABELS)],)))
    return found


def test_a_copy_decides_by_its_cue_and_masks_are_judged_by_it(copies, tmp_path):
    backend, planted = copies
    both = (("early", Early(backend, "stft")), ("late", Late(backend, "stft")))
    everyone = tuple(one for one in contenders(both, ("stft",), backend) if one.name != IDEAL)
    clips = clips_of(tmp_path)
    bench = Copies(planted, everyone, LABELS)
    table = ScoreTable(tmp_path / "out", {"a": 1})
    rows = measure_planted(bench, clips, SOUNDS[12:], table, quiet=True)
    assert [(row["condition"], row["clip"]) for row in rows] == [
        (name, clip.path) for name in planted for clip in clips
    ]
    summary = planted_summary(rows, bench)
    assert summary["beep"]["flips"] > 30 and summary["beep"]["obeys"] > 60
    onset = summary["onset"]
    assert onset["flips"] > 60 and onset["obeys"] > 40
    right, wrong = onset["methods"]["early"], onset["methods"]["late"]
    assert right["cue_hit"]["mean"] == 1 and right["cue_mass"]["mean"] == pytest.approx(1)
    assert wrong["cue_hit"]["mean"] == 0 and wrong["cue_found"]["mean"] < 0.1 < right["cue_found"]["mean"]
    assert onset["ranking"]["cue_hit"]["best"] == "early"
    random = onset["methods"]["random"]["cue_found"]["mean"]
    # Half a second of two.
    assert random == pytest.approx(0.25, abs=0.03)
    text = planted_markdown(summary, "title", "stft", 150)
    assert "The cue decides in" in text and "**1.00**" in text
    # What the table holds is not done again.
    table = ScoreTable(tmp_path / "out", {"a": 1})
    again = measure_planted(
        Copies(planted, (Refusing("early", both[0][1]),), LABELS), clips, SOUNDS[12:], table, quiet=True
    )
    assert planted_summary(again, bench) == summary


class Refusing(Contender):
    """Must not be asked."""

    def explain(self, *arguments, **named):
        raise AssertionError("explained again")


def sanity(table, out, *more):
    return main(
        ["sanity", "--planted", "--clips", str(table), "--backend", "debug", "--out", str(out), *more]
    )


@pytest.fixture
def table(tmp_path):
    clips = clips_of(tmp_path, 8)
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([clip.path, clip.label] for clip in clips)
    others = tmp_path / "others"
    others.mkdir()
    for index, waveform in enumerate(SOUNDS[:4]):
        soundfile.write(others / f"{index}.wav", waveform.numpy(), RATE)
    return tmp_path / "clips.csv"


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_the_command_plants_measures_and_goes_on(table, tmp_path, capsys, domain):
    flags = ["--plant-on", str(tmp_path / "others"), "--plant-steps", "20", "--methods", "saliency,lmac-any"]
    flags += ["--cues", "beep", "--domain", domain]
    assert sanity(table, tmp_path / "out", *flags) == 0
    first = (tmp_path / "out" / "summary.json").read_bytes()
    summary = json.loads(first)
    assert set(summary) == {"beep"} and summary["beep"]["clips"] == 8
    assert set(summary["beep"]["methods"]) == {"saliency", "lmac-any", "full", "constant", "random", "energy"}
    assert "# Planted truth" in capsys.readouterr().out
    (copy,) = (tmp_path / "out").glob("planted-beep-*.safetensors")
    written = copy.stat().st_mtime_ns
    assert sanity(table, tmp_path / "out", *flags) == 0
    assert copy.stat().st_mtime_ns == written and (tmp_path / "out" / "summary.json").read_bytes() == first
    # One that was cut short is made again.
    copy.write_bytes(copy.read_bytes()[:100])
    assert sanity(table, tmp_path / "out", *flags) == 0
    assert (tmp_path / "out" / "summary.json").read_bytes() == first


def test_no_copy_learns_from_what_is_measured_however_its_path_is_written(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measured = [Clip(path.name, path.name) for path in tmp_path.glob("*.wav")]
    found = _learning_clips(Namespace(plant_on=str(tmp_path), seed=0, plant_limit=100), measured)
    assert sorted(clip.file.resolve() for clip in found) == sorted((tmp_path / "others").glob("*.wav"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--planted needs recordings"),
        (["--plant-on", ".", "--cues", "smell"], "--cues got 'smell'"),
        (["--plant-on", "clips.csv"], "fewer than 2 recordings that are not measured"),
        (["--plant-on", "others", "--plant-steps", "0"], "--plant-steps is 0"),
        (["--plant-on", "others", "--limit", "2"], "2 clips of 4 labels are too few"),
    ],
)
def test_what_cannot_be_planted_is_one_sentence(table, tmp_path, capsys, flags, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sanity(table, tmp_path / "out", *flags) == 2
    told = capsys.readouterr().err.strip()
    assert said in told and "\n" not in told
