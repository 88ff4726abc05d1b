"""The universal decoder's training: it runs, resumes, leaves families out, and judges by the classifier alone."""

import pytest
import soundfile
import torch

from lmaczs import load_explainer
from lmaczs.clap import debug, minilm
from lmaczs.clap.debug import build_debug
from lmaczs.errors import CheckpointError, LMACError
from lmaczs.explainers.lmac_any.explainer import load_decoder
from lmaczs.explainers.lmac_any.network import AnyDecoder
from lmaczs.explainers.lmac_any.relevance import CHANNELS, relevance
from lmaczs.explainers.lmac_zs.guided import GuidedDecoder, GuidedLMACZS
from lmaczs.sanity.cues import CUES
from lmaczs.signal.audio import resample
from lmaczs.types import AudioClip
from train import any_family, export, train_lmac_any
from train.any_family import LEARNED_CUES, fresh_student, shuffled, teach
from train.any_sounds import RATE, SECONDS, at_rate
from train.golden import golden_error
from train.train_lmac_any import Asked, trained_decoder

COLUMNS = "path,dataset,fold,label,concept,captions,licence,source,split,open,overlap"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Six tones of two concepts, and one clip of a test set that must not be read."""
    folder = tmp_path_factory.mktemp("collection")
    rows = [COLUMNS]
    for number in range(7):
        time = torch.arange(16000) / 16000
        soundfile.write(folder / f"{number}.wav", 0.3 * torch.sin(1300 * (1 + number) * time).numpy(), 16000)
        concept = ("low hum", "high whistle")[number % 2]
        dataset, split = ("esc50", "test") if number == 6 else ("tones", "train")
        rows.append(f"{number}.wav,{dataset},,,{concept},a {concept}|some {concept},CC0,a/b,{split},yes,")
    (folder / "clips.csv").write_text("\n".join(rows), "utf-8")
    return folder / "clips.csv"


@pytest.fixture
def start(table, tmp_path, monkeypatch):
    """Starts a training of some steps on the tiny classifier; returns its folder."""
    monkeypatch.setattr(minilm, "MiniLM", debug.HashedSentences)
    recipe = tmp_path / "recipe.yaml"

    def run(steps, folder="run", more="", **flags):
        recipe.write_text(
            f"steps: {steps}\nbatch: 2\nclassifiers: [debug]\nstudents: []\nshuffled: [1]\nsave_every: 1\n{more}",
            "utf-8",
        )
        given = ["--recipe", str(recipe), "--clips", str(table), "--run", str(tmp_path / folder)]
        for name, value in flags.items():
            given += [f"--{name.replace('_', '-')}", str(value)]
        train_lmac_any.main(train_lmac_any.parser().parse_args(given))
        return tmp_path / folder

    return run


@pytest.mark.slow
def test_a_run_that_is_resumed_ends_like_one_that_was_not(start, monkeypatch):
    whole = trained_decoder(start(4, "whole"))[0].state_dict()
    save = train_lmac_any._save

    def save_and_stop(run, decoder, average, optimiser, step, seconds):
        save(run, decoder, average, optimiser, step, seconds)
        if step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(train_lmac_any, "_save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        start(4, "parts")
    monkeypatch.setattr(train_lmac_any, "_save", save)
    resumed, told = trained_decoder(start(4, "parts"))
    assert told["steps"] == 4 and told["settings"]["classifiers"] == ["debug"]
    assert all(torch.allclose(value, whole[name], atol=1e-6) for name, value in resumed.state_dict().items())
    assert any((value != AnyDecoder().state_dict()[name]).any() for name, value in whole.items())


@pytest.mark.slow
def test_a_decoder_of_one_classifier_starts_from_the_universal_one_and_is_exported(
    start, tmp_path, debug_backend
):
    """Both halves learn; the release, read afresh, gives what it gave; the other kind of export is refused."""
    folder = start(4, more="guided: debug\n")
    network, told = trained_decoder(folder)
    assert isinstance(network, GuidedDecoder) and told["settings"]["guided"] == "debug"
    universal = load_decoder("lmac-any", torch.device("cpu"))[0].state_dict()
    learned = network.order.state_dict()
    steps = [float((learned[name] - value).abs().max()) for name, value in universal.items()]
    assert max(steps) > 0 and max(steps) < 0.1
    assert network.enter.weight.abs().max() > 0
    export.export_lmac_zs(folder, tmp_path / "release")
    method = load_explainer("lmac-zs", debug_backend, release=tmp_path / "release")
    assert isinstance(method, GuidedLMACZS)
    assert golden_error(tmp_path / "release") < 1e-6
    with pytest.raises(CheckpointError, match="export it as lmac-zs"):
        export.export_lmac_any(folder, tmp_path / "other")


@pytest.mark.slow
def test_only_open_training_rows_are_heard(start):
    _, told = trained_decoder(start(1))
    assert [(source["dataset"], source["clips"]) for source in told["sources"]] == [("tones", 6)]
    assert "dataset=esc50" in told["settings"]["hold_out"]


@pytest.mark.slow
def test_a_family_may_be_left_out_but_not_all_of_it(start):
    with pytest.raises(LMACError, match="cnn14"):
        start(1, leave_out="cnn14")


@pytest.mark.slow
def test_planted_copies_join_the_family_once(start, table, tmp_path, monkeypatch):
    """A resumed run reads the copies that it made; all hear on the classifier's grid and decide otherwise than it."""
    made = []
    plant = any_family.plant
    monkeypatch.setattr(any_family, "plant", lambda *given: made.append(given[1].name) or plant(*given))
    more = "planted: [high, tone]\nplant_steps: 3\n"
    folder = start(1, more=more)
    start(2, more=more)
    assert made == ["high", "tone"]
    for name in made:
        copy = torch.load(folder / f"{name}.pt", weights_only=True)
        own = build_debug().state_dict()
        assert copy.keys() == own.keys() and any(not torch.equal(copy[key], own[key]) for key in own)


