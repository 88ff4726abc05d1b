"""What interpreters imitate: zero-shot decisions, heads, and heads as releases."""

import pytest
import torch

from lmaczs.clap.decisions import Head, HeadConfig, HeadDecision, ZeroShotDecision, load_head, save_head
from lmaczs.clap.similarity import predict, prompts_from_labels
from lmaczs.errors import CheckpointError
from lmaczs.hub import load_release, save_release


@pytest.fixture
def audio(debug_backend, make_beep):
    return debug_backend.analyze(torch.stack([make_beep(seed=seed).waveform for seed in range(3)]))


@pytest.fixture
def head(debug_backend):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = HeadConfig(("a", "b", "c"), debug_backend.hidden_channels[-1], True, (0.2, 0.5, 0.8))
        return Head(config).eval()


def test_zero_shot_is_what_the_pipeline_decides(debug_backend, audio):
    labels = ("dog", "rain", "church_bells")
    decision = ZeroShotDecision(debug_backend, labels)
    found = decision.probabilities(decision.logits(audio))
    text = debug_backend.encode_text(prompts_from_labels(labels))
    for row, embedding in zip(found, audio.embedding, strict=True):
        expected = predict(embedding, text, debug_backend.logit_scale).probabilities
        torch.testing.assert_close(row, expected)
    assert not decision.multi_label


def test_a_head_sees_mean_and_maximum_over_time():
    maps = torch.zeros(1, 1, 4, 2)
    maps[0, 0, 1] = torch.tensor([2.0, 4.0])  # mean over frequency 3 at one of four times
    assert Head.pool(maps).tolist() == [[3.0 + 0.75]]


def test_multi_label_probabilities_stand_alone(head, audio):
    decision = HeadDecision(head)
    found = decision.probabilities(decision.logits(audio))
    assert found.shape == (3, 3) and not torch.allclose(found.sum(1), torch.ones(3))
    row = torch.tensor([[0.2, 0.49, 0.8]])
    assert decision.given(row).tolist() == [[True, False, True]]


def test_a_release_decides_the_same(debug_backend, head, audio, tmp_path):
    save_head(tmp_path / "head", debug_backend, head, metrics={"accuracy": 0.5})
    loaded = load_head(tmp_path / "head", debug_backend)
    assert loaded.labels == ("a", "b", "c") and loaded.multi_label
    assert loaded.thresholds.tolist() == pytest.approx([0.2, 0.5, 0.8])
    torch.testing.assert_close(loaded.logits(audio), HeadDecision(head).logits(audio))


def test_a_head_of_another_backend_is_refused(debug_backend, head, tmp_path):
    save_head(tmp_path / "head", debug_backend, head)
    config, state, _ = load_release(tmp_path / "head", kind="closed-set")
    rest = {key: value for key, value in config.items() if key in ("backend", "backend_sha256", "head")}
    save_release(tmp_path / "other", "closed-set", rest | {"backend": "compact"}, state)
    with pytest.raises(CheckpointError, match="trained for the backend 'compact'"):
        load_head(tmp_path / "other", debug_backend)
    save_release(tmp_path / "damaged", "closed-set", rest, {"fc1.weight": torch.zeros(2, 2)})
    with pytest.raises(CheckpointError, match="do not fit"):
        load_head(tmp_path / "damaged", debug_backend)
