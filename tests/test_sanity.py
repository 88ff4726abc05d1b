"""Explainers that look away are caught, those that listen pass, and the model is afterwards what it was."""

import hashlib
import json
import math
import os
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.image import imread
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn

from lmaczs.clap.debug import DEBUG_CONFIG, DebugCLAP, build_debug
from lmaczs.cli import main
from lmaczs.data.clip_table import select_clips
from lmaczs.errors import LMACError
from lmaczs.evaluation.contenders import Contender, contenders
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.masks import IDEAL
from lmaczs.evaluation.provenance import sound_sha256
from lmaczs.evaluation.scores import ScoreTable
from lmaczs.explainers import METHODS, entry_of
from lmaczs.explainers.base import MethodEntry, WindowMaps, WindowMethod
from lmaczs.explainers.gradcam import GradCAMPlusPlus
from lmaczs.explainers.lmac_zs.explainer import LMACZS, build_decoder, decoder_config
from lmaczs.sanity import checks, figures, randomise
from lmaczs.sanity.checks import run_checks
from lmaczs.sanity.likeness import order_kept, ssim
from lmaczs.sanity.plan import UNTOUCHED, SanityPlan
from lmaczs.sanity.randomise import audio_blocks, fresh_sentences, method_block, randomised, text_block
from lmaczs.sanity.report import report_markdown, sanity_summary
from tests.clap.miniatures import small_backend, write_vocabulary

RATE = 16000
STEPS = ["head", "block5", "block4", "block3", "block2", "stem"]


def number_of(*tensors):
    """A number that changes with any bit of any tensor."""
    bits = b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)
    return int.from_bytes(hashlib.sha256(bits).digest()[:7], "big")


def noise_like(spectrum, share, *tensors):
    """A mask of noise cells, `share` of them, at places that hang on every bit of the tensors."""
    noise = torch.rand(spectrum.shape, generator=torch.Generator().manual_seed(number_of(*tensors)))
    return (noise < share).float() * noise / share


class Toy(WindowMethod):
    """A method whose masks are noise or loudness, as a test needs them."""

    def passes(self):
        return 0.0

    def map_windows(self, audio, target, progress=lambda *_: None):
        prompt = target.embedding.expand(len(audio.embedding), -1)
        return WindowMaps(self.masks(audio, prompt))


class Listener(Toy):
    """Another mask for any change of model, prompt or similarity; larger where the similarity is larger."""

    entry = MethodEntry("listener", "listener", "", "")

    def masks(self, audio, prompt):
        similarity = (audio.embedding * prompt).sum(-1)
        shares = [0.1 + 0.9 * max(float(value), 0.0) ** 2 for value in similarity]
        rows = zip(audio.stft, shares, audio.embedding, prompt, strict=True)
        return torch.stack([noise_like(window, share, *both) for window, share, *both in rows])


class Painter(Toy):
    """Paints loud cells, whatever the model has learned and whatever it is asked."""

    entry = MethodEntry("painter", "painter", "", "")

    def masks(self, audio, prompt):
        magnitude = audio.stft.abs()
        return magnitude / magnitude.amax(dim=(1, 2), keepdim=True)


