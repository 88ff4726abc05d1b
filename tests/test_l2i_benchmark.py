"""The L2I benchmark on miniature models: its measurements mean what their names say, and the page has a row for each."""

import csv
import json
import math
from functools import partial

import pytest
import soundfile
import torch
import torch.nn.functional as F

import l2i
import l2i_fidelity
import l2i_removal
import l2i_sounds
from l2i import Notebook
from l2i_figures import save_figures
from l2i_models import RELEASES, Models, decompose_each, load_windows, targets_of
from l2i_report import report
from lmaczs.clap.decisions import Head, HeadConfig, ZeroShotDecision, load_head, save_head
from lmaczs.data.clip_table import select_clips
from lmaczs.explainers.gradcam import GradCAMPlusPlus
from lmaczs.explainers.l2i.explainer import interpreter_config, release_config
from lmaczs.explainers.l2i.networks import Interpreter
from lmaczs.explainers.l2i.surrogates import build_surrogate, save_surrogate
from lmaczs.explainers.slime import SLIME
from lmaczs.hub import save_release

LABELS = ["bell", "dog", "rain", "siren"]
COMPONENTS = 7


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Models of the debug backend in a folder, and eight clips of four labels."""
    from lmaczs.clap import load_backend

    backend, folder = load_backend("debug", "cpu"), tmp_path_factory.mktemp("bench")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = Head(HeadConfig(tuple(LABELS), backend.hidden_channels[-1], True, (0.3,) * 4))
        save_head(folder / "classifier-tags", backend, head)
        explained = load_head(folder / "classifier-tags", backend).head
        for name, classes in (("l2i-esc50-compact", 4), ("l2i-open-compact", None), ("tags-l2i", 4)):
            shape = interpreter_config(backend, COMPONENTS, classes=classes)
            interpreter = Interpreter(shape, F.normalize(torch.rand(shape.bins, COMPONENTS), dim=0))
            torch.nn.init.constant_(interpreter.psi.last.bias, 0.5)
            prompts = None if classes is None else LABELS
            config = release_config(backend, interpreter, prompts, explained if name == "tags-l2i" else None)
            save_release(folder / name, "l2i", config, interpreter.state_dict())
        save_surrogate(folder / "vibi", backend, build_surrogate("vibi", backend, 4, 5))
    rows = []
    for index in range(8):
        time = torch.arange(2 * 16000) / 16000
        tone = 0.3 * torch.sin(2 * torch.pi * 300 * (1 + index % 4) * time)
        noise = 0.05 * torch.randn(len(time), generator=torch.Generator().manual_seed(index))
        soundfile.write(folder / f"4-{index // 2}-A-0{index}.wav", (tone + noise).numpy(), 16000)
        rows.append((f"4-{index // 2}-A-0{index}.wav", LABELS[index % 4], LABELS[index % 4], "esc50", "4"))
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "concept", "dataset", "fold"), *rows])
    return Models(backend, folder), load_windows(select_clips(folder / "clips.csv").clips, backend)


def test_fidelity_of_the_classifier_to_itself_is_perfect(bench, monkeypatch):
    models, heard = bench
    decision = ZeroShotDecision(models.backend, LABELS)
    monkeypatch.setattr(Models, "imitations", lambda *_: {"l2i": decision.logits})
    rows = l2i_fidelity.fidelity(models, "zero-shot", heard, LABELS)
    assert rows["L2I, attention"]["top-1"] == 100.0 and rows["L2I, attention"]["n"] == 8
    assert rows["L2I, attention"]["top-1 deviation"] == 0.0
    assert rows["control: mean decision"]["top-5"] == 100.0, "there are only four labels"


def test_every_interpreter_at_hand_has_a_row(bench):
    models, heard = bench
    rows = l2i_fidelity.fidelity(models, "zero-shot", heard, LABELS)
    assert set(rows) == {
        "L2I, attention",
        "L2I-open",
        "VIBI",
        "control: random order",
        "control: mean decision",
    }
    assert l2i_fidelity.fidelity(models, "head", heard, LABELS) == {}, "no head is at hand"


def test_parts_keep_one_recording_together(bench):
    _, heard = bench
    assert l2i_fidelity.parts_of(heard) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_removal_counts_what_it_removes(bench):
    models, heard = bench
    rows = l2i_removal.removal(models, "zero-shot", "l2i", heard, LABELS)
    counts = [rows[key]["chosen count"] for key in ("0.9", "0.7", "0.5", "0.3", "0.1")]
    assert rows["0.1"]["others count"] <= rows["0.1"]["chosen count"]
    assert list(rows) == ["0.9", "0.7", "0.5", "0.3", "0.1"] and counts == sorted(counts)
    for row in rows.values():
        assert row["n"] == 8 and row["random count"] == row["chosen count"]
        assert -1 <= row["chosen ff"] <= 1 and row["chosen energy"] <= 1


def test_removing_everything_or_nothing(bench):
    """All components gone is nearly silence; none gone is the sound itself, FF 0."""
    models, heard = bench
    decision = models.decision("zero-shot", LABELS)
    explainer = models.explainer("zero-shot", "l2i", decision)
    _, audio = next(heard.batches())
    _, target, before = l2i_removal.explained(decision, audio)
    targets = targets_of(decision, models.backend)
    activations, _ = decompose_each(explainer, audio, [targets[place] for place in target])
    for share, energy in ((False, 0.0), (True, 1.0)):
        choice = torch.full((8, COMPONENTS), share)
        gain = explainer.removal_gain(audio, activations, choice)
        after, gone = l2i_removal.without_gain(decision, audio, gain, target, models.backend)
        torch.testing.assert_close(gone, torch.full((8,), energy, dtype=torch.float64), atol=1e-3, rtol=0)
        if not share:
            torch.testing.assert_close(after, before, atol=1e-4, rtol=0)


def test_a_multi_label_head_counts_every_tag_that_it_gives(bench):
    models, heard = bench
    decision = models.decision("tags", ())
    _, audio = next(heard.batches())
    given = int(decision.given(decision.probabilities(decision.logits(audio))).sum())
    rows = l2i_removal.removal(models, "tags", "l2i", heard, ())
    assert rows["0.1"]["n"] == given > 0
    fidelity = l2i_fidelity.tag_fidelity(models, heard)
    assert fidelity["L2I, attention"]["n"] == 8 and "control: the same for all" in fidelity


def test_components_add_up(bench):
    models, heard = bench
    rows = l2i_sounds.adding_up(models, heard, LABELS)
    assert all(row["largest difference"] < 1e-4 for row in rows.values())


def test_corruption_leaves_what_is_kept_whole_as_it_was(bench):
    models, heard = bench
    noisy = l2i_sounds.corrupted(heard, l2i_sounds.CORRUPTIONS[0])
    ratio = heard.waveforms.square().mean(1) / (noisy - heard.waveforms).square().mean(1)
    torch.testing.assert_close(10 * ratio.log10(), torch.zeros(8), atol=0.2, rtol=0)
    other = l2i_sounds.corrupted(heard, l2i_sounds.CORRUPTIONS[1]) - heard.waveforms
    like = F.cosine_similarity(other[:, None], heard.waveforms[None], dim=2).argmax(1).tolist()
    assert all(heard.clips[a].label != heard.clips[b].label for a, b in enumerate(like))


def test_corruption_measures_what_each_method_keeps(bench, monkeypatch):
    """Everything kept brings nothing out; a row for each method, and for random components of each L2I."""
    models, heard = bench
    monkeypatch.setattr(l2i_sounds, "load_explainer", lambda name, backend: GradCAMPlusPlus(backend))
    tables = l2i_sounds.corruption(models, heard, LABELS)
    assert list(tables) == list(l2i_sounds.CORRUPTIONS)
    for rows in tables.values():
        assert all(row["n"] == 8 for row in rows.values())
        assert rows["control: everything"]["mean"] == pytest.approx(0.0, abs=1e-3)
        assert rows["control: everything"]["better"] == 0.0
        assert {"LMAC-ZS", "control: loudest cells"} < set(rows)
        assert sum(name.startswith("control: random components of L2I") for name in rows) == 2


def test_slime_is_measured_on_its_segments(bench, monkeypatch):
    models, heard = bench
    monkeypatch.setattr(l2i_removal, "SLIME", partial(SLIME, n=20, rows=2, columns=2))
    rows = l2i_removal.slime_removal(models, heard, LABELS)
    counts = [row["chosen count"] for row in rows.values()]
    assert counts == sorted(counts) and 0 < counts[-1] <= 4
    assert all(row["n"] == 8 and row["random count"] == row["chosen count"] for row in rows.values())


def test_two_prompts_and_controls(bench):
    models, heard = bench
    rows = l2i_removal.overlap(models, heard, LABELS, 6)
    assert all(0 <= row["jaccard"] <= 1 and row["n"] <= 6 for row in rows.values())
    assert "L2I-open, control: one prompt in other words" in rows


def test_a_measurement_is_made_once(tmp_path):
    calls = []
    notebook = Notebook(tmp_path)
    for depends in ({"a": 1}, {"a": 1}, {"a": 2}):
        assert notebook.once("speed", depends, lambda: calls.append(1) or {"n": len(calls)})["n"] == len(
            calls
        )
    assert len(calls) == 2


def test_the_page_names_every_measurement(bench, tmp_path):
    models, heard = bench
    results = {
        "fidelity zero-shot": l2i_fidelity.fidelity(models, "zero-shot", heard, LABELS),
        "fidelity tags": l2i_fidelity.tag_fidelity(models, heard),
        "removal zero-shot l2i": l2i_removal.removal(models, "zero-shot", "l2i", heard, LABELS),
        "unheard": l2i_fidelity.unheard(models, LABELS, heard, heard),
        "overlap": l2i_removal.overlap(models, heard, LABELS, 6),
        "adding up": l2i_sounds.adding_up(models, heard, LABELS),
        "factorisation": l2i_sounds.factorisation(models, heard, 60, 3),
        "settings": {"set": "tones", "clips": 8, "labels": 4, "components": 7, "unheard": LABELS},
    }
    json.dumps(results)
    assert not any(math.isnan(value) for value in results["factorisation"][0]["ours, mu 0.8"].values())
    text = report(results)
    for words in ("L2I, attention", "VIBI", "control: random order", "scikit-learn, cd", "| 0.1 |", "n |"):
        assert words in text, words
    save_figures(results, models, heard, LABELS, tmp_path)
    names = {path.name for path in tmp_path.iterdir() if path.suffix in (".png", ".svg")}
    assert names == {"fidelity.svg", "removal.svg", "nmf.svg", "corruption.png"}


def test_names_of_releases_are_unique():
    names = [name for group in RELEASES.values() for name in group.values()]
    assert len(set(names)) == len(names) and l2i.HEADS.keys() < RELEASES.keys()