@pytest.mark.slow
def test_an_unknown_member_is_one_sentence(start):
    with pytest.raises(LMACError, match="'planted' has 'hum': choose among tone, middle, high, end"):
        start(1, more="planted: [hum]\n")


def test_the_cues_of_training_are_not_those_that_are_measured():
    measured = {cue.name for cue in CUES.values()}
    assert not measured & LEARNED_CUES.keys()
    assert not {repr(cue) for cue in CUES.values()} & {repr(cue) for cue in LEARNED_CUES.values()}


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="train_lmac_any"):
        trained_decoder(tmp_path)


def test_the_margin_of_many_prompts_is_that_of_the_target():
    from lmaczs.clap.target import margin_of

    generator = torch.Generator().manual_seed(0)
    embedding, text = (torch.nn.functional.normalize(torch.randn(n, 8, generator=generator)) for n in (3, 5))
    ignored = torch.rand(3, 5, generator=generator) < 0.4
    ignored[:, 0] = False
    asked = Asked(text[[1, 2, 3]], text, ignored, 20.0)
    for row in range(3):
        alone = margin_of(embedding[row : row + 1], text[row + 1], text[~ignored[row]], 20.0)
        assert asked.margin(embedding)[row] == pytest.approx(float(alone), abs=1e-5)


def test_shuffled_layers_keep_their_weights_in_another_order(debug_backend):
    copy = shuffled(debug_backend, 1, seed=0)
    own, its = (list(model.cam_layers.values())[-1].state_dict() for model in (debug_backend, copy))
    moved = [name for name, value in own.items() if value.ndim > 1 and not torch.equal(value, its[name])]
    assert moved and all(torch.equal(own[n].flatten().sort()[0], its[n].flatten().sort()[0]) for n in moved)
    first = [list(model.cam_layers.values())[0].state_dict() for model in (debug_backend, copy)]
    assert all(torch.equal(value, first[1][name]) for name, value in first[0].items())