class Deaf(Toy):
    """Changes with the model, but not with the prompt."""

    entry = MethodEntry("deaf", "deaf", "", "")

    def masks(self, audio, prompt):
        pairs = zip(audio.stft, audio.embedding, strict=True)
        return torch.stack([noise_like(window, 0.5, embedding) for window, embedding in pairs])


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Three clips of 1, 2 and 3 s, all of other labels; the third takes two windows."""
    folder = tmp_path_factory.mktemp("tones")
    lines = ["path,label"]
    for seconds, hertz in ((1, 300), (2, 1000), (3, 3000)):
        time = np.arange(seconds * RATE) / RATE
        noise = 0.01 * np.random.default_rng(hertz).standard_normal(len(time))
        sound = 0.3 * np.sin(2 * np.pi * hertz * time) * (time % 1 > 0.5) + noise
        soundfile.write(folder / f"{hertz}.wav", sound, RATE, subtype="FLOAT")
        lines.append(f"{hertz}.wav,tone {hertz}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "clips.csv"


@pytest.fixture(scope="module")
def beeps(tmp_path_factory, planted_backend):
    """Four clips for the backend that hears nothing but a beep: two with one, two without."""
    folder = tmp_path_factory.mktemp("beeps")
    lines = ["path,label"]
    time = np.arange(2 * RATE) / RATE
    for index, (label, level) in enumerate((("beep", 0.5), ("rain", 0.0), ("beep", 0.3), ("rain", 0.0))):
        noise = 0.02 * np.random.default_rng(index).standard_normal(len(time))
        burst = level * np.sin(2 * np.pi * 1000 * time) * ((time >= 1.0) & (time < 1.5))
        soundfile.write(folder / f"{index}.wav", noise + burst, RATE, subtype="FLOAT")
        lines.append(f"{index}.wav,{label}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "clips.csv"


def plan_of(backend, methods, labels, **options):
    everyone = contenders([(method.name, method) for method in methods], ("stft",), backend)
    kept = tuple(contender for contender in everyone if contender.name != IDEAL)
    return SanityPlan(MaskEvaluator(backend, tuple(labels)), kept, **options)


def check(backend, methods, table, out, **options):
    """Rows and summary of a run."""
    selection = select_clips(table)
    plan = plan_of(backend, methods, selection.labels, **options)
    rows = run_checks(plan, selection.clips, ScoreTable(out, {}), quiet=True)
    return rows, sanity_summary(rows, plan), plan


def bits(backend):
    return {name: value.clone() for name, value in backend.state_dict().items()}


def assert_same(backend, before):
    after = backend.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


# --- how alike two masks are


def reference_ssim(first, second):
    return structural_similarity(
        first.double().numpy(),
        second.double().numpy(),
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_ssim_is_that_of_scikit_image(scale):
    generator = torch.Generator().manual_seed(0)
    first = scale * torch.rand(61, 40, generator=generator) ** 3
    second = (0.6 * first + 0.4 * scale * torch.rand(61, 40, generator=generator)).clamp(0, 1)
    assert ssim(first, second) == pytest.approx(reference_ssim(first, second), abs=1e-6)
    assert ssim(first, first) == pytest.approx(1.0, abs=1e-12)
    empty, full = torch.zeros(61, 40), torch.ones(61, 40)
    assert ssim(empty, full) == pytest.approx(reference_ssim(empty, full), abs=1e-6)
    assert ssim(empty, full) < 1e-3 and ssim(empty, empty) == pytest.approx(1.0)


def test_ssim_of_masks_smaller_than_its_window():
    narrow = torch.rand(40, 6, generator=torch.Generator().manual_seed(1))
    assert ssim(narrow, narrow) == pytest.approx(1.0)
    assert ssim(narrow, 1 - narrow) < 0
    # one cell, by hand: only the light term is left
    single = ssim(torch.tensor([[1.0]]), torch.tensor([[0.5]]))
    assert single == pytest.approx((2 * 0.5 + 1e-4) / (1 + 0.25 + 1e-4))


def test_a_mask_that_has_become_constant_keeps_no_order_and_a_constant_one_had_none():
    flat, steep = torch.full((5, 5), 0.3), torch.arange(25.0).view(5, 5)
    assert order_kept(steep, torch.zeros(5, 5)) == order_kept(steep, flat) == 0.0
    assert order_kept(steep, steep.square()) == pytest.approx(1.0)
    for original, mask in ((flat, steep), (flat, flat), (steep, torch.full((5, 5), math.nan))):
        assert math.isnan(order_kept(original, mask))


@pytest.mark.parametrize("measure", [ssim, order_kept])
def test_masks_of_other_shapes_are_refused(measure):
    with pytest.raises(ValueError, match="differ in shape"):
        measure(torch.zeros(4, 4), torch.zeros(4, 5))


# --- models with random weights


def test_blocks_go_from_the_output_to_the_input_and_hold_every_audio_weight_once():
    backend = build_debug()
    blocks = audio_blocks(backend)
    assert [block.name for block in blocks] == STEPS
    modules = [module for block in blocks for module in block.modules]
    held = [id(value) for module in modules for value in module.parameters(recurse=False)]
    sides = backend.audio_encoder, backend.audio_projection
    assert sorted(held) == sorted(id(value) for side in sides for value in side.parameters())
    assert backend.audio_encoder.bn0 in blocks[-1].modules  # its weights are used without a call of it
    assert backend.audio_projection.linear2 in blocks[0].modules


@pytest.mark.parametrize(
    ("kind", "vocabulary"), [("laion", "roberta"), ("msclap-2022", "bert"), ("msclap-2023", "gpt2")]
)
def test_every_weight_of_every_backend_belongs_to_one_block(kind, vocabulary, tmp_path):
    write_vocabulary(tmp_path, vocabulary)
    backend = small_backend(kind, tmp_path).eval()
    before, blocks = bits(backend), audio_blocks(backend)
    assert [block.name for block in blocks] == ["head", *reversed(backend.cam_layers), "stem"]
    modules = [module for block in (*blocks, text_block(backend)) for module in block.modules]
    held = [id(value) for module in modules for value in module.parameters(recurse=False)]
    assert len(held) == len(set(held))
    left = [name for name, value in backend.named_parameters() if id(value) not in held]
    assert left == ["log_logit_scale"]  # only scales the logits
    sounds = 0.1 * torch.randn(4, backend.clip_samples, generator=torch.Generator().manual_seed(0))
    mel = backend.analyze(sounds * torch.linspace(0, 1, backend.clip_samples)).mel_power
    with randomised(blocks, "a", lambda: backend.encode(mel)):
        assert backend.encode(mel)[0].isfinite().all()
    assert_same(backend, before)


def test_only_the_named_blocks_become_random_and_all_bits_come_back():
    backend = build_debug().eval().requires_grad_(False)
    before, blocks = bits(backend), audio_blocks(backend)
    flags = [(module.training, getattr(module, "momentum", None)) for module in backend.modules()]
    mel = torch.rand(4, 32, 101)
    with randomised(blocks[:2], "a", lambda: backend.encode(mel)):
        changed = {
            name for name, value in backend.state_dict().items() if not torch.equal(value, before[name])
        }
        assert changed and all(
            "conv_block5" in name or "fc1" in name or "projection" in name for name in changed
        )
        assert not any("text" in name for name in changed)
        assert {
            "audio_encoder.conv_block5.conv1.weight",
            "audio_encoder.conv_block5.bn1.running_mean",
        } <= changed
    assert_same(backend, before)
    assert flags == [(module.training, getattr(module, "momentum", None)) for module in backend.modules()]
    with pytest.raises(KeyboardInterrupt), randomised(blocks, "a", lambda: backend.encode(mel)):
        raise KeyboardInterrupt
    assert_same(backend, before)


def test_a_weight_that_does_not_come_back_is_noticed(monkeypatch):
    """Zero and minus zero are not the same bits."""
    backend = build_debug().eval().requires_grad_(False)
    assert not randomise._same_bits(torch.tensor(0.0), torch.tensor(-0.0))
    assert randomise._same_bits(torch.tensor([math.nan]), torch.tensor([math.nan]))
    head = audio_blocks(backend)[0]
    kept_bits = randomise._same_bits
    monkeypatch.setattr(randomise, "_same_bits", lambda first, second: kept_bits(first, second + 1))
    with pytest.raises(RuntimeError, match="not those before"), randomised([head], "a"):
        pass


def test_a_cascade_keeps_what_it_has_drawn_and_the_size_of_the_maps():
    backend = build_debug().eval().requires_grad_(False)
    for module in backend.modules():  # as after a training: statistics that fit the weights
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    blocks, mel = audio_blocks(backend), 100 * torch.rand(8, 32, 101) ** 8
    backend.audio_encoder.train()
    backend.encode(mel)
    backend.audio_encoder.fc1.weight -= (
        0.2  # like a trained layer: most of its units are shut most of the time
    )
    backend.eval()
    original = [float(level.std()) for level in backend.encode(mel)[1]]
    deepest = []
    for depth in range(1, len(blocks) + 1):
        with randomised(blocks[:depth], "a", lambda: backend.encode(mel)):
            deepest.append(backend.audio_projection.linear1.weight.clone())
            sizes = [float(level.std()) for level in backend.encode(mel)[1]]
            assert all(0.2 < size / whole < 5 for size, whole in zip(sizes, original, strict=True))
            likeness = backend.encode(mel)[0] @ backend.encode(mel)[0].T
            assert likeness.min() < 0.999  # it tells sounds apart, if for no good reason
    assert all(torch.equal(weight, deepest[0]) for weight in deepest)
    with randomised(blocks[:1], "b"):
        assert not torch.equal(backend.audio_projection.linear1.weight, deepest[0])


class Sentences(nn.Module):
    """A sentence encoder with weights, which the backend keeps outside its module tree."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(8, 384)

    def forward(self, prompts):
        return torch.stack(
            [self.table.weight[: 1 + len(p) % 7].mean(0) + 0 * self.table(torch.tensor(0)) for p in prompts]
        )


