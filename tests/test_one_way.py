"""One clip, prompt and method through every route: Python, command line, evaluate, explain-many, endpoint and page."""

import csv
import json

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
import torch

from lmaczs import results
from lmaczs.clap import load_backend
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.cli import main
from lmaczs.data.clips import Clip
from lmaczs.evaluation.clips import ClipEvaluation, evaluate_clips
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.scores import ScoreTable
from lmaczs.explainers import METHODS, load_explainer
from lmaczs.explainers.l2i import explainer as l2i
from lmaczs.explainers.l2i.networks import Interpreter
from lmaczs.explainers.lmac_zs import explainer as lmac_zs
from lmaczs.hearing import explain, listen
from lmaczs.hub import save_release
from lmaczs.metrics.registry import explanation_keys
from lmaczs.signal.audio import load_clip
from lmaczs.ui import archive, endpoints
from lmaczs.ui.endpoints import Endpoints
from lmaczs.ui.handlers import Handlers
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio
from tests.quick_methods import quick

LABELS = ("beep", "rain", "dog", "siren")
PROMPTS = prompts_from_labels(LABELS)
RATE = 16000
CLOSE = {"rel": 1e-6, "abs": 1e-6}


def sound(seconds: float, seed: int) -> np.ndarray:
    """Bursts of changing pitch in noise."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(0, 0.05, len(time_s))
    pitch = 500 + 150 * (np.floor(time_s / 0.7) % 7)
    return (noise + 0.4 * np.sin(2 * np.pi * pitch * time_s) * (time_s % 0.9 < 0.4)).astype(np.float32)


RECORDINGS = {
    "two-seconds": lambda: sound(2, 1),
    "five-seconds": lambda: sound(5, 2),
    "twelve-seconds": lambda: sound(12, 3),
    "long": lambda: sound(47, 4),
    "silent-minutes": lambda: np.concatenate(
        [np.zeros(61 * RATE), sound(3, 5), np.zeros(62 * RATE), sound(5, 6), np.zeros(9 * RATE)]
    ).astype(np.float32),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings, prompts, a table of both, and releases of trained methods for the smallest classifier."""
    folder = tmp_path_factory.mktemp("one-way")
    clips = folder / "clips"
    clips.mkdir()
    for name, make in RECORDINGS.items():
        soundfile.write(clips / f"{name}.wav", make(), RATE, subtype="FLOAT")
    with (folder / "clips.csv").open("w", newline="") as file:
        labels = zip(RECORDINGS, [*LABELS, "rain"], strict=True)
        csv.writer(file).writerows(
            [("path", "label"), *((f"clips/{name}.wav", label) for name, label in labels)]
        )
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    return folder


@pytest.fixture(scope="module", autouse=True)
def releases(folder):
    """Trained methods with random weights, found by name as a user's own releases are."""
    backend, places = load_backend("debug", "cpu"), []
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(3)
        for domain in ("stft", "mel"):
            decoder = lmac_zs.build_decoder(backend, lmac_zs.decoder_config(backend, domain))
            # Untrained, it would expect no gain from any mask, and call every prompt absent.
            torch.nn.init.constant_(decoder.worth[-1].bias, 0.7)
            config = lmac_zs.release_config(backend, decoder, "contrast")
            save_release(folder / f"lmac-zs-{domain}", "lmac-zs", config, decoder.state_dict())
            places.append(f"lmac-zs-debug-{domain}={folder / f'lmac-zs-{domain}'}")
        for name, prompts in (("open", None), ("esc50", PROMPTS)):
            shape = l2i.interpreter_config(backend, 6, classes=None if prompts is None else len(prompts))
            interpreter = Interpreter(shape)
            interpreter.dictionary.uniform_(0, 1)
            config = l2i.release_config(backend, interpreter, prompts)
            save_release(folder / f"l2i-{name}", "l2i", config, interpreter.state_dict())
            places.append(f"l2i-{name}-debug={folder / f'l2i-{name}'}")
        patch.setenv("LMACZS_RELEASES", " ".join(places))
        # Pictures have tests of their own, and take longer than all the rest.
        for module in (results, endpoints):
            patch.setattr(
                module, "save_explanation_figure", lambda result, path, label: path.write_bytes(b"")
            )
        for name in METHODS:
            patch.setitem(METHODS, name, quick(name))
        yield


@pytest.fixture(scope="module")
def by_library(folder):
    """(recording, method) -> result of the library, computed once."""
    backend, kept = load_backend("debug", "cpu"), {}
    opened = {name: listen(load_clip(folder / "clips" / f"{name}.wav"), backend) for name in RECORDINGS}

    def found(recording, method):
        if (recording, method) not in kept:
            explainer = load_explainer(method, backend)
            kept[recording, method] = explain(opened[recording], PROMPTS, backend, explainer)
        return kept[recording, method]

    return found


every_method = pytest.mark.parametrize("method", METHODS)
every_recording = pytest.mark.parametrize("recording", RECORDINGS)


