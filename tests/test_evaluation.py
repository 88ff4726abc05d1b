"""Evaluations end to end, on small sets made here and on a backend whose right explanation is known."""

import csv
import inspect
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
from lmaczs.evaluation.conditions import Contamination
from lmaczs.evaluation.confusion import save_confusion_picture
from lmaczs.evaluation.contenders import Contender, contenders
from lmaczs.evaluation.explanations import judge_clips, score_columns
from lmaczs.evaluation.hearing import HeardClips, embed
from lmaczs.evaluation.judge import Judge
from lmaczs.evaluation.masks import IDEAL, control_mask, ideal_ratio_mask
from lmaczs.evaluation.mixtures import judge_mixtures, plan_mixtures
from lmaczs.evaluation.rows import ResultRows, fingerprint
from lmaczs.evaluation.summary import explanation_summary, mixture_summary
from lmaczs.explainers.base import Explainer
from lmaczs.explainers.gradcam import GradCAMPlusPlus
from lmaczs.metrics.localisation import si_sdr
from lmaczs.metrics.shape import binarise_top
from lmaczs.pipeline import explain_clip, open_recording
from lmaczs.signal.audio import load_clip
from lmaczs.signal.masking import masked_waveform, mel_mask_to_stft
from lmaczs.signal.spectral import stft
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


@pytest.fixture(autouse=True)
def pictures(request, monkeypatch):
    """Pictures take longer than all the rest: drawn only where a test asks for this fixture by name."""
    if "pictures" not in inspect.signature(request.function).parameters:
        monkeypatch.setattr("lmaczs.evaluation.figures.save_figures", lambda *arguments: None)


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


def judge_of(backend, labels: tuple[str, ...], domains=("stft",), **explainers: Explainer) -> Judge:
    return Judge(backend, labels, contenders(explainers.items(), domains))


def open_rows(out: Path, judge: Judge) -> ResultRows:
    columns = [column for contender in judge.contenders for column in score_columns(contender, judge.shares)]
    numbers = [*explanations.CLIP_NUMBERS, *columns]
    return ResultRows(out / "results.csv", explanations.KEYS, explanations.TEXT_COLUMNS, numbers, SETTINGS)


def open_mixture_rows(out: Path, judge: Judge) -> ResultRows:
    columns = [column for contender in judge.contenders for column in mixtures.mixture_columns(contender)]
    numbers = [*mixtures.mixture_numbers(), *columns]
    return ResultRows(out / "mixtures.csv", mixtures.KEYS, mixtures.TEXT_COLUMNS, numbers, SETTINGS)


# --- files that cannot be used, and runs that were cut short
# ------------------------


def test_good_corrupt_and_silent_file_give_three_rows_and_exit_code_1(mixed_set, tmp_path, capsys, pictures):
    assert evaluate(mixed_set, tmp_path / "out") == 1
    rows = read_rows(tmp_path / "out" / "results.csv")
    assert [row["path"] for row in rows] == ["good.wav", "corrupt.wav", "silent.wav"]
    assert rows[0]["error"] == "" and math.isfinite(float(rows[0]["stft/grad-cam++/soft/ff"]))
    assert "corrupt.wav" in rows[1]["error"] and rows[1]["predicted"] == ""
    assert "silent" in rows[2]["error"] and rows[2]["stft/energy/top10/ad"] == ""
    assert not any(str(tmp_path) in row["error"] for row in rows)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert (summary["n_clips"], summary["n_failed"]) == (1, 2)
    assert summary["conditions"]["none"]["domains"]["stft"]["forms"]["soft"]["grad-cam++"]["ff"]["n"] == 1
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert (
        "| grad-cam++ |" in text
        and "| energy |" in text
        and "AD ↓ [%]" in text
        and "1 clips, 2 failed" in text
    )
    assert capsys.readouterr().out.strip() == text.strip()
    for picture in ("metrics.png", "curves.png", "mask_mean.png"):
        assert f"]({picture})" in text and min(imread(tmp_path / "out" / picture).shape[:2]) > 200


def test_a_set_without_one_usable_file_has_a_report_too(mixed_set, tmp_path, pictures):
    table = write_table(tmp_path, {"corrupt.wav": "tone", "silent.wav": "rain"})
    assert evaluate(table, tmp_path / "out") == 1
    assert "0 clips, 2 failed" in (tmp_path / "out" / "summary.md").read_text("utf-8")