def test_the_text_encoder_is_found_wherever_it_is_kept_and_comes_back():
    sentences = Sentences().requires_grad_(False)
    backend = DebugCLAP(DEBUG_CONFIG, sentences).eval().requires_grad_(False)
    table, before = sentences.table.weight.clone(), bits(backend)
    block = text_block(backend)
    assert sentences.table in block.modules and backend.text_projection.linear1 in block.modules
    cached = backend.encode_text(["a dog"]).embedding
    with randomised([block], "a"), fresh_sentences(backend):
        assert not torch.equal(sentences.table.weight, table)
        changed = backend.encode_text(["a dog"]).embedding
    assert not torch.allclose(changed, cached, atol=0.05)
    assert torch.equal(sentences.table.weight, table) and torch.equal(
        backend.embed_sentences(["a dog"]), cached
    )
    assert torch.equal(backend.encode_text(["a dog"]).embedding, cached)
    assert_same(backend, before)


def test_a_model_without_weights_cannot_be_randomised(planted_backend):
    with pytest.raises(LMACError, match=r"audio encoder of 'planted' has no weights.*choose another"):
        audio_blocks(planted_backend)
    with pytest.raises(
        LMACError, match=r"text encoder of 'planted' has no weights.*leave out the check 'text'"
    ):
        text_block(planted_backend)


