"""A decoder can be trained for every CLAP: two steps, its release, its golden mask, and no other CLAP takes it."""

import csv

import pytest
import soundfile
import torch
from accelerate.state import AcceleratorState
from miniatures import small_backend

from lmaczs import clap
from lmaczs.clap import BACKENDS, BackendEntry, load_backend
from lmaczs.errors import CheckpointError
from lmaczs.explainers.lmac_zs.explainer import LMACZS
from lmaczs.hub import load_golden, load_release
from train import texts
from train.clips import read_clips
from train.export import export_lmac_zs
from train.golden import repeat_golden
from train.texts import load_text_bank
from train.train_lmac_zs import TrainConfig, main

KINDS = ["msclap-2022", "msclap-2023", "laion"]
NAMES = ("low hum", "whistle", "rain", "dog")


@pytest.fixture(scope="module")
def clips_csv(tmp_path_factory):
    """Eight tones of 0.5 s in four concepts."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for index in range(8):
        time_s = torch.arange(8000) / 16000
        tone = torch.sin(2 * torch.pi * 200 * (1 + index % 4) * time_s) * 0.3
        soundfile.write(folder / f"{index}.wav", tone.numpy(), 16000)
        name = NAMES[index % 4]
        rows.append((f"{index}.wav", name, f"the sound of a {name}|{name}"))
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "concept", "captions"), *rows])
    return folder / "clips.csv"


@pytest.fixture
def small_backends(monkeypatch, tmp_path):
    """The published CLAPs in small, under their own names."""
    monkeypatch.setattr(clap, "_loaded", {})
    for kind in KINDS:

        def load(weights, progress, kind=kind):
            return small_backend(kind, tmp_path / kind)

        monkeypatch.setitem(BACKENDS, kind, BackendEntry(kind, "MIT", load))
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("kind", KINDS)
def test_two_steps_make_a_decoder_for_this_clap_and_no_other(kind, clips_csv, small_backends, tmp_path):
    config = TrainConfig(
        str(clips_csv),
        str(tmp_path / "run"),
        steps=2,
        batch_size=2,
        save_every=1,
        num_rivals=2,
        backend=kind,
        mixed_precision="no",
    )
    main(config)
    export_lmac_zs(tmp_path / "run", tmp_path / "release")

    backend = load_backend(kind, "cpu")
    bank = torch.load(tmp_path / "run" / "cache" / f"texts-{kind}.pt", weights_only=True)
    assert bank["header"]["backend"] == kind and bank["header"]["width"] == backend.embed_dim
    assert bank["bank"]["sentence_embedding"].shape[1] == backend.embed_dim

    released, fresh = load_release(tmp_path / "release", "lmac-zs"), LMACZS.load
    assert released.config["backend"] == kind
    explainer = fresh(backend, release=tmp_path / "release")
    golden = load_golden(tmp_path / "release")
    assert (repeat_golden(explainer, golden)["mask"] - golden["mask"]).abs().max() < 1e-3
    assert golden["mask"].shape[0] == -(-backend.spectral.n_bins // 4)

    other = load_backend(KINDS[(KINDS.index(kind) + 1) % 3], "cpu")
    with pytest.raises(
        CheckpointError, match=f"trained for the backend '{kind}', but '{other.name}'"
    ) as caught:
        fresh(other, release=tmp_path / "release")
    assert "\n" not in str(caught.value) and "train_lmac_zs.py" in str(caught.value)


class Encoder:
    """Sentences -> features of a chosen width; counts what it was asked."""

    def __init__(self, width=6, seed=0):
        self.width, self.seed, self.asked = width, seed, 0

    def __call__(self, sentences):
        self.asked += len(sentences)
        rows = [torch.Generator().manual_seed(self.seed + sum(map(ord, text))) for text in sentences]
        return torch.stack([torch.randn(self.width, generator=row) for row in rows])


@pytest.fixture
def bank_of(clips_csv, tmp_path, monkeypatch):
    """`bank_of(encoder, backend, clips)`: one folder, as in a run; meanings come from a stand-in for MiniLM."""
    monkeypatch.setattr(texts, "MiniLM", lambda: Encoder(384, 1))

    def build(encoder, backend="laion", count=8):
        clips = read_clips(clips_csv)[:count]
        return load_text_bank(tmp_path, clips, torch.ones(count), 4, 0, backend, encoder)

    return build


def test_sentences_are_embedded_once(bank_of):
    first = bank_of(Encoder())
    again = Encoder()
    second = bank_of(again)
    assert again.asked == 1  # one sentence, to see whether the file is this model's
    assert torch.equal(first.sentence_embedding, second.sentence_embedding)
    assert first.sentence_embedding.shape == (8, 6) and first.draw(torch.Generator()).shape == (4, 6)
    assert torch.equal(first.siblings, second.siblings)


def test_every_sentence_gets_its_own_features(bank_of, clips_csv):
    bank = bank_of(encoder := Encoder())
    for rows, name in zip(bank.sentences_of, bank.concepts, strict=True):
        wanted = encoder([f"the sound of a {name}", name])
        assert torch.equal(bank.sentence_embedding[rows], wanted)


@pytest.mark.parametrize(
    ("encoder", "count"),
    [(Encoder(9), 8), (Encoder(6, 5), 8), (Encoder(), 3)],
    ids=["width", "weights", "captions"],
)
def test_a_file_of_another_model_or_of_other_captions_is_made_again(bank_of, encoder, count, capsys):
    bank_of(Encoder())
    bank = bank_of(encoder, count=count)
    assert bank.sentence_embedding.shape[1] == encoder.width
    assert torch.equal(
        bank.sentence_embedding[bank.sentences_of[0][:1]], encoder([f"the sound of a {bank.concepts[0]}"])
    )
    assert encoder.asked > 2


def test_two_backends_keep_their_files_apart(bank_of):
    bank_of(Encoder(), "laion")
    bank_of(Encoder(9), "msclap-2022")
    again = Encoder()
    assert bank_of(again, "laion").sentence_embedding.shape[1] == 6 and again.asked == 1
