"""Evaluations end to end, on small sets made here and on a backend whose right explanation is known."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.image import imread

from lmaczs.cli import main
from lmaczs.data.clip_table import ClipEntry
from lmaczs.errors import LMACError
from lmaczs.evaluation import explanations, mixtures, zero_shot
from lmaczs.evaluation.confusion import save_confusion_picture
from lmaczs.evaluation.explanations import Judge, judge_clips
from lmaczs.evaluation.hearing import HeardClips, embed
from lmaczs.evaluation.masks import control_mask, in_form
from lmaczs.evaluation.mixtures import ideal_ratio_mask, judge_mixtures, plan_mixtures
from lmaczs.evaluation.report import explanation_summary, mixture_summary
from lmaczs.evaluation.rows import ResultRows, fingerprint
from lmaczs.explainers.base import Explainer
from lmaczs.explainers.gradcam import GradCAMPlusPlus
from lmaczs.metrics.localisation import si_sdr
from lmaczs.pipeline import explain_clip, open_recording
from lmaczs.signal.audio import load_clip
from lmaczs.signal.spectral import SpectralConfig
from lmaczs.types import TextState

RATE = 16000
SETTINGS = {"run": 1}


def write_tone(
    path: Path, hertz: float, seconds: float = 1.0, level: float = 0.3, start: float = 0.0
) -> None:
    """A tone from `start` on, in very quiet noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = 0.001 * np.random.default_rng(round(hertz)).standard_normal(len(time))
    samples = level * np.sin(2 * np.pi * hertz * time) * (time >= start) + noise
    soundfile.write(path, samples, RATE, subtype="FLOAT")


def write_table(folder: Path, labels: dict[str, str]) -> Path:
    lines = ["path,label", *(f"{name},{label}" for name, label in labels.items())]
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "clips.csv"


@pytest.fixture
def mixed_set(tmp_path: Path) -> Path:
    """One good, one corrupt and one silent file."""
    write_tone(tmp_path / "good.wav", 440)
    (tmp_path / "corrupt.wav").write_bytes(b"RIFF this is no sound at all")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    return write_table(tmp_path, {"good.wav": "tone", "corrupt.wav": "tone", "silent.wav": "rain"})


@pytest.fixture
def tone_set(tmp_path: Path) -> Path:
    """Five clips of two labels; one is longer than the debug backend's window of 2 s."""
    names = {}
    for index, hertz in enumerate((300, 500, 900, 1500, 2500)):
        write_tone(tmp_path / f"{hertz}.wav", hertz, seconds=3.1 if index == 2 else 0.6 + 0.3 * index)
        names[f"{hertz}.wav"] = "low tone" if hertz < 1000 else "high tone"
    return write_table(tmp_path, names)


def evaluate(table: Path, out: Path, *options: str) -> int:
    return main(
        ["evaluate", "--clips", str(table), "--out", str(out), "--backend", "debug", "--device", "cpu"]
        + ["--methods", "grad-cam++", *options]
    )


def read_rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def entries(table: Path) -> list[ClipEntry]:
    return [ClipEntry(row["path"], table.parent / row["path"], row["label"]) for row in read_rows(table)]


def open_rows(out: Path, methods: list[str]) -> ResultRows:
    columns = [*explanations.CLIP_NUMBERS, *explanations.score_columns(methods)]
    return ResultRows(out / "results.csv", explanations.TEXT_COLUMNS, columns, SETTINGS)


# --- files that cannot be used, and runs that were cut short
# ------------------------


def test_good_corrupt_and_silent_file_give_three_rows_and_exit_code_1(mixed_set, tmp_path, capsys):
    assert evaluate(mixed_set, tmp_path / "out") == 1
    rows = read_rows(tmp_path / "out" / "results.csv")
    assert [row["path"] for row in rows] == ["good.wav", "corrupt.wav", "silent.wav"]
    assert rows[0]["error"] == "" and float(rows[0]["grad-cam++/soft/ff"]) == float(
        rows[0]["grad-cam++/soft/ff"]
    )
    assert "corrupt.wav" in rows[1]["error"] and rows[1]["predicted"] == ""
    assert "silent" in rows[2]["error"] and rows[2]["energy/top10/ad"] == ""
    assert not any(str(tmp_path) in row["error"] for row in rows)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert (summary["n_clips"], summary["n_failed"]) == (1, 2)
    assert summary["forms"]["soft"]["grad-cam++"]["ff"]["n"] == 1
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert (
        "| grad-cam++ |" in text and "| energy |" in text and "AD ↓ [%]" in text and "1 clips, 2 not" in text
    )
    assert capsys.readouterr().out.strip() == text.strip()