# --- planted cases


def test_an_explainer_that_ignores_the_model_is_caught(debug_backend, tones, tmp_path):
    before = bits(debug_backend)
    explainers = [Painter(debug_backend), Listener(debug_backend)]
    rows, summary, _ = check(debug_backend, explainers, tones, tmp_path, seeds=2, checks=("cascade", "text"))
    painter, listener = (summary["methods"][name] for name in ("painter", "listener"))
    assert summary["blocks"] == STEPS
    for step in STEPS:
        assert painter["steps"][step]["ssim"]["mean"] == pytest.approx(1.0)
        assert painter["steps"][step]["spearman"]["mean"] == pytest.approx(1.0)
        assert painter["steps"][step]["ssim"]["n"] == 6
    for question in ("model_ssim", "model_spearman"):
        assert painter["verdict"][question] == {"value": pytest.approx(1.0), "target": 0.3, "passed": False}
        assert listener["verdict"][question]["passed"] and listener["verdict"][question]["value"] < 0.2
    assert painter["steps"]["text encoder"]["ssim"]["mean"] == pytest.approx(1.0)
    for control in UNTOUCHED:
        assert not any(answer["passed"] for answer in summary["methods"][control]["verdict"].values())
    assert not any("both/constant/mask/spearman" in row for row in rows)  # it has no order
    assert_same(debug_backend, before)


