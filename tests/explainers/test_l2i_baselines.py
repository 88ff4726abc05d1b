"""FLINT and VIBI: their losses by hand, the gradient that must pass VIBI's choice, and what they can learn."""

import math

import pytest
import torch

from lmaczs.errors import CheckpointError, LMACError
from lmaczs.explainers.l2i.flint import ENTROPY, SPARSITY, Flint, flint_losses
from lmaczs.explainers.l2i.surrogates import (
    build_surrogate,
    load_surrogate,
    save_surrogate,
    surrogate_logits,
)
from lmaczs.explainers.l2i.vibi import (
    PRIOR_WEIGHT,
    Vibi,
    VibiConfig,
    levels_of,
    prior_loss,
    relaxed_choice,
    top_chunks,
)
from lmaczs.hub import load_release, save_release

NAMES = ("flint", "vibi")


@pytest.fixture
def audio(debug_backend, make_beep):
    return debug_backend.analyze(torch.stack([make_beep(seed=seed).waveform for seed in range(3)]))


def build(name, backend, classes=5, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_surrogate(name, backend, classes, 12).eval()


@pytest.mark.parametrize("name", NAMES)
def test_a_release_answers_the_same(debug_backend, audio, tmp_path, name):
    network = build(name, debug_backend)
    logits = surrogate_logits(network, audio)
    assert logits.shape == (3, 5) and bool(torch.isfinite(logits).all())
    save_surrogate(tmp_path / name, debug_backend, network)
    loaded = load_surrogate(tmp_path / name, debug_backend)
    torch.testing.assert_close(surrogate_logits(loaded, audio), logits)
    config, state, _ = load_release(tmp_path / name, kind="surrogate")
    rest = {key: config[key] for key in ("network", "shape")}
    save_release(tmp_path / "other", "surrogate", rest | {"backend": "compact"}, state)
    with pytest.raises(CheckpointError, match="trained for the backend 'compact'"):
        load_surrogate(tmp_path / "other", debug_backend)


def test_an_unknown_network_is_refused(debug_backend):
    with pytest.raises(LMACError, match="no interpreter 'lime'"):
        build_surrogate("lime", debug_backend, 5, 12)


def test_flint_decodes_on_the_grid_of_the_sound(debug_backend, audio):
    network = build("flint", debug_backend)
    attributes, logits = network(audio.hidden)
    assert isinstance(network, Flint) and attributes.shape == (3, 12) and float(attributes.min()) >= 0
    assert network.decode(attributes).shape == audio.stft.shape
    # A linear map without a bias: attributes add up to the logits.
    torch.testing.assert_close(attributes @ network.linear.weight.T, logits)


def test_flint_entropies_by_hand():
    """Two windows, each with one attribute of its own: concise alone, different together."""
    attributes = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    losses = flint_losses(attributes, torch.zeros(2, 3, 4), torch.ones(2, 3, 4))
    assert losses["loss/entropy"].item() == pytest.approx(ENTROPY * -math.log(2), abs=1e-5)
    assert losses["loss/size"].item() == pytest.approx(SPARSITY * 25.0)
    assert losses["loss/reconstruction"].item() == pytest.approx(5.0)
    same = flint_losses(torch.zeros(2, 2), torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))
    assert same["loss/entropy"].item() == pytest.approx(0.0, abs=1e-6)


def test_the_choice_of_vibi_lets_the_gradient_through():
    """`sample` in the place of `rsample`, as in the authors' code, would leave the explainer without one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        logits = torch.zeros(2, 20, requires_grad=True)
        chosen = relaxed_choice(torch.log_softmax(logits, 1), 4)
        assert chosen.shape == (2, 20) and float(chosen.min()) >= 0 and float(chosen.max()) <= 1
        assert float(chosen.sum(1).mean()) == pytest.approx(4, abs=1.5)
        chosen[:, 0].sum().backward()
    assert float(logits.grad[:, 0].min()) > 0


def test_top_chunks_and_the_prior():
    log_choice = torch.log(torch.tensor([[0.1, 0.4, 0.2, 0.3]]))
    assert top_chunks(log_choice, 2).tolist() == [[0.0, 1.0, 0.0, 1.0]]
    assert prior_loss(torch.full((3, 8), 1 / 8).log(), 4).item() == pytest.approx(0.0, abs=1e-6)
    certain = torch.log_softmax(torch.tensor([[100.0, 0.0, 0.0, 0.0]]), 1)
    assert prior_loss(certain, 2).item() == pytest.approx(PRIOR_WEIGHT * 2 * math.log(4), rel=1e-4)


def test_levels_do_not_depend_on_loudness_and_silence_is_zero(audio):
    levels = levels_of(audio.mel_power)
    torch.testing.assert_close(levels_of(100 * audio.mel_power), levels, atol=1e-4, rtol=0)
    assert float(levels.min()) >= -1e-6
    assert float(levels_of(torch.zeros(1, 4, 5)).abs().max()) < 1e-6


def test_vibi_sees_nothing_outside_of_its_chunks():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Vibi(VibiConfig(32, 100, 3, rows=4, columns=5, chosen=2, widths=(4, 4, 4, 8))).eval()
        levels = torch.rand(1, 32, 100)
    chosen = torch.zeros(1, 20)
    chosen[0, 7] = 1.0  # second row, third column: bands 8 to 15, frames 40 to 59
    changed = levels + torch.rand_like(levels)
    changed[:, 8:16, 40:60] = levels[:, 8:16, 40:60]
    assert torch.equal(network(levels, chosen), network(changed, chosen))
    changed[:, 10, 50] += 1
    assert not torch.equal(network(levels, chosen), network(changed, chosen))


def test_vibi_learns_what_to_look_at():
    """The class is told by one of twelve chunks: what it chooses tells more than a chunk at random."""

    def draw(count):
        label = torch.randint(2, (count,))
        levels = 0.2 * torch.rand(count, 16, 24)
        levels[:, :8, 8:12] += label.float()[:, None, None]
        return levels, label

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = Vibi(VibiConfig(16, 24, 2, rows=2, columns=6, chosen=1, widths=(8, 8, 16, 16)))
        optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
        for _ in range(200):
            levels, label = draw(32)
            log_choice = network.choice(levels)
            logits = network(levels, relaxed_choice(log_choice, 1))
            loss = torch.nn.functional.cross_entropy(logits, label) + prior_loss(log_choice, 1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        network.eval()
        levels, label = draw(300)
        with torch.no_grad():
            found = network.decide(levels).argmax(1)
            anywhere = torch.nn.functional.one_hot(torch.randint(12, (300,)), 12).float()
            blind = network(levels, anywhere).argmax(1)
    assert float((found == label).float().mean()) > 0.9
    assert float((blind == label).float().mean()) < 0.75
