"""Evaluations end to end, on small sets made here and on a backend whose right explanation is known."""

import inspect
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.image import imread

from lmaczs.cli import main
from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError
from lmaczs.evaluation import clips as clips_module
from lmaczs.evaluation import mixtures, zero_shot
from lmaczs.evaluation.clips import ClipEvaluation, evaluate_clips
from lmaczs.evaluation.conditions import Contamination
from lmaczs.evaluation.confusion import save_confusion_picture
from lmaczs.evaluation.contenders import Contender, contenders, load_methods
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.masks import IDEAL, Control, control_mask, ideal_ratio_mask
from lmaczs.evaluation.mixtures import evaluate_mixtures, plan_mixtures
from lmaczs.evaluation.provenance import method_sha256, sound_sha256
from lmaczs.evaluation.scores import ScoreTable
from lmaczs.evaluation.summary import evaluation_summary, mixture_summary
from lmaczs.explainers.base import MethodEntry, WindowMaps, WindowMethod
from lmaczs.explainers.gradcam import GradCAMPlusPlus
from lmaczs.explainers.lmac_zs.explainer import build_decoder, decoder_config, release_config
from lmaczs.hearing import embed, explain, explain_clip, listen
from lmaczs.hub import save_release
from lmaczs.metrics import registry
from lmaczs.metrics.localisation import si_sdr
from lmaczs.metrics.registry import METRICS, MetricEntry, explanation_keys
from lmaczs.metrics.shape import binarise_top
from lmaczs.signal.audio import load_clip
from lmaczs.signal.masking import masked_waveform, mel_mask_to_stft
from lmaczs.signal.spectral import stft

RATE = 16000
SETTINGS = {"run": 1}


def write_tone(
    path: Path, hertz: float, seconds: float = 1.0, level: float = 0.3, start: float = 0.0
) -> None:
    """A tone from `start` on, in quiet noise."""
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


def stored(out: Path) -> dict:
    """(condition, clip) -> row of a finished run."""
    return ScoreTable(out, {}).rows


def entries(table: Path) -> list[Clip]:
    lines = [line.split(",") for line in table.read_text("utf-8").splitlines()[1:]]
    return [Clip(path, table.parent / path, label) for path, label in lines]


def evaluation_of(backend, labels, domains=("stft",), contamination=None, **methods) -> ClipEvaluation:
    everyone = contenders(methods.items(), domains, backend)
    return ClipEvaluation(MaskEvaluator(backend, labels), everyone, contamination or Contamination())


def score(evaluation: ClipEvaluation, clips, out: Path, conditions=("none",)) -> list[dict]:
    return evaluate_clips(evaluation, clips, ScoreTable(out, SETTINGS), conditions, quiet=True)


# --- files that cannot be used, and runs that were cut short


def test_good_corrupt_and_silent_file_give_three_rows_and_exit_code_1(mixed_set, tmp_path, capsys, pictures):
    assert evaluate(mixed_set, tmp_path / "out") == 1
    rows = {clip: row for (_, clip), row in stored(tmp_path / "out").items()}
    assert list(rows) == ["good.wav", "corrupt.wav", "silent.wav"]
    assert "error" not in rows["good.wav"] and math.isfinite(rows["good.wav"]["stft/grad-cam++/soft/ff"])
    assert "corrupt.wav" in rows["corrupt.wav"]["error"] and "predicted" not in rows["corrupt.wav"]
    assert "silent" in rows["silent.wav"]["error"] and "stft/energy/top10/ad" not in rows["silent.wav"]
    assert not any(str(tmp_path) in row.get("error", "") for row in rows.values())
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert (summary["n_clips"], summary["n_failed"]) == (1, 2)
    assert summary["conditions"]["none"]["domains"]["stft"]["forms"]["soft"]["grad-cam++"]["ff"]["n"] == 1
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    for words in ("| grad-cam++ |", "| energy |", "AD ↓ [%]", "1 clips, 2 failed", "Nothing found [%]"):
        assert words in text
    assert capsys.readouterr().out.strip() == text.strip()
    for picture in ("metrics.svg", "curves.svg", "mask_mean.svg"):
        drawn = ElementTree.parse(tmp_path / "out" / picture).getroot()
        assert f"]({picture})" in text and float(drawn.get("height").removesuffix("pt")) > 150
        assert "Date" not in (tmp_path / "out" / picture).read_text("utf-8")


def test_a_set_without_one_usable_file_has_a_report_too(mixed_set, tmp_path, pictures):
    table = write_table(tmp_path, {"corrupt.wav": "tone", "silent.wav": "rain"})
    assert evaluate(table, tmp_path / "out") == 1
    assert "0 clips, 2 failed" in (tmp_path / "out" / "summary.md").read_text("utf-8")