def test_a_rerun_scores_nothing_again_until_a_broken_file_is_repaired(mixed_set, tmp_path, monkeypatch):
    evaluate(mixed_set, tmp_path / "out")
    before = (tmp_path / "out" / "results.csv").read_bytes()
    scored = []
    real = explanations.score_mask
    monkeypatch.setattr(explanations, "score_mask", lambda *args: scored.append(args) or real(*args))
    assert evaluate(mixed_set, tmp_path / "out") == 1
    assert scored == []
    assert (tmp_path / "out" / "results.csv").read_bytes() == before

    write_tone(tmp_path / "corrupt.wav", 700)
    assert evaluate(mixed_set, tmp_path / "out") == 1  # the silent one stays silent
    rows = read_rows(tmp_path / "out" / "results.csv")
    assert [row["error"] == "" for row in rows] == [True, True, False]
    assert len(scored) == 5  # grad-cam++, full, constant, random, energy: of the repaired clip alone


EVERYTHING = ("--domains", "stft,mel", "--contaminate", "none,same", "--limit", "3", "--mixtures", "2")


def test_a_resumed_run_equals_the_uninterrupted_one(tone_set, tmp_path, monkeypatch):
    monkeypatch.setattr(explanations, "GROUP", 2)
    monkeypatch.setattr(mixtures, "GROUP", 2)
    assert evaluate(tone_set, tmp_path / "whole", *EVERYTHING) == 0

    for module, name, allowed in ((explanations, "score_mask", 21), (mixtures, "energy_on_target", 5)):
        real, calls = getattr(module, name), []

        def some(*args, real=real, calls=calls, allowed=allowed):
            calls.append(1)
            if len(calls) > allowed:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(module, name, some)
        assert evaluate(tone_set, tmp_path / "parts", *EVERYTHING) == 130
        monkeypatch.setattr(module, name, real)
    with (tmp_path / "parts" / "mixture_results.journal.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('[["0001"], {"path_a": "500.w')  # half a line of a run that was killed
    assert evaluate(tone_set, tmp_path / "parts", *EVERYTHING) == 0
    names = (
        "results.csv",
        "mixtures.csv",
        "mixture_results.csv",
        "contamination.csv",
        "summary.json",
        "summary.md",
    )
    for name in names:
        parts, whole = ((tmp_path / run / name).read_text("utf-8") for run in ("parts", "whole"))
        assert parts.split("## Run time")[0] == whole.split("## Run time")[0], name
    assert not list((tmp_path / "parts").glob("*.journal.jsonl"))


def test_results_of_other_settings_are_never_mixed_in(tone_set, tmp_path, capsys):
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2") == 0
    capsys.readouterr()
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2", "--seed", "1") == 2
    error = capsys.readouterr().err
    assert "seed" in error and "another folder" in error and error.count("\n") == 1
    assert evaluate(tone_set, tmp_path / "out") == 0  # a larger limit goes on with the same settings
    assert len(read_rows(tmp_path / "out" / "results.csv")) == 5


def test_a_condition_a_domain_or_a_method_can_be_added_to_a_finished_run(tone_set, tmp_path, monkeypatch):
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2") == 0
    before = {row["path"]: row for row in read_rows(tmp_path / "out" / "results.csv")}
    scored = []
    real = explanations.score_mask
    monkeypatch.setattr(explanations, "score_mask", lambda *args: scored.append(args[1].key) or real(*args))
    more = ("--methods", "grad-cam++,grad-cam", "--domains", "stft,mel")
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2", *more) == 0
    added = {"stft/grad-cam", "mel/grad-cam++", "mel/grad-cam", "mel/random", "mel/energy"}
    assert set(scored) == added and len(scored) == 2 * len(added)
    for row in read_rows(tmp_path / "out" / "results.csv"):
        assert before[row["path"]].items() <= row.items()
    scored.clear()
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2", *more, "--again", "grad-cam") == 0
    assert set(scored) == {"stft/grad-cam", "mel/grad-cam"} and len(scored) == 4
    scored.clear()
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2", *more, "--contaminate", "white") == 0
    rows = read_rows(tmp_path / "out" / "results.csv")
    assert [row["condition"] for row in rows] == ["white"] * 2 + ["none"] * 2  # nothing is thrown away
    assert set(scored) == {*added, "stft/grad-cam++", "stft/random", "stft/energy"} | {
        "both/full", "both/constant", f"both/{IDEAL}",
    }  # fmt: skip


def test_new_weights_of_a_method_leave_the_others_numbers_alone(tmp_path):
    def rows(new: str) -> ResultRows:
        columns = ["stft/new/soft/ff", "stft/old/soft/ff"]
        parts = {"stft/new": new, "stft/old": "1"}
        return ResultRows(tmp_path / "rows.csv", ("path",), ("label",), columns, SETTINGS, parts)

    first = rows("1")
    first.add([{"path": "a", "label": "x", "stft/new/soft/ff": 0.25, "stft/old/soft/ff": 0.123456789}])
    again = rows("1")
    assert again.dropped == () and again.rows[("a",)]["stft/new/soft/ff"] == 0.25
    changed = rows("2")
    assert changed.dropped == ("stft/new",)
    assert changed.rows == {("a",): {"path": "a", "label": "x", "stft/old/soft/ff": 0.123457}}
    assert first.rows[("a",)]["stft/old/soft/ff"] == 0.123457  # as it is read back


def test_values_can_be_taken_away_and_nan_is_no_value(tmp_path):
    rows = ResultRows(tmp_path / "rows.csv", ("path",), ("error",), ("ff", "ad"), SETTINGS)
    rows.add([{"path": "a", "error": "broken", "ff": math.nan, "ad": 1.0}])
    rows.add([{"path": "a", "error": None}])
    assert rows.finish([("a",)]) == [{"path": "a", "ad": 1.0}]
    assert (tmp_path / "rows.csv").read_text("utf-8") == "path,error,ff,ad\na,,,1\n"


def test_a_file_without_its_settings_is_refused(tmp_path):
    ResultRows(tmp_path / "rows.csv", ("path",), (), (), SETTINGS)
    (tmp_path / "rows.settings.json").write_text("{}", "utf-8")
    with pytest.raises(LMACError, match=r"rows.settings.json does not say"):
        ResultRows(tmp_path / "rows.csv", ("path",), (), (), SETTINGS)


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
        (["--domains", "stft,cqt"], "stft, mel"),
        (["--contaminate", "none,none"], "each once"),
        (["--contaminate", "speech"], "--speech"),
        (["--contaminate", "white", "--snr", "nan"], "--snr"),
        (["--curve", "20,10"], "rising numbers"),
        (["--curve", "ten"], "rising numbers"),
        (["--slow-limit", "0"], "at least 1"),
        (["--again", "rise"], "rise"),
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


def test_settings_of_a_method_decide_its_fingerprint_too(debug_backend):
    first = fingerprint(GradCAMPlusPlus(debug_backend))
    assert first == fingerprint(GradCAMPlusPlus(debug_backend))
    assert first != fingerprint(GradCAMPlusPlus(debug_backend, layer="block3"))
    assert first != fingerprint(GradCAMPlusPlus(debug_backend, "mel"))


# --- the numbers
# -----------------------------------------


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_batched_evaluation_gives_the_numbers_of_the_pipeline(tone_set, tmp_path, debug_backend, domain):
    explainer = GradCAMPlusPlus(debug_backend, domain)
    judge = judge_of(debug_backend, ("high tone", "low tone", "rain"), (domain,), cam=explainer)
    rows = judge_clips(judge, entries(tone_set), open_rows(tmp_path / "out", judge), quiet=True)
    for entry, row in zip(entries(tone_set), rows, strict=True):
        result = explain_clip(load_clip(entry.file), judge.text.prompts, debug_backend, explainer)
        assert row["predicted"] == judge.labels[result.prediction.predicted]
        assert row["probability"] == pytest.approx(float(result.prediction.probabilities.max()), abs=1e-5)
        assert row["similarity"] == pytest.approx(result.target_similarity, abs=1e-5)
        for key in ("ff", "ad", "ag", "fid_in", "sps", "comp", "mm"):
            # Batched convolutions round differently, and percentages are a hundred times larger.
            assert row[f"{domain}/cam/soft/{key}"] == pytest.approx(result.metrics[key], abs=5e-3), key


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_forms_and_curves_are_measured_on_the_sound_of_the_top_cells(
    tone_set, tmp_path, debug_backend, domain
):
    explainer = GradCAMPlusPlus(debug_backend, domain)
    judge = judge_of(debug_backend, ("high tone", "low tone", "rain"), (domain,), cam=explainer)
    entry = entries(tone_set)[0]
    (row,) = judge_clips(judge, [entry], open_rows(tmp_path / "out", judge), quiet=True)
    waveform, target = load_clip(entry.file).waveform, judge.labels.index(row["predicted"])
    mask = HeardClips([waveform], debug_backend).masks(explainer, judge.prompts([target]))[0]

    def probability(sound: torch.Tensor) -> float:
        return float(judge.logits(embed([sound], debug_backend)).double().softmax(1)[0, target])

    def kept(share: float) -> torch.Tensor:
        top = binarise_top(mask[None], share)[0]
        heard = top if domain == "stft" else mel_mask_to_stft(top, debug_backend.mel_filters)
        return masked_waveform(waveform, heard, debug_backend.spectral)

    whole, silence = probability(waveform), probability(torch.zeros(RATE))
    deletion = [probability(waveform - kept(share)) for share in (0.05, 0.1, 0.2, 0.4)]
    insertion = [probability(kept(share)) for share in (0.05, 0.1, 0.2, 0.4)]
    prefix = f"{domain}/cam"
    for name, curve in (("deletion", deletion), ("insertion", insertion)):
        points = [row[f"{prefix}/curve/{name}_{share}"] for share in (5, 10, 20, 40)]
        assert points == pytest.approx(curve, abs=1e-4)
    shares = [0, 0.05, 0.1, 0.2, 0.4, 1]
    assert row[f"{prefix}/curve/deletion_auc"] == pytest.approx(
        np.trapezoid([whole, *deletion, silence], shares), abs=1e-4
    )
    assert row[f"{prefix}/curve/insertion_auc"] == pytest.approx(
        np.trapezoid([silence, *insertion, whole], shares), abs=1e-4
    )
    assert row[f"{prefix}/top10/ff"] == pytest.approx(whole - deletion[1], abs=1e-4)
    assert row[f"{prefix}/top20/ad"] == pytest.approx(100 * max(0, 1 - insertion[2] / whole), abs=2e-2)


def test_points_of_the_curves_are_an_argument(tone_set, tmp_path):
    assert evaluate(tone_set, tmp_path / "out", "--limit", "1", "--curve", "2.5,50") == 0
    (row,) = read_rows(tmp_path / "out" / "results.csv")
    points = [name for name in row if "energy/curve/" in name and not name.endswith("auc")]
    assert [name.rsplit("/", 1)[1] for name in points] == [
        "deletion_2.5", "deletion_50", "insertion_2.5", "insertion_50",
    ]  # fmt: skip


class AfraidOfHighSounds(GradCAMPlusPlus):
    """Cannot explain what is loudest above 1 kHz."""

    def masks(self, audio, text):
        loudest = audio.stft.abs().sum(2).argmax(1) * (RATE / self.backend.spectral.n_fft)
        if bool((loudest > 1000).any()):
            raise LMACError("This method bears no high sounds.")
        return super().masks(audio, text)


class AfraidOfHighPrompts(GradCAMPlusPlus):
    """Cannot explain prompts with the word "high"."""

    def masks(self, audio, text):
        if any("high" in prompt for prompt in text.prompts):
            raise LMACError("This method knows no high prompts.")
        return super().masks(audio, text)


def test_a_method_that_fails_on_a_clip_leaves_the_clip_and_all_others_to_the_rest(
    tone_set, tmp_path, debug_backend
):
    explainers = {"picky": AfraidOfHighSounds(debug_backend), "cam": GradCAMPlusPlus(debug_backend)}
    judge = judge_of(debug_backend, ("high tone", "low tone"), **explainers)
    rows = judge_clips(judge, entries(tone_set), open_rows(tmp_path / "out", judge), quiet=True)
    high = [False, False, False, True, True]
    for row, fails in zip(rows, high, strict=True):
        assert ("stft/picky/soft/ff" not in row) == fails == ("error" in row)
        assert "stft/cam/soft/ff" in row and "stft/energy/top20/ad" in row
    assert "stft/picky: This method bears no high sounds." in {row.get("error") for row in rows}
    summary = explanation_summary(rows, judge, ("none",), ("stft",))
    assert (summary["n_clips"], summary["n_failed"]) == (5, sum(high))
    soft = summary["conditions"]["none"]["domains"]["stft"]["forms"]["soft"]
    assert (soft["picky"]["ff"]["n"], soft["cam"]["ff"]["n"]) == (5 - sum(high), 5)


def test_slow_methods_are_scored_on_a_part_that_is_the_same_in_every_run(tone_set, tmp_path, monkeypatch):
    class Fast(GradCAMPlusPlus):
        """Stands in for a slow method."""

    monkeypatch.setattr(
        "lmaczs.explainers.load_explainer", lambda name, backend, domain: Fast(backend, domain)
    )
    options = ("--methods", "rise,grad-cam++", "--limit", "4", "--slow-limit", "2", "--mixtures", "3")
    assert evaluate(tone_set, tmp_path / "out", *options) == 0
    rows = read_rows(tmp_path / "out" / "results.csv")
    few = [row["path"] for row in rows if row["stft/rise/soft/ff"]]
    assert len(few) == 2 and all(row["stft/grad-cam++/soft/ff"] for row in rows)
    assert {row["label"] for row in rows if row["path"] in few} == {"low tone", "high tone"}
    mixed = read_rows(tmp_path / "out" / "mixture_results.csv")
    assert [bool(row["stft/rise/soft/si_sdr_i_a"]) for row in mixed] == [True, False, False]
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    (line,) = [
        line for line in text.splitlines() if line.startswith("| rise |") and line.endswith(" 2 | 0 |")
    ][:1]
    assert "**" not in line  # shown, not ranked: its mean is of other clips
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert set(summary["wins"]["soft"]["ai"]) == {"grad-cam++"}
    assert set(summary["wins"]["top10"]["ad"]) == {"grad-cam++", "random", "energy"}

    larger = ("--methods", "rise,grad-cam++", "--limit", "5", "--slow-limit", "3")
    assert evaluate(tone_set, tmp_path / "larger", *larger) == 0
    rows = read_rows(tmp_path / "larger" / "results.csv")
    more = {row["path"] for row in rows if row["stft/rise/soft/ff"]}
    assert len(rows) == 5 and len(more) == 3 and set(few) < more


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
    box = {"box": BoxExplainer(planted_backend), "outside": InvertedBoxExplainer(planted_backend)}
    judge = judge_of(planted_backend, ("beep", "rain"), **box)
    clip = ClipEntry("beep.wav", tmp_path / "beep.wav", "beep")
    (row,) = judge_clips(judge, [clip], open_rows(tmp_path / "out", judge), quiet=True)
    assert row["predicted"] == "beep" and row["rank"] == 1.0 and row["probability"] > 0.95
    inside, outside = "stft/box", "stft/outside"
    assert row[f"{inside}/soft/fid_in"] == 1.0 and row[f"{outside}/soft/fid_in"] == 0.0
    assert row[f"{inside}/soft/ad"] < 1.0 and row[f"{outside}/soft/ad"] > 90.0
    assert row[f"{inside}/soft/ff"] > 0.85 and row[f"{outside}/soft/ff"] < 0.05
    assert abs(row[f"{inside}/soft/top1_change"]) < 1.0 and row[f"{outside}/soft/top1_change"] < -85.0
    assert row[f"{outside}/soft/top2_change"] == pytest.approx(-row[f"{outside}/soft/top1_change"], rel=1e-4)
    assert f"{inside}/soft/top3_change" not in row  # there are two prompts
    # The box has 4 % of the cells: without the top 5 % nothing is left to hear, with them everything is.
    assert row[f"{inside}/curve/deletion_5"] < 0.1 and row[f"{inside}/curve/insertion_5"] > 0.95
    assert row[f"{inside}/curve/deletion_auc"] < 0.1 < 0.3 < row[f"{outside}/curve/deletion_auc"]
    assert row[f"{inside}/curve/insertion_auc"] > 0.9 > 0.6 > row[f"{outside}/curve/insertion_auc"]


def test_controls_have_the_values_that_their_definition_gives(tone_set, tmp_path, debug_backend):
    judge = judge_of(debug_backend, ("high tone", "low tone"), ("stft", "mel"))
    results = open_rows(tmp_path / "out", judge)
    contamination = Contamination(3.0, 0, entries(tone_set))
    rows = judge_clips(judge, entries(tone_set), results, ("none", "white"), contamination, quiet=True)
    assert len(rows) == 10
    for row in rows:
        # The full mask keeps everything. Of the constant one, both parts are the whole, 6 dB quieter, and this
        # CLAP does not mind levels.
        for name, mean in (("full", 1.0), ("constant", 0.5)):
            assert row[f"both/{name}/soft/ai"] == 0.0 and row[f"both/{name}/soft/fid_in"] == 1.0
            assert row[f"both/{name}/soft/ad"] < 0.01 and row[f"both/{name}/soft/ag"] < 0.01
            assert row[f"both/{name}/soft/mm"] == mean and row[f"both/{name}/soft/sps"] < 1e-12
            assert f"both/{name}/top10/ad" not in row
        assert row["both/constant/soft/ff"] == pytest.approx(0.0, abs=1e-4)
        for domain in ("stft", "mel"):
            assert row[f"{domain}/random/soft/mm"] == pytest.approx(0.5, abs=0.02)
            # Gini index of a uniform distribution
            assert row[f"{domain}/random/soft/sps"] == pytest.approx(1 / 3, abs=0.02)
            assert 0 <= row[f"{domain}/energy/top20/ad"] <= 100
        assert (f"both/{IDEAL}/soft/ff" in row) == (row["condition"] == "white")
    assert "error" not in rows[0]


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_control_masks_are_normalised_and_seeded(debug_backend, domain):
    waveform = torch.randn(8000, generator=torch.Generator().manual_seed(0))

    def control(name: str, seed: str = "0 a.wav") -> torch.Tensor:
        return control_mask(name, waveform, debug_backend, domain, seed)

    for name, largest in (("full", 1.0), ("constant", 0.5), ("random", 1.0), ("energy", 1.0)):
        assert control(name).shape == ((257, 26) if domain == "stft" else (32, 26))
        assert control(name).max() == largest
    assert torch.equal(control("random"), control("random"))
    assert not torch.equal(control("random"), control("random", "1 a.wav"))
    power = stft(waveform[None], debug_backend.spectral)[0].abs().square()
    cells = power if domain == "stft" else debug_backend.mel_filters @ power
    assert torch.equal(control("energy").flatten().argsort()[-50:], cells.flatten().argsort()[-50:])
    with pytest.raises(ValueError, match="separate"):
        control(IDEAL)


class EmptyExplainer(BoxExplainer):
    """Nothing speaks for any prompt."""

    def masks(self, audio, text: TextState) -> torch.Tensor:
        return torch.zeros(audio.stft.shape)


def test_an_empty_mask_keeps_nothing_at_any_area(planted_backend, tmp_path):
    write_tone(tmp_path / "beep.wav", 1250, seconds=2.0, level=1.0, start=0.9)
    judge = judge_of(planted_backend, ("beep", "rain"), empty=EmptyExplainer(planted_backend))
    clip = ClipEntry("beep.wav", tmp_path / "beep.wav", "beep")
    (row,) = judge_clips(judge, [clip], open_rows(tmp_path / "out", judge), quiet=True)
    for form in ("soft", "top10", "top20"):
        assert row[f"stft/empty/{form}/ff"] == 0.0 and row[f"stft/empty/{form}/fid_in"] == 0.0
    assert row["stft/empty/curve/deletion_auc"] == pytest.approx(row["probability"], abs=1e-5)
    assert row["stft/empty/curve/insertion_auc"] < 0.05
    assert (row["stft/empty/soft/sps"], row["stft/empty/soft/mm"]) == (0.0, 0.0)


def test_empty_masks_are_counted_and_tabled_without_them():
    judge = Judge(None, ("a",), (Contender("ours", "stft", object()),))
    row = {
        "condition": "none",
        "path": "x",
        "predicted": "a",
        "rank": 1.0,
        "probability": 0.5,
        "silence": 0.1,
    }
    columns = score_columns(judge.contenders[0], judge.shares)
    filled = row | {column: 0.5 for column in columns}
    empty = row | {column: 0.0 for column in columns}
    failed = {"condition": "none", "path": "z", "error": "unreadable"}
    summary = explanation_summary([filled, empty, failed], judge, ("none",), ("stft",))
    assert (summary["n_clips"], summary["n_failed"]) == (2, 1)
    table = summary["conditions"]["none"]
    assert (table["n_clips"], table["n_failed"], table["top1_percent"]) == (2, 1, 100.0)
    found = table["domains"]["stft"]
    assert found["forms"]["soft"]["ours"]["ff"] == {"mean": 0.25, "median": 0.25, "n": 2, "n_empty": 1}
    assert found["forms"]["top10"]["ours"]["ff"] == {"mean": 0.25, "median": 0.25, "n": 2, "n_empty": 1}
    assert found["without_empty"]["ours"]["ff"] == {"mean": 0.5, "median": 0.5, "n": 1, "n_empty": 1}
    assert found["curves"]["ours"]["deletion"] == [0.25] * 4 and found["curves"]["ours"]["n"] == 2
    assert (found["curves"]["ours"]["whole"], found["curves"]["ours"]["silence"]) == (0.5, 0.1)


def test_contests_are_counted_over_settings_and_among_those_that_compete():
    explainer = object()
    names = ("ours", "theirs", "slow")
    own = tuple(Contender(name, "stft", explainer) for name in names)
    controls = (
        Contender("full", "stft", shared=True),
        Contender("random", "stft"),
        Contender("energy", "stft"),
    )
    judge = Judge(None, ("a",), (*own, *controls), {"slow": frozenset({"x"})})
    values = {
        "ours": (10.0, 20.0),
        "theirs": (30.0, 20.0),
        "slow": (0.0, 0.0),
        "energy": (5.0, 50.0),
        "full": (0.0, 0.0),
    }
    rows = []
    for index, condition in enumerate(("none", "white")):
        row = {"condition": condition, "path": "x", "predicted": "a", "rank": 1.0, "probability": 0.5}
        for contender in judge.contenders:
            for form in contender.forms:
                row[f"{contender.key}/{form}/ff"] = 0.1
                row[f"{contender.key}/{form}/ad"] = values.get(contender.name, (90.0, 90.0))[index]
        rows.append(row)
    summary = explanation_summary(rows, judge, ("none", "white"), ("stft",))
    assert summary["n_settings"] == 2
    assert summary["wins"]["soft"]["ad"] == {"ours": 2, "theirs": 1}  # a draw counts for both
    assert summary["wins"]["top10"]["ad"] == {"ours": 1, "theirs": 1, "random": 0, "energy": 1}


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


def test_ideal_ratio_masks_share_out_the_mixture(debug_backend):
    time = torch.arange(RATE) / RATE
    first, second = (torch.sin(2 * torch.pi * hertz * time) for hertz in (500, 2000))
    power = [stft(sound[None], debug_backend.spectral).abs().square() for sound in (first, second)]
    mask, other = ideal_ratio_mask(*power)[0], ideal_ratio_mask(*reversed(power))[0]
    assert torch.allclose(mask + other, torch.ones_like(mask), atol=1e-5)
    # Rows of 31.25 Hz: 500 Hz and 2 kHz; the reflected edge of the first frame smears both tones.
    assert mask[16, 1:].mean() > 0.99 and mask[64, 1:].mean() < 0.01
    assert ideal_ratio_mask(torch.zeros(2), torch.zeros(2)).tolist() == [0, 0]
    assert torch.equal(control_mask(IDEAL, first + second, debug_backend, "stft", "", (first, second)), mask)


def two_tones(folder: Path) -> list[ClipEntry]:
    write_tone(folder / "beep.wav", 1250, seconds=2.0, level=0.2)
    write_tone(folder / "rain.wav", 4000, seconds=2.0, level=0.6)
    return [ClipEntry(f"{name}.wav", folder / f"{name}.wav", name) for name in ("beep", "rain")]


def test_mixtures_at_zero_decibels_measure_what_a_mask_brings_out(tmp_path, planted_backend):
    judge = judge_of(planted_backend, ("beep", "rain"), box=BoxExplainer(planted_backend))
    plans = plan_mixtures(two_tones(tmp_path), 1)
    (row,) = judge_mixtures(judge, plans, open_mixture_rows(tmp_path / "out", judge), quiet=True)
    beep, rain = ("a", "b") if row["label_a"] == "beep" else ("b", "a")
    assert abs(row["gain_db"]) == pytest.approx(20 * math.log10(3), abs=0.01)  # the level of a is kept
    assert row["mixture_si_sdr_a"] == pytest.approx(0.0, abs=0.05)
    assert row["mixture_si_sdr_b"] == pytest.approx(0.0, abs=0.05)
    # The box holds no 4 kHz, but only a third of the beep: -4.6 dB at best ... and nothing at all of the
    # other sound.
    share = 32 / 100
    assert row[f"stft/box/soft/si_sdr_i_{beep}"] == pytest.approx(
        10 * math.log10(share / (1 - share)), abs=0.5
    )
    assert row[f"stft/box/soft/si_sdr_i_{rain}"] < -20
    assert row[f"stft/box/soft/on_target_{beep}"] > 0.999 > 0.001 > row[f"stft/box/soft/on_target_{rain}"]
    assert row["stft/box/soft/mask_cosine"] == pytest.approx(
        1.0
    )  # this explainer does not look at the prompt
    assert row["both/full/soft/si_sdr_i_a"] == pytest.approx(0.0, abs=1e-3)
    for side in "ab":
        assert row[f"both/full/soft/on_target_{side}"] == pytest.approx(0.5, abs=0.01)  # 0 dB
        assert row[f"both/{IDEAL}/soft/si_sdr_i_{side}"] > 25
        assert row[f"both/{IDEAL}/soft/on_target_{side}"] > 0.999
        assert row[f"both/{IDEAL}/soft/pointing_{side}"] == 1.0
    # Every cell of the full mask is its largest one, and each belongs to one of the two.
    assert row["both/full/soft/pointing_a"] + row["both/full/soft/pointing_b"] == pytest.approx(1.0, abs=1e-3)
    summary = mixture_summary([row, {"mixture": "0001", "error": "unreadable"}], judge, ("stft",))
    assert (summary["n_mixtures"], summary["n_failed"]) == (1, 1)
    found = summary["domains"]["stft"]["soft"]["box"]
    assert found["si_sdr_i_known"]["n"] == found["si_sdr_i"]["n"] == 2
    both = [row[f"stft/box/soft/si_sdr_i_{side}"] for side in "ab"]
    assert found["si_sdr_i"]["mean"] == pytest.approx(sum(both) / 2)


def test_methods_get_the_mixture_and_never_the_sources(tmp_path, planted_backend):
    seen = []

    class Listening(BoxExplainer):
        def masks(self, audio, text):
            seen.append((audio.waveform.clone(), text.prompts))
            return super().masks(audio, text)

    clips = two_tones(tmp_path)
    judge = judge_of(planted_backend, ("beep", "rain"), box=Listening(planted_backend))
    judge_mixtures(judge, plan_mixtures(clips, 1), open_mixture_rows(tmp_path / "out", judge), quiet=True)
    sources = [load_clip(clip.file).waveform for clip in clips]
    assert {prompts for _, prompts in seen} == {
        ("this is the sound of beep",),
        ("this is the sound of rain",),
    }
    for waveform, _ in seen:
        for source in sources:
            # 0 dB: half of what is heard is the other
            assert abs(si_sdr(waveform, source.unsqueeze(0)).item()) < 0.1


def test_a_mixture_with_an_unreadable_clip_or_a_method_that_fails_is_a_row_with_an_error(
    tmp_path, debug_backend
):
    clips = two_tones(tmp_path)
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    clips.append(ClipEntry("noise.wav", tmp_path / "noise.wav", "high noise"))
    judge = judge_of(debug_backend, ("beep", "rain", "high noise"), picky=AfraidOfHighPrompts(debug_backend))
    rows = judge_mixtures(
        judge, plan_mixtures(clips, 3), open_mixture_rows(tmp_path / "out", judge), quiet=True
    )
    broken = ["noise.wav" in (row["path_a"], row["path_b"]) for row in rows]
    assert sum(broken) == 2
    for row, fails in zip(rows, broken, strict=True):
        assert ("noise.wav" in row.get("error", "")) == fails == ("rank_a" not in row)
    write_tone(tmp_path / "noise.wav", 700)
    rows = judge_mixtures(
        judge, plan_mixtures(clips, 3), open_mixture_rows(tmp_path / "out", judge), quiet=True
    )
    for row, fails in zip(rows, broken, strict=True):
        assert (
            ("no high prompts" in row.get("error", "")) == fails == ("stft/picky/soft/si_sdr_i_b" not in row)
        )
        assert "stft/energy/top10/si_sdr_i_b" in row


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
    results = ResultRows(
        tmp_path / "results.csv", zero_shot.KEYS, zero_shot.TEXT_COLUMNS, zero_shot.NUMBER_COLUMNS, SETTINGS
    )
    judge = Judge(planted_backend, ("beep", "rain"))
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