def test_an_explainer_that_ignores_the_prompt_is_caught(planted_backend, beeps, tmp_path):
    explainers = [Deaf(planted_backend), Listener(planted_backend)]
    _, summary, plan = check(planted_backend, explainers, beeps, tmp_path, checks=("prompts",))
    deaf, listener = (summary["methods"][name] for name in ("deaf", "listener"))
    assert summary["n_clips"] == summary["n_heard"] == 4
    assert deaf["prompts"]["left"] == deaf["prompts"]["ssim"]["mean"] == pytest.approx(1.0)
    assert not deaf["verdict"]["prompt"]["passed"] and not deaf["verdict"]["similarity"]["passed"]
    assert listener["prompts"]["left"] < 0.2 and listener["prompts"]["ssim"]["mean"] < 0.5
    assert listener["verdict"]["prompt"]["passed"] and listener["verdict"]["similarity"]["passed"]
    assert listener["mask_mean"]["spearman"] > 0.9 and listener["mask_mean"]["n"] == 8
    assert "model_ssim" not in listener["verdict"]  # not asked
    text = report_markdown(summary, plan, "beeps")
    assert "| deaf | no (1.00) | no (" in text and "| listener | yes (0." in text


def test_a_random_decoder_changes_only_explainers_that_have_one(debug_backend, tones, tmp_path):
    torch.manual_seed(0)
    decoder = build_decoder(debug_backend, decoder_config(debug_backend, "stft")).eval().requires_grad_(False)
    explainer = LMACZS.wrap(debug_backend, decoder, "paper")
    before = bits(decoder)
    assert method_block(GradCAMPlusPlus(debug_backend)) is None
    held = {id(v) for module in method_block(explainer).modules for v in module.parameters(recurse=False)}
    assert held == {id(value) for value in decoder.parameters()}
    explainers = [explainer, Painter(debug_backend)]
    _, summary, _ = check(debug_backend, explainers, tones, tmp_path, seeds=2, checks=("decoder",))
    assert summary["methods"]["lmac-zs"]["steps"]["decoder"]["spearman"]["mean"] < 0.99
    assert summary["methods"]["lmac-zs"]["steps"]["decoder"]["ssim"]["n"] == 6
    assert all("decoder" not in summary["methods"][name]["steps"] for name in ("painter", "energy"))
    assert_same(decoder, before)


def test_what_is_drawn_hangs_on_the_seed_alone(debug_backend, tones, tmp_path):
    def run(name, seed):
        explainers = [GradCAMPlusPlus(debug_backend)]
        return check(
            debug_backend, explainers, tones, tmp_path / name, seeds=1, seed=seed, checks=("cascade",)
        )[0]

    first, again, other = run("a", 0), run("b", 0), run("c", 1)
    assert first == again
    assert [row for row in first if row["condition"].startswith("cascade")] != [
        row for row in other if row["condition"].startswith("cascade")
    ]


def test_more_unrelated_prompts_begin_with_the_fewer(debug_backend, tones):
    """So that a finished run can be asked for more."""
    clips, labels = select_clips(tones).clips, tuple("abcdef") + ("tone 300",)
    few, many = (plan_of(debug_backend, [], labels, unrelated=count) for count in (2, 5))
    for clip in clips:
        assert many.unrelated_labels(clip)[:2] == few.unrelated_labels(clip)
        assert len(set(many.unrelated_labels(clip))) == 5 and clip.label not in many.unrelated_labels(clip)
    assert len({tuple(many.unrelated_labels(clip)) for clip in clips}) == 3  # not the same ones for all


# --- from rows to numbers