@pytest.fixture
def scored(monkeypatch):
    """(clip, contender) of every mask that is scored."""
    found = []
    real = MaskEvaluator.score

    def counted(self, method, recording, explanation, target, forms):
        found.append((recording.clip.name, f"{method.domain}/{method.name}"))
        return real(self, method, recording, explanation, target, forms)

    monkeypatch.setattr(MaskEvaluator, "score", counted)
    return found


def test_a_rerun_scores_nothing_again_until_a_broken_file_is_repaired(mixed_set, tmp_path, scored):
    evaluate(mixed_set, tmp_path / "out")
    before = stored(tmp_path / "out")
    assert len(scored) == 5  # grad-cam++, full, constant, random, energy: of the good clip alone
    scored.clear()
    assert evaluate(mixed_set, tmp_path / "out") == 1
    assert scored == [] and stored(tmp_path / "out") == before
    write_tone(tmp_path / "corrupt.wav", 700)
    assert evaluate(mixed_set, tmp_path / "out") == 1  # the silent one stays silent
    errors = ["error" in row for row in stored(tmp_path / "out").values()]
    assert sum(errors) == 1 and {clip for clip, _ in scored} == {"corrupt"} and len(scored) == 5


def test_another_sound_under_the_same_name_is_scored_again(tone_set, tmp_path, scored):
    """The contaminant counts as well: where it has changed, the clips that it lies over are other sounds."""
    options = ("--contaminate", "none,same")
    assert evaluate(tone_set, tmp_path / "out", *options) == 0
    over = {
        clip.path: Contamination(3.0, 0, entries(tone_set)).contaminant("same", clip).path
        for clip in entries(tone_set)
    }
    before = stored(tmp_path / "out")
    scored.clear()
    write_tone(tmp_path / "500.wav", 800)
    assert evaluate(tone_set, tmp_path / "out", *options) == 0
    changed = {key for key, row in stored(tmp_path / "out").items() if row["sound"] != before[key]["sound"]}
    expected = {("none", "500.wav"), ("same", "500.wav")}
    expected |= {("same", clip) for clip, other in over.items() if other == "500.wav"}
    assert changed == expected
    assert {clip for clip, _ in scored} == {Path(clip).stem for _, clip in expected}


EVERYTHING = ("--domains", "stft,mel", "--contaminate", "none,same", "--limit", "3", "--mixtures", "2")


def without_times(text: str) -> str:
    """A report without its run times, or a summary without them."""
    return re.sub(r'"times": \{.*?\n  \}', "", text.split("## Run time")[0], flags=re.DOTALL)


def test_a_resumed_run_equals_the_uninterrupted_one(tone_set, tmp_path, monkeypatch):
    assert evaluate(tone_set, tmp_path / "whole", *EVERYTHING) == 0
    for module, name, allowed in ((MaskEvaluator, "score", 21), (mixtures, "energy_on_target", 5)):
        real, calls = getattr(module, name), []

        def some(*args, real=real, calls=calls, allowed=allowed):
            calls.append(1)
            if len(calls) > allowed:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(module, name, some)
        assert evaluate(tone_set, tmp_path / "parts", *EVERYTHING) == 130
        monkeypatch.setattr(module, name, real)
    # A file of a run that was killed while it wrote; what it held is done again.
    newest = max((tmp_path / "parts").glob("scores-*.parquet"))
    newest.write_bytes(newest.read_bytes()[:-9])
    assert evaluate(tone_set, tmp_path / "parts", *EVERYTHING) == 0
    for name in ("mixtures.csv", "contamination.csv", "summary.json", "summary.md"):
        parts, whole = ((tmp_path / run / name).read_text("utf-8") for run in ("parts", "whole"))
        assert without_times(parts) == without_times(whole), name
    assert len(list((tmp_path / "parts").glob("scores-*.parquet"))) == 1


def test_results_of_other_settings_are_never_mixed_in(tone_set, tmp_path, capsys):
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2") == 0
    capsys.readouterr()
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2", "--seed", "1") == 2
    error = capsys.readouterr().err
    assert "(seed)" in error and "another folder" in error and error.count("\n") == 1
    assert evaluate(tone_set, tmp_path / "out") == 0  # a larger limit goes on with the same settings
    assert len(stored(tmp_path / "out")) == 5
    write_table(tmp_path, {"300.wav": "low tone", "2500.wav": "low tone"})
    assert evaluate(tone_set, tmp_path / "out") == 2
    assert "table" in capsys.readouterr().err