def test_a_rerun_scores_nothing_again_until_a_broken_file_is_repaired(mixed_set, tmp_path, monkeypatch):
    evaluate(mixed_set, tmp_path / "out")
    before = (tmp_path / "out" / "results.csv").read_bytes()
    scored = []
    real = explanations._judge_group
    monkeypatch.setattr(explanations, "_judge_group", lambda *args: scored.append(args) or real(*args))
    assert evaluate(mixed_set, tmp_path / "out") == 1
    assert scored == []
    assert (tmp_path / "out" / "results.csv").read_bytes() == before

    write_tone(tmp_path / "corrupt.wav", 700)
    assert evaluate(mixed_set, tmp_path / "out") == 1  # the silent one stays silent
    rows = read_rows(tmp_path / "out" / "results.csv")
    assert [row["error"] == "" for row in rows] == [True, True, False]


def test_a_resumed_run_equals_the_uninterrupted_one(tone_set, tmp_path, monkeypatch):
    monkeypatch.setattr(explanations, "GROUP", 2)
    monkeypatch.setattr(mixtures, "GROUP", 2)
    assert evaluate(tone_set, tmp_path / "whole", "--mixtures", "4") == 0

    for module in (explanations, mixtures):  # cut short after the first group of clips, then of mixtures
        real, calls = module._judge_group, []

        def once(*args, real=real, calls=calls):
            calls.append(1)
            if len(calls) > 1:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(module, "_judge_group", once)
        assert evaluate(tone_set, tmp_path / "parts", "--mixtures", "4") == 130
        monkeypatch.setattr(module, "_judge_group", real)
    with (tmp_path / "parts" / "mixture_results.csv").open("a", encoding="utf-8") as stream:
        stream.write("0002,500.wav,low")  # half a line of a run that was killed
    assert evaluate(tone_set, tmp_path / "parts", "--mixtures", "4") == 0
    for name in ("results.csv", "mixtures.csv", "mixture_results.csv", "summary.json", "summary.md"):
        assert (tmp_path / "parts" / name).read_text("utf-8") == (tmp_path / "whole" / name).read_text(
            "utf-8"
        )