def test_windows_at_another_rate_are_those_of_the_resampler():
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(RATE * SECONDS) / RATE
    waveform = sum(torch.sin(2 * torch.pi * f * time + f) for f in (210.0, 1400.2, 5000.6)) * 0.1
    waveform = waveform + 0.001 * torch.randn(len(time), generator=generator)
    found = at_rate(waveform[None], 16000)[0]
    wanted = resample(AudioClip(waveform, RATE, "tones"), 16000).waveform
    middle = slice(2000, -2000)
    assert (found[middle] - wanted[middle]).abs().max() < 0.01


@pytest.mark.parametrize(
    ("name", "steps"),
    [("cnn14-16k", 3), ("vit-16k", 3), pytest.param("htsat-32k", 1, marks=pytest.mark.slow)],
)
def test_a_student_learns_what_its_teacher_decides(debug_backend, name, steps):
    class Tones:
        device = torch.device("cpu")
        texts = Sentences()

        def draw(self, count, share, generator):
            count = min(count, 16)
            pitch = 200 * 2 ** (4 * torch.rand(count, 1, generator=generator))
            time = torch.arange(RATE * SECONDS) / RATE
            return 0.3 * torch.sin(2 * torch.pi * pitch * time), None, None

    def agreement(student):
        waveform, _, _ = Tones().draw(8, 0, torch.Generator().manual_seed(7))
        with torch.no_grad():
            wanted = debug_backend.analyze(at_rate(waveform, 16000)).embedding
            found = student.analyze(at_rate(waveform, student.spectral.sample_rate)).embedding
        return float((wanted * found).sum(1).mean())

    student = fresh_student(name, debug_backend, len(Sentences.counts), 0)
    before = agreement(student)
    teach(student, debug_backend, Tones(), steps, 0)
    assert agreement(student) > before
    assert not any(parameter.requires_grad for parameter in student.parameters())


def test_a_closed_student_gives_a_logit_for_each_concept_and_is_explained_like_any_other(debug_backend):
    student = fresh_student("cnn14-closed-16k", debug_backend, 6, 0)
    sentences = Sentences().sentences
    assert torch.equal(student.project_text(sentences), torch.eye(6)) and student.logit_scale == 1
    waveform = torch.randn(2, student.clip_samples, generator=torch.Generator().manual_seed(0))
    audio = student.analyze(0.1 * waveform)
    assert audio.embedding.shape == (2, 6) and student.agree(audio.embedding, None) == 0
    text = torch.eye(6)
    asked = Asked(text[[1, 4]], text, text[[1, 4]].bool(), 1.0)
    found = relevance(student, asked.margin, audio, 1.0, True)
    assert found.maps.shape[:2] == (2, CHANNELS) and found.maps[:, 1:].abs().amax(dim=(2, 3)).min() > 0


def test_a_small_transformer_has_four_maps_that_its_decision_depends_on(debug_backend):
    student = fresh_student("vit-16k", debug_backend, 6, 0)
    audio = student.analyze(
        0.1 * torch.randn(1, student.clip_samples, generator=torch.Generator().manual_seed(0))
    )
    assert len(student.cam_layers) == len(audio.hidden) == 4
    assert {maps.shape for maps in audio.hidden} == {(1, 96, 31, 8)}
    text = torch.nn.functional.normalize(torch.randn(3, student.embed_dim), dim=1)
    asked = Asked(text[:1], text, torch.tensor([[True, False, False]]), 20.0)
    found = relevance(student, asked.margin, audio, 20.0, True)
    assert found.maps.abs().amax(dim=(2, 3)).min() > 0


class Sentences:
    """Of six concepts, as `train.compact_texts.ConceptTexts` holds them."""

    counts = torch.ones(6, dtype=torch.long)
    sentences = torch.nn.functional.normalize(torch.randn(6, 384, generator=torch.Generator().manual_seed(1)))

    def draw(self, generator):
        return torch.arange(6)