def test_other_weights_of_the_classifier_are_refused(tone_set, tmp_path, capsys, monkeypatch):
    assert evaluate(tone_set, tmp_path / "out", "--limit", "1") == 0
    from lmaczs.clap.debug import build_debug

    other = build_debug().eval().requires_grad_(False)
    other.audio_projection.linear1.weight[0, 0] += 1e-3
    monkeypatch.setattr("lmaczs.clap.load_backend", lambda *_, **__: other)
    capsys.readouterr()
    assert evaluate(tone_set, tmp_path / "out", "--limit", "1") == 2
    assert "(backend_weights)" in capsys.readouterr().err


def test_a_condition_a_domain_or_a_method_can_be_added_to_a_finished_run(tone_set, tmp_path, scored):
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2") == 0
    before = stored(tmp_path / "out")
    scored.clear()
    more = ("--methods", "grad-cam++,grad-cam", "--domains", "stft,mel")
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2", *more) == 0
    added = {"stft/grad-cam", "mel/grad-cam++", "mel/grad-cam", "mel/random", "mel/energy"}
    assert {key for _, key in scored} == added and len(scored) == 2 * len(added)
    for key, row in stored(tmp_path / "out").items():
        assert before[key].items() <= row.items()
    scored.clear()
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2", *more, "--again", "grad-cam") == 0
    assert {key for _, key in scored} == {"stft/grad-cam", "mel/grad-cam"} and len(scored) == 4
    scored.clear()
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2", *more, "--contaminate", "white") == 0
    conditions = [condition for condition, _ in stored(tmp_path / "out")]
    assert sorted(conditions) == ["none"] * 2 + ["white"] * 2  # nothing is thrown away
    assert {key for _, key in scored} == added | {
        "stft/grad-cam++", "stft/random", "stft/energy", "stft/full", "stft/constant", f"stft/{IDEAL}",
    }  # fmt: skip


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


# --- what made the scores


def test_options_of_a_method_decide_its_hash_too(debug_backend, planted_backend):
    first = method_sha256(GradCAMPlusPlus(debug_backend))
    assert (
        first
        == method_sha256(GradCAMPlusPlus(debug_backend))
        == method_sha256(GradCAMPlusPlus(planted_backend))
    )
    assert first != method_sha256(GradCAMPlusPlus(debug_backend, layer="block3"))
    assert first != method_sha256(GradCAMPlusPlus(debug_backend, "mel"))


def test_a_decoder_decides_the_hash_of_its_method(debug_backend):
    from lmaczs.explainers.lmac_zs.explainer import LMACZS, build_decoder, decoder_config

    decoder = build_decoder(debug_backend, decoder_config(debug_backend, "stft"))
    before = method_sha256(LMACZS.wrap(debug_backend, decoder))
    assert before == method_sha256(LMACZS.wrap(debug_backend, decoder))
    with torch.no_grad():
        next(decoder.parameters()).flatten()[0] += 1e-3
    assert before != method_sha256(LMACZS.wrap(debug_backend, decoder))


def test_a_sound_is_known_by_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    first = sound_sha256(tmp_path / "a", 3.0)
    assert first == sound_sha256(tmp_path / "b", 3.0) != sound_sha256(tmp_path / "b", 0.0)
    (tmp_path / "b").write_bytes(b"2")
    assert first != sound_sha256(tmp_path / "b", 3.0)
    assert sound_sha256(tmp_path / "missing") == sound_sha256(tmp_path / "missing")


# --- the numbers


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_an_evaluation_has_the_numbers_of_a_single_explanation(tone_set, tmp_path, debug_backend, domain):
    method = GradCAMPlusPlus(debug_backend, domain)
    evaluation = evaluation_of(debug_backend, ("high tone", "low tone", "rain"), (domain,), cam=method)
    rows = score(evaluation, entries(tone_set), tmp_path / "out")
    for entry, row in zip(entries(tone_set), rows, strict=True):
        result = explain_clip(load_clip(entry.file), evaluation.evaluator.prompts, debug_backend, method)
        assert row["predicted"] == evaluation.evaluator.labels[result.prediction.predicted]
        assert row["probability"] == pytest.approx(float(result.prediction.probabilities.max()), abs=1e-6)
        assert row["similarity"] == pytest.approx(result.target_similarity, abs=1e-6)
        assert set(explanation_keys()) == set(result.metrics)
        for key, value in result.metrics.items():
            assert row[f"{domain}/cam/soft/{key}"] == pytest.approx(value, abs=1e-6), key


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_forms_and_curves_are_measured_on_the_sound_of_the_top_cells(
    tone_set, tmp_path, debug_backend, domain
):
    method = GradCAMPlusPlus(debug_backend, domain)
    evaluation = evaluation_of(debug_backend, ("high tone", "low tone", "rain"), (domain,), cam=method)
    evaluator, entry = evaluation.evaluator, entries(tone_set)[0]
    (row,) = score(evaluation, [entry], tmp_path / "out")
    waveform, target = load_clip(entry.file).waveform, evaluator.labels.index(row["predicted"])
    recording = listen(load_clip(entry.file), debug_backend)
    mask = method.explain(recording, evaluator.target(target)).mask

    def probability(sound: torch.Tensor) -> float:
        return float(evaluator.logits(embed([sound], debug_backend)).double().softmax(1)[0, target])

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
    (row,) = stored(tmp_path / "out").values()
    points = {name.rsplit("/", 1)[1] for name in row if "energy/curve/" in name and not name.endswith("auc")}
    assert points == {"deletion_2.5", "deletion_50", "insertion_2.5", "insertion_50"}