def test_results_of_other_settings_are_never_mixed_in(tone_set, tmp_path, capsys):
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2") == 0
    capsys.readouterr()
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2", "--seed", "1") == 2
    error = capsys.readouterr().err
    assert "seed" in error and "another folder" in error and error.count("\n") == 1
    assert evaluate(tone_set, tmp_path / "out") == 0  # a larger limit goes on with the same settings
    assert len(read_rows(tmp_path / "out" / "results.csv")) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "label"], "NAME=VALUE"),
        (["--methods", "grad-cam++,grad-cam++"], "once"),
        (["--methods", "energy"], "controls"),
        (["--methods", "guesswork"], "guesswork"),
        (["--releases", "lmac-zs=somewhere"], "lmac-zs"),
        (["--limit", "0"], "at least 1"),
        (["--mixtures", "7"], "only 6 pairs"),
        (["--mixtures", "-1"], "at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_written(
    tone_set, tmp_path, capsys, options, message
):
    assert evaluate(tone_set, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_weights_decide_the_fingerprint(debug_backend):
    first = fingerprint(debug_backend)
    other = torch.nn.Linear(2, 2)
    assert first == fingerprint(debug_backend) != fingerprint(other)
    before = fingerprint(other)
    with torch.no_grad():
        other.bias[0] += 1e-3
    assert fingerprint(other) != before
    assert fingerprint(GradCAMPlusPlus(debug_backend)) == first  # its backend is all that it holds


# --- the numbers
# -----------------------------------------


def test_batched_evaluation_gives_the_numbers_of_the_pipeline(tone_set, tmp_path, debug_backend):
    labels = ("high tone", "low tone", "rain")
    judge = Judge(debug_backend, {"grad-cam++": GradCAMPlusPlus(debug_backend)}, labels)
    rows = judge_clips(judge, entries(tone_set), open_rows(tmp_path / "out", ["grad-cam++"]), quiet=True)
    for entry, row in zip(entries(tone_set), rows, strict=True):
        result = explain_clip(
            load_clip(entry.file), judge.text().prompts, debug_backend, GradCAMPlusPlus(debug_backend)
        )
        assert row["predicted"] == labels[result.prediction.predicted]
        assert row["probability"] == pytest.approx(float(result.prediction.probabilities.max()), abs=1e-5)
        for key in ("ff", "ad", "ag", "fid_in", "sps", "comp", "mm"):
            # Batched convolutions round differently, and percentages are a hundred times larger.
            assert row[f"grad-cam++/soft/{key}"] == pytest.approx(result.metrics[key], abs=5e-3), key


def test_batched_embeddings_equal_those_of_single_recordings(tone_set, debug_backend):
    clips = [load_clip(entry.file) for entry in entries(tone_set)]
    together = embed([clip.waveform for clip in clips], debug_backend)
    heard = HeardClips([clip.waveform for clip in clips], debug_backend)
    for index, clip in enumerate(clips):
        alone = open_recording(clip, debug_backend).embedding
        assert torch.allclose(together[index], alone, atol=1e-5)
        assert torch.allclose(heard.embedding[index], alone, atol=1e-5)


def test_each_recording_gets_the_mask_of_its_own_prompt(tone_set, debug_backend):
    clips = [load_clip(entry.file) for entry in entries(tone_set)]
    prompts = [f"prompt {index}" for index in range(len(clips))]
    explainer = GradCAMPlusPlus(debug_backend)
    masks = HeardClips([clip.waveform for clip in clips], debug_backend).masks(
        explainer, debug_backend.encode_text(prompts)
    )
    for clip, prompt, mask in zip(clips, prompts, masks, strict=True):
        alone = explain_clip(clip, [prompt], debug_backend, explainer, score=False).explanation.mask
        assert torch.allclose(mask, alone, atol=1e-4)


class BoxExplainer(Explainer):
    """Keeps the planted box, or everything but the box."""

    name = label = "box"
    inverted = False

    def masks(self, audio, text: TextState) -> torch.Tensor:
        mask = torch.zeros(audio.stft.shape)
        mask[:, self.backend.box_bins, self.backend.box_frames] = 1.0
        return 1 - mask if self.inverted else mask


class InvertedBoxExplainer(BoxExplainer):
    inverted = True


def test_the_planted_explanation_wins_and_its_opposite_loses(planted_backend, tmp_path):
    # The planted CLAP hears 0.96 s to 1.6 s at about 1 kHz only: the tone fills that box and goes on after
    # it.
    write_tone(tmp_path / "beep.wav", 1250, seconds=2.0, level=1.0, start=0.9)
    judge = Judge(
        planted_backend,
        {"box": BoxExplainer(planted_backend), "outside": InvertedBoxExplainer(planted_backend)},
        ("beep", "rain"),
    )
    clip = ClipEntry("beep.wav", tmp_path / "beep.wav", "beep")
    (row,) = judge_clips(judge, [clip], open_rows(tmp_path / "out", ["box", "outside"]), quiet=True)
    assert row["predicted"] == "beep" and row["rank"] == 1.0 and row["probability"] > 0.95
    assert row["box/soft/fid_in"] == 1.0 and row["outside/soft/fid_in"] == 0.0
    assert row["box/soft/ad"] < 1.0 and row["outside/soft/ad"] > 90.0
    assert row["box/soft/ff"] > 0.85 and row["outside/soft/ff"] < 0.05


def test_controls_have_the_values_that_their_definition_gives(tone_set, tmp_path, debug_backend):
    judge = Judge(debug_backend, {}, ("high tone", "low tone"))
    rows = judge_clips(judge, entries(tone_set), open_rows(tmp_path / "out", []), quiet=True)
    for row in rows:
        # The full mask keeps everything.
        assert row["constant/soft/ai"] == 0.0 and row["constant/soft/fid_in"] == 1.0
        assert row["constant/soft/ad"] < 0.01 and row["constant/soft/ag"] < 0.01
        assert row["constant/soft/mm"] == 1.0 and row["constant/soft/sps"] < 1e-12
        assert row["random/soft/mm"] == pytest.approx(0.5, abs=0.01)
        assert row["random/soft/sps"] == pytest.approx(
            1 / 3, abs=0.01
        )  # Gini index of a uniform distribution
        for method in ("random", "energy"):
            assert row[f"{method}/top10/mm"] == pytest.approx(0.1, abs=1e-4)
            assert row[f"{method}/top20/mm"] == pytest.approx(0.2, abs=1e-4)
    assert "constant/top10/ad" not in rows[0]


def test_control_masks_are_normalised_and_seeded():
    grid = SpectralConfig(n_fft=512)
    waveform = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    for name in ("constant", "random", "energy"):
        mask = control_mask(name, waveform, grid, "0 a.wav")
        assert mask.shape == (257, 26)
        assert mask.max() == 1.0
    same, other = (
        control_mask("random", waveform, grid, "0 a.wav"),
        control_mask("random", waveform, grid, "1 a.wav"),
    )
    assert torch.equal(same, control_mask("random", waveform, grid, "0 a.wav"))
    assert not torch.equal(same, other)
    loudest = control_mask("energy", waveform, grid, "").argmax()
    assert (
        loudest
        == torch.stft(waveform, 512, 320, window=torch.hann_window(512), return_complex=True).abs().argmax()
    )


def test_an_empty_mask_stays_empty_at_equal_area():
    assert in_form(torch.zeros(4, 4), "top20").sum() == 0
    assert in_form(torch.eye(10), "top10").equal(torch.eye(10))


def test_empty_masks_are_counted_and_tabled_without_them():
    row = {"path": "x", "predicted": "a", "rank": 1.0, "probability": 0.5}
    columns = explanations.score_columns(["ours"])
    filled = row | {column: 0.5 for column in columns}
    empty = row | {column: 0.0 for column in columns}
    summary = explanation_summary([filled, empty, {"path": "z", "error": "unreadable"}], ["ours"])
    assert (summary["n_clips"], summary["n_failed"], summary["top1_percent"]) == (2, 1, 100.0)
    assert summary["forms"]["soft"]["ours"]["ff"] == {"mean": 0.25, "median": 0.25, "n": 2, "n_empty": 1}
    assert summary["without_empty"]["ours"]["ff"] == {"mean": 0.5, "median": 0.5, "n": 1, "n_empty": 1}


# --- mixtures
# --------------------------------------------

PAIRS = [ClipEntry(f"{label}{n}", Path(f"{label}{n}"), label) for label in "abc" for n in range(4)]


def test_mixtures_are_seeded_pairs_of_different_labels_and_no_pair_comes_twice():
    plans = plan_mixtures(PAIRS, 30, seed=3)
    assert all(plan.a.label != plan.b.label for plan in plans)
    assert len({frozenset((plan.a.path, plan.b.path)) for plan in plans}) == 30
    assert plans == plan_mixtures(PAIRS, 30, seed=3) != plan_mixtures(PAIRS, 30, seed=4)
    assert plans[:10] == plan_mixtures(PAIRS, 10, seed=3)  # more mixtures keep the first ones
    with pytest.raises(LMACError, match="only 48 pairs"):
        plan_mixtures(PAIRS, 49)


def test_ideal_ratio_masks_share_out_the_mixture_and_separate_it():
    grid = SpectralConfig(n_fft=512)
    time = torch.arange(RATE) / RATE
    first, second = (torch.sin(2 * torch.pi * hertz * time).unsqueeze(0) for hertz in (500, 2000))
    mask, other = ideal_ratio_mask(first, second, grid)[0], ideal_ratio_mask(second, first, grid)[0]
    assert torch.allclose(mask + other, torch.ones_like(mask), atol=1e-5)
    # Rows of 31.25 Hz: 500 Hz and 2 kHz; the reflected edge of the first frame smears both tones.
    assert mask[16, 1:].mean() > 0.99 and mask[64, 1:].mean() < 0.01


def test_mixtures_at_zero_decibels_measure_what_a_mask_brings_out(tmp_path, planted_backend):
    write_tone(tmp_path / "beep.wav", 1250, seconds=2.0, level=0.2)
    write_tone(tmp_path / "rain.wav", 4000, seconds=2.0, level=0.6)
    clips = [ClipEntry(f"{name}.wav", tmp_path / f"{name}.wav", name) for name in ("beep", "rain")]
    judge = Judge(planted_backend, {"box": BoxExplainer(planted_backend)}, ("beep", "rain"))
    results = ResultRows(
        tmp_path / "mixtures.csv", mixtures.TEXT_COLUMNS, mixtures.mixture_columns(["box"]), SETTINGS
    )
    plans = plan_mixtures(clips, 1)
    (row,) = judge_mixtures(judge, plans, results, quiet=True)
    beep, rain = ("a", "b") if row["label_a"] == "beep" else ("b", "a")
    assert abs(row["gain_db"]) == pytest.approx(20 * math.log10(3), abs=0.01)  # the level of a is kept
    assert row["mixture_si_sdr_a"] == pytest.approx(0.0, abs=0.05)
    assert row["mixture_si_sdr_b"] == pytest.approx(0.0, abs=0.05)
    # The box holds no 4 kHz, but only a third of the beep: -4.6 dB at best ... and nothing at all of the
    # other sound.
    share = 32 / 100
    assert row[f"box/soft/si_sdr_i_{beep}"] == pytest.approx(10 * math.log10(share / (1 - share)), abs=0.5)
    assert row[f"box/soft/si_sdr_i_{rain}"] < -20
    assert row["box/soft/mask_cosine"] == pytest.approx(1.0)  # this explainer does not look at the prompt
    assert row["constant/soft/si_sdr_i_a"] == pytest.approx(0.0, abs=1e-3)
    assert row["ideal ratio mask/soft/si_sdr_i_a"] > 25 and row["ideal ratio mask/soft/si_sdr_i_b"] > 25
    summary = mixture_summary([row, {"mixture": "0001", "error": "unreadable"}], ["box"])
    assert (summary["n_mixtures"], summary["n_failed"]) == (1, 1)
    assert summary["forms"]["soft"]["box"]["si_sdr_i_known"]["n"] == 2
    assert summary["forms"]["soft"]["box"]["si_sdr_i"]["mean"] == row["box/soft/si_sdr_i_a"]


def test_methods_get_the_mixture_and_never_the_sources(tmp_path, planted_backend):
    seen = []

    class Listening(BoxExplainer):
        def masks(self, audio, text):
            seen.append((audio.waveform.clone(), text.prompts))
            return super().masks(audio, text)

    write_tone(tmp_path / "beep.wav", 1250, seconds=2.0)
    write_tone(tmp_path / "rain.wav", 4000, seconds=2.0)
    clips = [ClipEntry(f"{name}.wav", tmp_path / f"{name}.wav", name) for name in ("beep", "rain")]
    judge = Judge(planted_backend, {"box": Listening(planted_backend)}, ("beep", "rain"))
    results = ResultRows(
        tmp_path / "mixtures.csv", mixtures.TEXT_COLUMNS, mixtures.mixture_columns(["box"]), SETTINGS
    )
    judge_mixtures(judge, plan_mixtures(clips, 1), results, quiet=True)
    sources = [load_clip(clip.file).waveform for clip in clips]
    assert {prompts for _, prompts in seen} == {
        ("this is the sound of beep",),
        ("this is the sound of rain",),
    }
    for waveform, _ in seen:
        for source in sources:
            assert (
                abs(si_sdr(waveform, source.unsqueeze(0)).item()) < 0.1
            )  # 0 dB: half of what is heard is the other


# --- zero-shot classification
# -------------------------------------


def test_zero_shot_counts_hits_ranks_and_clips_that_a_gain_changes(tmp_path, planted_backend):
    # In the planted CLAP a beep is a beep above a certain power; 12 dB around it decide.
    for name, level in {"loud": 1.0, "middle": 0.2, "quiet": 0.01}.items():
        write_tone(tmp_path / f"{name}.wav", 1250, seconds=2.0, level=level)
    clips = [
        ClipEntry(f"{name}.wav", tmp_path / f"{name}.wav", "beep") for name in ("loud", "middle", "quiet")
    ]
    clips.append(ClipEntry("none.wav", tmp_path / "none.wav", "rain"))
    results = ResultRows(tmp_path / "results.csv", zero_shot.TEXT_COLUMNS, zero_shot.NUMBER_COLUMNS, SETTINGS)
    judge = Judge(planted_backend, {}, ("beep", "rain"))
    rows = zero_shot.judge_zero_shot(judge, clips, results, quiet=True)
    predicted = [row.get("predicted") for row in rows]
    assert predicted[0] == "beep" and predicted[2] == "rain" and predicted[3] is None
    assert "none.wav" in rows[3]["error"]
    for index, gain in (("predicted_quiet", 10**-0.6), ("predicted_loud", 10**0.6)):
        scaled = embed([load_clip(clips[1].file).waveform * gain], planted_backend)
        assert rows[1][index] == judge.labels[int(judge.logits(scaled).argmax())]
    summary = zero_shot.zero_shot_summary(rows, judge.labels)
    assert (summary["n_clips"], summary["n_failed"], summary["chance_percent"]) == (3, 1, 50.0)
    hits = predicted.count("beep")
    assert summary["top1_percent"] == pytest.approx(100 * hits / 3)
    assert summary["top5_percent"] == 100.0
    moved = [row for row in rows[:3] if row["predicted_quiet"] != row["predicted"]]
    moved_up = [row for row in rows[:3] if row["predicted_loud"] != row["predicted"]]
    assert moved or moved_up  # this backend is not level-free, and the check has to see it
    assert summary["changed_percent"] == {
        "-12": pytest.approx(100 * len(moved) / 3),
        "+12": pytest.approx(100 * len(moved_up) / 3),
    }
    assert summary["per_label"]["rain"] == {"n": 0, "top1_percent": None, "top5_percent": None}


def test_confusions_are_counted_by_true_and_predicted_label():
    rows = [
        {"label": "a", "predicted": "a"},
        {"label": "a", "predicted": "b"},
        {"label": "b", "predicted": "c"},
        {"label": "c", "error": "unreadable"},
    ]
    assert zero_shot.confusion_counts(rows, ("a", "b", "c")).tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_confusion_picture_shows_the_matrix(tmp_path):
    labels = [f"label {index}" for index in range(12)]
    save_confusion_picture(torch.eye(12, dtype=torch.int64) * 8, labels, tmp_path / "right.png", "same title")
    save_confusion_picture(
        torch.ones(12, 12, dtype=torch.int64), labels, tmp_path / "wrong.png", "same title"
    )
    right, wrong = (imread(tmp_path / name)[..., :3].mean(-1) for name in ("right.png", "wrong.png"))
    assert right.shape == wrong.shape and min(right.shape) > 800
    # 12 of 144 cells are dark blue, about 0.5 inch each at 110 dots per inch, less the number in it.
    darker = (right < 0.4).sum() - (wrong < 0.4).sum()
    assert 12 * 45**2 < darker < 12 * 80**2


def test_evaluate_clap_writes_its_summary_and_picture(mixed_set, tmp_path, capsys):
    out = tmp_path / "clap"
    arguments = ["evaluate-clap", "--clips", str(mixed_set), "--out", str(out), "--backend", "debug"]
    assert main([*arguments, "--device", "cpu"]) == 1
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    assert (summary["n_clips"], summary["n_failed"], summary["n_labels"]) == (1, 2, 2)
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert summary["changed_percent"] == {"-12": 0.0, "+12": 0.0}  # the compact CLAP takes the level out
    text = (out / "summary.md").read_text("utf-8")
    assert "top-1 ↑" in text and "| +12 dB | 0.00 % | 1 |" in text
    assert text.strip() in capsys.readouterr().out