def test_the_summary_by_hand(debug_backend):
    evaluator = MaskEvaluator(debug_backend, ("a", "b"))
    plan = SanityPlan(evaluator, (Contender("m", Painter(debug_backend)),), checks=("prompts",))

    def row(path, step, number, similarity, mask_mean, rank=1.0):
        facts = {"condition": f"prompts/{step}/{number}", "clip": path, "label": "a", "prompt": "a"}
        return facts | {"rank": rank, "similarity": similarity, "stft/m/mask/mean": mask_mean}

    rows = [
        row("x", "right", 0, 0.9, 0.4),
        row("x", "unrelated", 0, 0.1, 0.1),
        row("x", "unrelated", 1, 0.2, 0.3),
        row("y", "right", 0, 0.5, 0.2, rank=2.0),
        row("y", "unrelated", 0, 0.0, 0.0),
        row("y", "unrelated", 1, 0.3, 0.1),
        row("z", "right", 0, 0.05, 0.0),  # empty: no share of it can be left
        row("z", "unrelated", 0, 0.15, 0.2),
        row("z", "unrelated", 1, 0.25, 0.2),
        {"condition": "chance/another clip/0", "clip": "w", "label": "a", "error": "silent"},
    ]
    summary = sanity_summary(rows, plan)
    assert (summary["n_clips"], summary["n_failed"], summary["n_heard"]) == (3, 1, 2)
    found = summary["methods"]["m"]
    assert (
        found["prompts"]["left"] == pytest.approx((0.2 / 0.4 + 0.05 / 0.2) / 2) and found["prompts"]["n"] == 2
    )
    assert found["prompts"]["left_heard"] == pytest.approx(0.5) and found["prompts"]["n_heard"] == 1
    assert found["prompts"]["right"] == pytest.approx(0.2)
    assert found["prompts"]["unrelated"] == pytest.approx(0.15)
    points = [(r["similarity"], r["stft/m/mask/mean"]) for r in rows[:-1]]
    assert found["mask_mean"]["spearman"] == pytest.approx(spearmanr(*zip(*points, strict=True)).statistic)
    assert found["mask_mean"]["n"] == 9
    assert not found["verdict"]["prompt"]["passed"]


# --- the command


def sanity(table, out, *more):
    return main(
        [
            "sanity",
            "--clips",
            str(table),
            "--backend",
            "debug",
            "--methods",
            "grad-cam++,saliency",
            "--seeds",
            "1",
        ]
        + ["--unrelated", "1", "--out", str(out), *more]
    )


def stored(out):
    """Rows of a finished run, with their place: (condition, clip) -> row."""
    return ScoreTable(out, {}).rows


@pytest.fixture
def no_pictures(monkeypatch):
    """They take longer than everything else; two tests look at them."""
    monkeypatch.setattr(figures, "save_figures", lambda *_: None)


@pytest.fixture(scope="module")
def finished(tones, tmp_path_factory):
    """Folder of a whole run of the command."""
    out = tmp_path_factory.mktemp("finished")
    assert sanity(tones, out) == 0
    return out


def test_the_command_writes_rows_tables_and_pictures(finished):
    rows = stored(finished)
    assert len(rows) == 3 * (1 + len(STEPS) + 1 + 2)  # another clip, cascade, text encoder, two prompts
    for row in rows.values():
        assert {"stft/grad-cam++/mask/mean", "stft/energy/mask/mean"} <= row.keys() and "error" not in row
    cascade = [row for (condition, _), row in rows.items() if condition.startswith("cascade/")]
    assert [row["stft/energy/mask/ssim"] for row in cascade] == pytest.approx([1.0] * len(cascade))
    summary = json.loads((finished / "summary.json").read_text("utf-8"))
    assert summary["weights_restored"] is True and summary["n_clips"] == 3
    assert summary["methods"]["constant"]["steps"]["head"]["spearman"] == {
        "mean": None, "low": None, "high": None, "n": 0,
    }  # fmt: skip
    text = (finished / "summary.md").read_text("utf-8")
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    for name in ("grad-cam++", "saliency", *UNTOUCHED):
        assert len([line for line in tables if line.startswith(f"| {name} |")]) == 5
    assert text.count("| n |") >= 4 and "ideal ratio" not in text
    image = imread(finished / figures.MASKS)
    assert image.shape[0] > 200 and image.std() > 0.05
    for picture in (figures.CASCADE, figures.MEANS):
        drawn = ElementTree.parse(finished / picture).getroot()
        assert float(drawn.get("height").removesuffix("pt")) > 150 and len(list(drawn.iter())) > 50


def test_a_second_run_explains_nothing_again(finished, tones, monkeypatch, no_pictures):
    before = stored(finished)
    monkeypatch.setattr(checks, "step_rows", lambda *_: pytest.fail("computed again"))
    assert sanity(tones, finished) == 0
    assert stored(finished) == before