class AfraidOfHighSounds(GradCAMPlusPlus):
    """Cannot explain what is loudest above 1 kHz."""

    def explain(self, recording, target, progress=lambda *_: None):
        power = stft(recording.clip.waveform[None], self.backend.spectral)[0].abs()
        if float(power.sum(1).argmax()) * RATE / self.backend.spectral.n_fft > 1000:
            raise LMACError("This method bears no high sounds.")
        return super().explain(recording, target, progress)


class AfraidOfHighPrompts(GradCAMPlusPlus):
    """Cannot explain prompts with the word "high"."""

    def explain(self, recording, target, progress=lambda *_: None):
        if "high" in target.prompt:
            raise LMACError("This method knows no high prompts.")
        return super().explain(recording, target, progress)


def test_a_method_that_fails_on_a_clip_leaves_the_clip_and_all_others_to_the_rest(
    tone_set, tmp_path, debug_backend
):
    methods = {"picky": AfraidOfHighSounds(debug_backend), "cam": GradCAMPlusPlus(debug_backend)}
    evaluation = evaluation_of(debug_backend, ("high tone", "low tone"), **methods)
    rows = score(evaluation, entries(tone_set), tmp_path / "out")
    high = [False, False, False, True, True]
    for row, fails in zip(rows, high, strict=True):
        assert ("stft/picky/soft/ff" not in row) == fails == ("stft/picky/failed/reason" in row)
        assert "stft/cam/soft/ff" in row and "stft/energy/top20/ad" in row and "error" not in row
    assert rows[-1]["stft/picky/failed/reason"] == "This method bears no high sounds."
    summary = evaluation_summary(rows, evaluation, ("none",), ("stft",))
    assert (summary["n_clips"], summary["n_failed"]) == (5, sum(high))
    soft = summary["conditions"]["none"]["domains"]["stft"]["forms"]["soft"]
    assert (soft["picky"]["ff"]["n"], soft["cam"]["ff"]["n"]) == (5 - sum(high), 5)


def test_slow_methods_are_scored_on_a_part_that_is_the_same_in_every_run(tone_set, tmp_path, monkeypatch):
    class Slow(GradCAMPlusPlus):
        """A method that says that it is slow."""

        entry: ClassVar[MethodEntry] = MethodEntry("rise", "Slow", "", "Stands in for a slow method.")

        def passes(self) -> float:
            return 500.0

    real = clips_module.__dict__ and __import__("lmaczs.evaluation.contenders", fromlist=["x"])
    load = real.load_explainer
    monkeypatch.setattr(
        real, "load_explainer",
        lambda name, backend, domain: Slow(backend, domain) if name == "rise" else load(name, backend, domain),
    )  # fmt: skip
    options = ("--methods", "rise,grad-cam++", "--limit", "4", "--slow-limit", "2", "--mixtures", "3")
    assert evaluate(tone_set, tmp_path / "out", *options) == 0
    rows = stored(tmp_path / "out")
    clips = {clip: row for (condition, clip), row in rows.items() if condition == "none"}
    few = [clip for clip, row in clips.items() if "stft/rise/soft/ff" in row]
    assert len(few) == 2 and all("stft/grad-cam++/soft/ff" in row for row in clips.values())
    assert {clips[clip]["label"] for clip in few} == {"low tone", "high tone"}
    mixed = {clip: row for (condition, clip), row in rows.items() if condition == "mixture"}
    assert [clip for clip, row in mixed.items() if "stft/rise/soft/si_sdr_i" in row] == ["0000/a", "0000/b"]
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| rise |") and line.endswith(" 2 |")]
    assert lines and not any(
        "*" in line for line in lines
    )  # shown, not ranked: it is a mean over other clips
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    assert set(summary["wins"]["soft"]["ai"]) == {"grad-cam++"}
    assert set(summary["wins"]["top10"]["ad"]) <= {"grad-cam++", "random", "energy"}

    larger = ("--methods", "rise,grad-cam++", "--limit", "5", "--slow-limit", "3")
    assert evaluate(tone_set, tmp_path / "larger", *larger) == 0
    rows = stored(tmp_path / "larger")
    more = {clip for (_, clip), row in rows.items() if "stft/rise/soft/ff" in row}
    assert len(rows) == 5 and len(more) == 3 and set(few) < more