def same(row, mask, expected):
    """The numbers of result.json and the mask are those of the library."""
    assert row["target"] == expected.target and row["evidence"] == expected.explanation.evidence
    assert row["prediction"]["probabilities"] == pytest.approx(
        expected.prediction.probabilities.tolist(), **CLOSE
    )
    assert row["target_similarity"] == pytest.approx(expected.target_similarity, **CLOSE)
    finite = {key: value if np.isfinite(value) else None for key, value in expected.metrics.items()}
    assert set(row["metrics"]) == set(explanation_keys()) == set(finite)
    for key, value in finite.items():
        assert row["metrics"][key] == (None if value is None else pytest.approx(value, **CLOSE)), key
    if mask is not None:
        np.testing.assert_allclose(mask, expected.explanation.mask.numpy(), rtol=0, atol=1e-6)


@every_method
@every_recording
def test_the_command_line(folder, by_library, recording, method, capsys):
    out = folder / "explained" / method / recording
    arguments = [str(folder / "clips" / f"{recording}.wav"), "--prompts-file", str(folder / "prompts.txt")]
    model = ["--backend", "debug", "--device", "cpu", "--method", method]
    assert main(["explain", *arguments, *model, "--out", str(out)]) == 0
    row = json.loads((out / "result.json").read_text())
    same(row, np.load(out / "mask.npz")["mask"], by_library(recording, method))
    kept = soundfile.read(out / "kept.wav", dtype="float32")[0]
    np.testing.assert_allclose(kept, by_library(recording, method).listening.kept.waveform, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def studio():
    """The page's own, with the smallest classifier."""
    found = Studio(Settings(backend="debug", device="cpu"))
    yield found
    found.queue.shutdown()


@every_method
@every_recording
def test_the_endpoint(folder, by_library, studio, recording, method):
    upload = {"path": str(folder / "clips" / f"{recording}.wav"), "meta": {"_type": "gradio.FileData"}}
    row, kept, *_ = next(Endpoints(studio).explain(upload, PROMPTS, None, method))
    same(row, None, by_library(recording, method))


@every_method
@every_recording
def test_the_page(folder, by_library, studio, recording, method, monkeypatch, tmp_path):
    expected = by_library(recording, method)
    handlers, path = Handlers(studio), str(folder / "clips" / f"{recording}.wav")
    *_, last = handlers.explain(path, PROMPTS, expected.prediction.predicted, [method])
    (shown,) = last.player["results"]
    assert set(shown["metrics"]) == set(expected.metrics)
    for key, value in expected.metrics.items():
        assert shown["metrics"][key] == (pytest.approx(value, **CLOSE) if np.isfinite(value) else None), key
    written = []
    monkeypatch.setattr(archive, "write_explanation", lambda result, *rest: written.append(result))
    list(handlers.archive(path, PROMPTS, expected.prediction.predicted, method))
    np.testing.assert_allclose(written[0].explanation.mask, expected.explanation.mask, rtol=0, atol=1e-6)


class SoftOnly(Contender):
    """Scored as its masks come: equal areas and curves have no other route to be compared with."""

    forms = ("soft",)


@every_method
@every_recording
def test_an_evaluation(folder, by_library, recording, method, tmp_path):
    expected, backend = by_library(recording, method), load_backend("debug", "cpu")
    contender = SoftOnly(method, load_explainer(method, backend))
    clip = Clip(f"{recording}.wav", folder / "clips" / f"{recording}.wav", "rain")
    evaluation = ClipEvaluation(MaskEvaluator(backend, LABELS), (contender,))
    (row,) = evaluate_clips(evaluation, [clip], ScoreTable(tmp_path, {}), quiet=True)
    assert PROMPTS[LABELS.index(row["predicted"])] == expected.target
    assert row["similarity"] == pytest.approx(expected.target_similarity, **CLOSE)
    assert row[f"stft/{method}/soft/absent"] == 100.0 * (expected.explanation.evidence == "absent")
    for key, value in expected.metrics.items():
        assert row.get(f"stft/{method}/soft/{key}", np.nan) == pytest.approx(value, nan_ok=True, **CLOSE), key


@every_method
def test_explain_many(folder, by_library, method):
    out = folder / "many" / method
    arguments = [str(folder / "clips"), "--prompts-file", str(folder / "prompts.txt"), "--method", method]
    model = ["--backend", "debug", "--device", "cpu"]
    assert main(["explain-many", *arguments, *model, "--save", "mask", "--out", str(out)]) == 0
    (file,) = out.rglob("*.parquet")
    rows = pyarrow.parquet.read_table(file).to_pylist()
    assert len(rows) == len(RECORDINGS)
    for row in rows:
        expected = by_library(row["path"].rsplit("/", 1)[-1].removesuffix(".wav"), method)
        assert row["prompt"] == expected.target and row["evidence"] == expected.explanation.evidence
        assert row["probabilities"] == pytest.approx(expected.prediction.probabilities.tolist(), **CLOSE)
        for key, value in expected.metrics.items():
            assert row[key] == (pytest.approx(value, **CLOSE) if np.isfinite(value) else None), key
        mask = np.load(next((out / row["files"]).glob("mask.npz")))["mask"]
        np.testing.assert_allclose(mask, expected.explanation.mask.numpy(), rtol=0, atol=1e-6)