def test_a_run_that_was_cut_short_goes_on_to_the_same_numbers(
    finished, tones, tmp_path, monkeypatch, capsys, no_pictures
):
    whole, done = checks.step_rows, []

    def cut_short(group, step, *rest):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(step.condition)
        return whole(group, step, *rest)

    monkeypatch.setattr(checks, "step_rows", cut_short)
    assert sanity(tones, tmp_path / "out") == 130
    monkeypatch.setattr(
        checks,
        "step_rows",
        lambda group, step, *rest: (done.append(step.condition), whole(group, step, *rest))[1],
    )
    assert sanity(tones, tmp_path / "out") == 0
    assert len(done) == len(set(done)) == 1 + len(STEPS) + 1 + 2
    assert stored(tmp_path / "out") == stored(finished)
    assert (tmp_path / "out" / "summary.md").read_bytes() == (finished / "summary.md").read_bytes()


def test_another_sound_under_the_same_name_is_checked_again(tones, tmp_path, monkeypatch, no_pictures):
    for name in ("300.wav", "1000.wav", "3000.wav"):
        (tmp_path / name).write_bytes((tones.parent / name).read_bytes())
    (tmp_path / "clips.csv").write_text(tones.read_text("utf-8"), "utf-8")
    assert sanity(tmp_path / "clips.csv", tmp_path / "out", "--checks", "prompts") == 0
    before = stored(tmp_path / "out")
    (tmp_path / "300.wav").write_bytes((tones.parent / "1000.wav").read_bytes())
    assert sanity(tmp_path / "clips.csv", tmp_path / "out", "--checks", "prompts") == 0
    after = stored(tmp_path / "out")
    assert after.keys() == before.keys() and all(after[key]["sound"] != before[key]["sound"] for key in after)
    right = ("prompts/right/0", "300.wav")
    assert after[right]["stft/energy/mask/mean"] != before[right]["stft/energy/mask/mean"]


def test_a_file_that_cannot_be_read_is_a_row_and_exit_code_1_until_it_is_repaired(
    tones, tmp_path, capsys, no_pictures
):
    for name in ("300.wav", "1000.wav"):
        os.link(tones.parent / name, tmp_path / name)
    (tmp_path / "broken.wav").write_bytes(b"RIFF no sound")
    (tmp_path / "clips.csv").write_text("path,label\n300.wav,low\nbroken.wav,high\n", "utf-8")
    assert sanity(tmp_path / "clips.csv", tmp_path / "out", "--checks", "prompts") == 1
    failed = {clip: row["error"] for (_, clip), row in stored(tmp_path / "out").items() if "error" in row}
    assert list(failed) == ["broken.wav"] and str(tmp_path) not in failed["broken.wav"]
    assert "1 clips, 1 not readable" in (tmp_path / "out" / "summary.md").read_text("utf-8")
    os.replace(tmp_path / "1000.wav", tmp_path / "broken.wav")
    assert sanity(tmp_path / "clips.csv", tmp_path / "out", "--checks", "prompts") == 0
    assert not [row for row in stored(tmp_path / "out").values() if "error" in row]