@dataclass(frozen=True, eq=False)
class Box(WindowMethod):
    """Keeps the planted box, or everything but the box, at some level."""

    entry: ClassVar[MethodEntry] = MethodEntry("box", "Box", "", "Knows where the box is.")
    inverted: bool = False
    level: float = 1.0

    def passes(self) -> float:
        return 0.0

    def map_windows(self, audio, target, progress=lambda *_: None) -> WindowMaps:
        mask = torch.zeros(audio.stft.shape)
        mask[:, self.backend.box_bins, self.backend.box_frames] = 1.0
        return WindowMaps(
            self.level * (1 - mask if self.inverted else mask), torch.full((len(mask),), self.level > 0)
        )


def beep(folder: Path) -> Clip:
    """The planted CLAP hears 0.96 s to 1.6 s at about 1 kHz only: the tone fills that box and goes on after it."""
    write_tone(folder / "beep.wav", 1250, seconds=2.0, level=1.0, start=0.9)
    return Clip("beep.wav", folder / "beep.wav", "beep")


def test_the_planted_explanation_wins_and_its_opposite_loses(planted_backend, tmp_path):
    boxes = {"box": Box(planted_backend), "outside": Box(planted_backend, inverted=True)}
    (row,) = score(
        evaluation_of(planted_backend, ("beep", "rain"), **boxes), [beep(tmp_path)], tmp_path / "out"
    )
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
    assert row[f"{inside}/time/explain_s"] > 0 and row[f"{inside}/time/score_s"] > 0


def test_a_mask_is_scored_as_it_comes_and_at_equal_area_its_level_does_not_count(planted_backend, tmp_path):
    """A hundredth of the right mask keeps almost nothing, whatever its maximum is; its order of cells is as good."""
    boxes = {"box": Box(planted_backend), "faint": Box(planted_backend, level=0.01)}
    (row,) = score(
        evaluation_of(planted_backend, ("beep", "rain"), **boxes), [beep(tmp_path)], tmp_path / "out"
    )
    assert row["stft/box/soft/ff"] > 0.85 and row["stft/box/soft/ad"] < 1.0
    assert row["stft/faint/soft/ff"] < 0.05 and row["stft/faint/soft/ad"] > 90.0
    assert row["stft/faint/soft/mm"] == pytest.approx(0.01 * row["stft/box/soft/mm"])
    for form in ("top10", "top20"):
        assert row[f"stft/faint/{form}/ff"] == row[f"stft/box/{form}/ff"] > 0.85


def test_an_absent_explanation_keeps_nothing_at_any_area_and_is_counted(planted_backend, tmp_path):
    evaluation = evaluation_of(planted_backend, ("beep", "rain"), empty=Box(planted_backend, level=0.0))
    (row,) = score(evaluation, [beep(tmp_path)], tmp_path / "out")
    for form in ("soft", "top10", "top20"):
        assert row[f"stft/empty/{form}/ff"] == 0.0 and row[f"stft/empty/{form}/fid_in"] == 0.0
    assert row["stft/empty/curve/deletion_auc"] == pytest.approx(row["probability"], abs=1e-5)
    assert row["stft/empty/curve/insertion_auc"] < 0.05
    # Of no cells there is no sparseness: it is left out, and so cannot be the best of a table.
    assert "stft/empty/soft/sps" not in row and row["stft/empty/soft/mm"] == 0.0
    assert row["stft/empty/soft/absent"] == 100.0 and row["stft/random/soft/absent"] == 0.0
    soft = evaluation_summary([row], evaluation, ("none",), ("stft",))["conditions"]["none"]["domains"][
        "stft"
    ]["forms"]["soft"]
    assert (soft["empty"]["absent"]["mean"], soft["energy"]["absent"]["mean"]) == (100.0, 0.0)


def test_controls_have_the_values_that_their_definition_gives(tone_set, tmp_path, debug_backend):
    contamination = Contamination(3.0, 0, entries(tone_set))
    evaluation = evaluation_of(debug_backend, ("high tone", "low tone"), ("stft", "mel"), contamination)
    rows = score(evaluation, entries(tone_set), tmp_path / "out", ("none", "white"))
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
        assert "error" not in row


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


def test_a_control_goes_the_way_of_every_method(debug_backend, make_beep):
    recording = listen(make_beep(3.1), debug_backend)
    first, other = (Control(debug_backend, control="random").of_clip(name, None) for name in ("a", "b"))
    result = explain(recording, ["a beep", "rain"], debug_backend, first)
    assert result.explanation.evidence == "unknown" and set(result.metrics) == set(explanation_keys())
    assert torch.equal(
        result.explanation.mask, explain(recording, ["rain"], debug_backend, first).explanation.mask
    )
    assert not torch.equal(
        result.explanation.mask, explain(recording, ["rain"], debug_backend, other).explanation.mask
    )


# --- from scores to tables


def rows_of(
    values: dict[str, list[float]], column: str = "ad", form: str = "soft", condition: str = "none"
) -> list[dict]:
    """One row a clip with one metric of several methods."""
    rows = []
    for index in range(len(next(iter(values.values())))):
        row = {"condition": condition, "clip": str(index), "predicted": "a", "rank": 1.0, "probability": 0.5}
        row |= {f"stft/{name}/soft/ff": 0.1 for name in values}
        rows.append(row | {f"stft/{name}/{form}/{column}": value[index] for name, value in values.items()})
    return rows


def evaluation_with(backend, *names: str, **limits) -> ClipEvaluation:
    methods = [Contender(name, Box(backend)) for name in names]
    controls = [Contender(name, Control(backend, control=name)) for name in ("random", "energy")]
    return ClipEvaluation(MaskEvaluator(backend, ("a", "b")), (*methods, *controls), limits=limits)


def test_best_is_who_differs_from_everyone_and_others_are_tied(planted_backend):
    clips = np.random.default_rng(0).normal(50, 10, 40)
    jitter = np.random.default_rng(1).normal(0, 5, 40)
    jitter -= jitter.mean()
    evaluation = evaluation_with(planted_backend, "ours", "theirs", "slow", slow=frozenset({"0"}))

    def ranking(**values):
        rows = rows_of({name: list(value) for name, value in values.items()})
        found = evaluation_summary(rows, evaluation, ("none",), ("stft",))
        return found["conditions"]["none"]["domains"]["stft"]["ranking"]["soft"]["ad"], found["wins"]["soft"][
            "ad"
        ]

    # Lower is better. The slow method was scored on fewer clips, and a control is no rival of soft masks.
    best, wins = ranking(ours=clips, theirs=clips + 3, slow=clips - 9, energy=clips - 9)
    assert best == {"best": "ours", "tied": ()} and wins == {"ours": {"best": 1, "tied": 0}}
    tied, wins = ranking(ours=clips, theirs=clips + jitter)
    assert tied["best"] is None and set(tied["tied"]) == {"ours", "theirs"}
    assert wins == {name: {"best": 0, "tied": 1} for name in ("ours", "theirs")}


def test_at_equal_area_controls_compete_too(planted_backend):
    evaluation = evaluation_with(planted_backend, "ours")
    values = {"ours": [30.0, 31.0, 32.0], "energy": [20.0, 21.0, 22.0], "random": [90.0, 91.0, 92.0]}
    found = evaluation_summary(rows_of(values, form="top10"), evaluation, ("none",), ("stft",))
    assert found["conditions"]["none"]["domains"]["stft"]["ranking"]["top10"]["ad"]["best"] == "energy"


def test_sparseness_and_complexity_are_ranked_in_their_directions(planted_backend):
    evaluation = evaluation_with(planted_backend, "ours", "theirs")
    for key, best in (("sps", "ours"), ("comp", "theirs")):
        rows = rows_of({"ours": [0.9, 0.8, 0.9], "theirs": [0.5, 0.4, 0.5]}, key)
        found = evaluation_summary(rows, evaluation, ("none",), ("stft",))
        assert found["wins"]["soft"][key] == {best: {"best": 1, "tied": 0}}