def test_a_set_without_one_readable_clip_still_gets_its_report(tmp_path, capsys):
    (tmp_path / "broken.wav").write_bytes(b"RIFF no sound")
    (tmp_path / "clips.csv").write_text("path,label\nbroken.wav,a\nmissing.wav,b\n", "utf-8")
    assert sanity(tmp_path / "clips.csv", tmp_path / "out") == 1
    assert "0 clips, 2 not readable" in (tmp_path / "out" / "summary.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--checks", "cascade,luck"], "There is no check 'luck': choose among cascade, text, decoder, prompts."),
        (["--checks", ","], "No check was asked for"),
        (["--seeds", "0"], "0 random models were asked for: ask for at least 1."),
        (["--unrelated", "-2"], "-2 unrelated prompts were asked for: ask for at least 1."),
        (["--methods", "grad-cam++,grad-cam++"], "name each method once"),
        (["--methods", "tea-leaves"], "There is no explainer 'tea-leaves'"),
        (["--methods", "energy"], "controls are always there"),
        (["--releases", "rise=folder"], "--releases names 'rise', which is not among the methods"),
        (["--limit", "0"], "The limit is 0"),
        (["--domain", "wavelet"], "choose from"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_sentence(tones, tmp_path, capsys, more, said):
    assert sanity(tones, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.strip().splitlines()) == 1 and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_one_label_has_no_unrelated_prompt(tones, tmp_path, capsys, no_pictures):
    table = tones.parent / "one.csv"
    table.write_text("path,label\n300.wav,low\n", "utf-8")
    assert sanity(table, tmp_path / "out") == 2
    assert "All clips have the label 'low', so no prompt is unrelated" in capsys.readouterr().err
    assert sanity(table, tmp_path / "out", "--checks", "text") == 0
    rows = {condition: row for (condition, _), row in stored(tmp_path / "out").items()}
    assert list(rows) == ["chance/another clip/0", "text/text encoder/0"]
    first, second = rows.values()
    # There is no other clip.
    assert "stft/saliency/mask/ssim" not in first and "stft/saliency/mask/ssim" in second


def test_other_settings_are_not_mixed_in(finished, tones, capsys):
    assert sanity(tones, finished, "--seed", "5") == 2
    assert "other settings (seed)" in capsys.readouterr().err


def test_masks_over_mel_bands_are_checked_too(tones, tmp_path, capsys, no_pictures):
    assert sanity(tones, tmp_path / "out", "--domain", "mel", "--checks", "text,prompts") == 0
    assert "mel masks" in (tmp_path / "out" / "summary.md").read_text("utf-8")
    for row in stored(tmp_path / "out").values():
        assert 0 < row["mel/energy/mask/mean"] < 1 and "mel/saliency/mask/mean" in row


def test_every_method_can_be_checked(debug_backend):
    """Each one finds its own trained weights, and no other has any."""
    from lmaczs.explainers import load_explainer

    for name in METHODS:
        if not entry_of(name).trained:
            method = load_explainer(name, debug_backend)
            assert method_block(method) is None
            steps = plan_of(debug_backend, [method], ("a", "b")).steps()
            assert [step.check for step in steps].count("decoder") == 0


# --- pictures


def test_pictures_show_each_method_with_its_numbers(debug_backend, tones, tmp_path):
    explainers = [GradCAMPlusPlus(debug_backend), Painter(debug_backend)]
    rows, summary, plan = check(debug_backend, explainers, tones, tmp_path, seeds=1)
    colours = figures._colours(plan)
    panels = figures.mask_mean_figure(rows, summary, plan.contenders, colours).axes
    titles = [axes.get_title(loc="left") for axes in panels if axes.get_visible()]
    assert [title.split("\n")[0] for title in titles] == [contender.name for contender in plan.contenders]
    expected = summary["methods"]["grad-cam++"]["mask_mean"]
    assert titles[0].endswith(f"Spearman {expected['spearman']:.2f}, n = {expected['n']}")
    assert sum(len(points.get_offsets()) for points in panels[0].collections) == expected["n"] == 9

    line = figures.cascade_figure(summary, colours).axes[0].get_lines()[0]
    steps = summary["methods"]["grad-cam++"]["steps"]
    np.testing.assert_allclose(line.get_ydata(), [1.0, *(steps[step]["ssim"]["mean"] for step in STEPS)])

    clips = select_clips(tones).clips
    shown = checks.LoadedClip(clips[1], sound_sha256(clips[1].file), checks.load_entry(clips[1], RATE))
    figure = figures.masks_figure(checks.Group(plan, [shown]), checks.Reference(plan.evaluator, clips))
    assert len(figure.axes) == 2 * (
        2 + len(STEPS) + 2
    )  # recording, original, cascade, text encoder, other prompt
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert all(image.get_clim() in ((0.0, 1.0), (-70.0, 0.0)) for image in images)
    painted = [np.asarray(image.get_array()) for image in images[len(images) // 2 + 1 :]]
    assert all(np.array_equal(mask, painted[0]) for mask in painted)  # the painter's masks never change