def test_a_summary_says_value_interval_and_n(planted_backend):
    evaluation = evaluation_with(planted_backend, "ours")
    failed = {"condition": "none", "clip": "z", "error": "unreadable"}
    rows = [*rows_of({"ours": [10.0, 20.0, 60.0]}), failed]
    table = evaluation_summary(rows, evaluation, ("none",), ("stft",))["conditions"]["none"]
    assert (table["n_clips"], table["n_failed"], table["top1_percent"]) == (3, 1, 100.0)
    found = table["domains"]["stft"]["forms"]["soft"]["ours"]["ad"]
    assert (found["mean"], found["median"], found["n"]) == (pytest.approx(30.0), 20.0, 3)
    assert 10.0 <= found["low"] < 30.0 < found["high"] <= 60.0


def test_a_new_metric_is_found_by_explanations_evaluations_and_reports(tone_set, tmp_path, monkeypatch):
    toy = MetricEntry(
        "toy", "Toy metric", "0..1", "higher", "Largest cell of the mask.", scope="explanation",
        compute=lambda sample: float(sample.mask.max()),
    )  # fmt: skip
    monkeypatch.setitem(registry.METRICS, "toy", toy)
    assert evaluate(tone_set, tmp_path / "out", "--limit", "2") == 0
    assert all(row["stft/grad-cam++/soft/toy"] == 1.0 for row in stored(tmp_path / "out").values())
    text = (tmp_path / "out" / "summary.md").read_text("utf-8")
    assert "Toy metric ↑ [0..1]" in text and "Largest cell of the mask." in text
    assert "toy" in METRICS and "toy" in explanation_keys()


# --- mixtures

PAIRS = [Clip(f"{label}{n}", Path(f"{label}{n}"), label) for label in "abc" for n in range(4)]


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


def two_tones(folder: Path) -> list[Clip]:
    write_tone(folder / "beep.wav", 1250, seconds=2.0, level=0.2)
    write_tone(folder / "rain.wav", 4000, seconds=2.0, level=0.6)
    return [Clip(f"{name}.wav", folder / f"{name}.wav", name) for name in ("beep", "rain")]


def mix(evaluation: ClipEvaluation, plans, out: Path) -> list[dict]:
    return evaluate_mixtures(evaluation, plans, ScoreTable(out, SETTINGS), quiet=True)


def test_mixtures_at_zero_decibels_measure_what_a_mask_brings_out(tmp_path, planted_backend):
    evaluation = evaluation_of(planted_backend, ("beep", "rain"), box=Box(planted_backend))
    rows = mix(evaluation, plan_mixtures(two_tones(tmp_path), 1), tmp_path / "out")
    assert [row["clip"] for row in rows] == ["0000/a", "0000/b"]
    assert abs(rows[0]["gain_db"]) == pytest.approx(20 * math.log10(3), abs=0.01)  # the level of a is kept
    found = {row["label"]: row for row in rows}
    assert found["beep"]["contaminant"] == found["rain"]["source"] == "rain.wav"
    for row in rows:
        assert row["mixture_si_sdr"] == pytest.approx(0.0, abs=0.05)
        assert row["both/full/soft/si_sdr_i"] == pytest.approx(0.0, abs=1e-3)
        assert row["both/full/soft/on_target"] == pytest.approx(0.5, abs=0.01)  # 0 dB
        assert row[f"both/{IDEAL}/soft/si_sdr_i"] > 25
        assert row[f"both/{IDEAL}/soft/on_target"] > 0.999 and row[f"both/{IDEAL}/soft/pointing"] == 1.0
    # The box holds no 4 kHz, but only a third of the beep: -4.6 dB at best ... and nothing at all of the
    # other sound.
    share = 32 / 100
    beep, rain = found["beep"], found["rain"]
    assert beep["stft/box/soft/si_sdr_i"] == pytest.approx(10 * math.log10(share / (1 - share)), abs=0.5)
    assert rain["stft/box/soft/si_sdr_i"] < -20
    assert beep["stft/box/soft/on_target"] > 0.999 > 0.001 > rain["stft/box/soft/on_target"]
    assert rows[0]["stft/box/soft/mask_cosine"] == pytest.approx(
        1.0
    )  # this method does not look at the prompt
    # Every cell of the full mask is its largest one, and each belongs to one of the two.
    assert sum(row["both/full/soft/pointing"] for row in rows) == pytest.approx(1.0, abs=1e-3)
    broken = [{"condition": "mixture", "clip": f"0001/{side}", "error": "unreadable"} for side in "ab"]
    summary = mixture_summary([*rows, *broken], evaluation, ("stft",))
    assert (summary["n_mixtures"], summary["n_failed"]) == (1, 1)
    soft = summary["domains"]["stft"]["forms"]["soft"]["box"]
    assert soft["si_sdr_i_known"]["n"] == soft["si_sdr_i"]["n"] == soft["mask_cosine"]["n"] == 1
    assert soft["si_sdr_i"]["mean"] == pytest.approx(sum(row["stft/box/soft/si_sdr_i"] for row in rows) / 2)


def test_methods_get_the_mixture_and_never_the_sources(tmp_path, planted_backend):
    seen = []

    class Listening(Box):
        def map_windows(self, audio, target, progress=lambda *_: None):
            seen.append((audio.waveform.clone(), target.prompt))
            return super().map_windows(audio, target, progress)

    clips = two_tones(tmp_path)
    evaluation = evaluation_of(planted_backend, ("beep", "rain"), box=Listening(planted_backend))
    mix(evaluation, plan_mixtures(clips, 1), tmp_path / "out")
    sources = [load_clip(clip.file).waveform for clip in clips]
    assert {prompt for _, prompt in seen} == {"this is the sound of beep", "this is the sound of rain"}
    for waveform, _ in seen:
        for source in sources:
            # 0 dB: half of what is heard is the other
            assert abs(si_sdr(waveform, source.unsqueeze(0)).item()) < 0.1


def test_a_mixture_with_an_unreadable_clip_or_a_method_that_fails_is_a_row_with_a_reason(
    tmp_path, debug_backend
):
    clips = two_tones(tmp_path)
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    clips.append(Clip("noise.wav", tmp_path / "noise.wav", "high noise"))
    labels = ("beep", "rain", "high noise")
    evaluation = evaluation_of(debug_backend, labels, picky=AfraidOfHighPrompts(debug_backend))
    rows = mix(evaluation, plan_mixtures(clips, 3), tmp_path / "out")
    failed = ["noise.wav" in row.get("error", "") for row in rows]
    assert sum(failed) == 4 and [("rank" not in row) for row in rows] == failed
    write_tone(tmp_path / "noise.wav", 700)
    rows = mix(evaluation, plan_mixtures(clips, 3), tmp_path / "out")
    for row, fails in zip(rows, failed, strict=True):
        assert ("no high prompts" in row.get("stft/picky/failed/reason", "")) == fails
        assert ("stft/picky/soft/si_sdr_i" not in row) == fails and "error" not in row
        assert "stft/energy/top10/si_sdr_i" in row


# --- zero-shot classification


def test_zero_shot_counts_hits_ranks_and_clips_that_a_gain_changes(tmp_path, planted_backend):
    # In the planted CLAP a beep is a beep above a certain power; 12 dB around it decide.
    for name, level in {"loud": 1.0, "middle": 0.2, "quiet": 0.01}.items():
        write_tone(tmp_path / f"{name}.wav", 1250, seconds=2.0, level=level)
    clips = [Clip(f"{name}.wav", tmp_path / f"{name}.wav", "beep") for name in ("loud", "middle", "quiet")]
    clips.append(Clip("none.wav", tmp_path / "none.wav", "rain"))
    evaluator = MaskEvaluator(planted_backend, ("beep", "rain"))
    rows = zero_shot.evaluate_zero_shot(evaluator, clips, ScoreTable(tmp_path / "out", SETTINGS), quiet=True)
    predicted = [row.get("predicted") for row in rows]
    assert predicted[0] == "beep" and predicted[2] == "rain" and predicted[3] is None
    assert "none.wav" in rows[3]["error"]
    for index, gain in (("predicted_quiet", 10**-0.6), ("predicted_loud", 10**0.6)):
        scaled = embed([load_clip(clips[1].file).waveform * gain], planted_backend)
        assert rows[1][index] == evaluator.labels[int(evaluator.logits(scaled).argmax())]
    summary = zero_shot.zero_shot_summary(rows, evaluator.labels)
    assert (summary["n_clips"], summary["n_failed"], summary["chance_percent"]) == (3, 1, 50.0)
    assert summary["top1_percent"] == pytest.approx(100 * predicted.count("beep") / 3)
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


def test_one_method_with_two_releases_stands_in_a_table_under_two_names(debug_backend, tmp_path):
    decoder = build_decoder(debug_backend, decoder_config(debug_backend, "stft"))
    for objective in ("contrast", "paper"):
        config = release_config(debug_backend, decoder, objective)
        save_release(tmp_path / objective, "lmac-zs", config, decoder.state_dict())
    for name, objective in (("lmac-zs", "contrast"), ("lmac-zs-paper", "paper")):
        (method,) = load_methods(name, (str(tmp_path / objective),), debug_backend, ["stft"])
        assert method.objective == objective
    with pytest.raises(LMACError, match="no explainer 'lmac-zs-paper'"):
        load_methods("lmac-zs-paper", (), debug_backend, ["stft"])
