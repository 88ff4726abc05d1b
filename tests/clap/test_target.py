"""What is explained: the number for each window, worked out by hand, and the sentences in it."""

import math
from dataclasses import replace

import pytest
import torch

from lmaczs.clap import load_backend
from lmaczs.clap.target import SCORES, make_target
from lmaczs.errors import LMACError, PromptError
from lmaczs.explainers import load_explainer
from lmaczs.hearing import explain, listen

# The planted model: a beep is (1, 0, 0, 0), all others (0, 1, 0, 0); scale 10.
RIVALS = ["a beep", "rain", "wind"]
SOUND = torch.tensor([[0.6, 0.8, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cosine", 0.6),
        ("logit", 6.0),
        # The prompt is not its own rival.
        ("probability", math.exp(6) / (math.exp(6) + 2 * math.exp(8))),
        ("contrastive", 6.0 - 8.0),
    ],
)
def test_a_score_is_what_its_name_says(planted_backend, name, expected):
    target = make_target(planted_backend, "a beep", RIVALS, name)
    assert float(target(SOUND)) == pytest.approx(expected, rel=1e-5)
    both = target(torch.cat([SOUND, SOUND.flip(1)]))
    assert both.shape == (2,) and float(both[0]) == pytest.approx(expected, rel=1e-5)


def test_a_prompt_need_not_be_among_its_rivals(planted_backend):
    inside = make_target(planted_backend, "a beep", ["a beep", "rain"], "probability")
    outside = make_target(planted_backend, "a beep", ["rain"], "probability")
    assert torch.equal(inside(SOUND), outside(SOUND))
    assert inside.rivals == outside.rivals == ("rain",)


def test_sentences_are_trimmed_and_said_once(planted_backend):
    target = make_target(planted_backend, "  a beep ", [" rain", "rain", "wind  "], "contrastive")
    assert target.prompt == "a beep" and target.rivals == ("rain", "wind")
    assert target.embedding.tolist() == [1, 0, 0, 0] and target.rival_embeddings.shape == (2, 4)
    assert target.scale == pytest.approx(10.0)


@pytest.mark.parametrize("name", SCORES)
def test_the_gradient_is_that_of_the_score(planted_backend, name):
    target = make_target(planted_backend, "a beep", RIVALS, name)
    in_double = replace(
        target, embedding=target.embedding.double(), rival_embeddings=target.rival_embeddings.double()
    )
    assert torch.autograd.gradcheck(in_double, SOUND.double().requires_grad_())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_a_target_made_without_gradients_can_take_part_in_one(planted_backend, context):
    with context():
        target = make_target(planted_backend, "a beep", RIVALS, "contrastive")
    sound = SOUND.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(target(sound).sum(), sound)
    assert gradient[0].tolist() == [10.0, -10.0, 0.0, 0.0]
    assert not target.embedding.requires_grad


def test_comparing_needs_something_to_compare_with(planted_backend):
    for name in ("probability", "contrastive"):
        for rivals in ((), ["a beep", "another beep"]):
            with pytest.raises(LMACError, match="the only one: add prompts, or choose 'cosine' or 'logit'"):
                make_target(planted_backend, "a beep", rivals, name)
    with pytest.raises(PromptError, match="Prompt 2 is empty"):
        make_target(planted_backend, "a beep", ["rain", " "], "contrastive")
    with pytest.raises(LMACError, match="no score 'loss': choose one of 'cosine', 'logit'"):
        make_target(planted_backend, "a beep", RIVALS, "loss")
    alone = make_target(planted_backend, "a beep", ["a beep"], "cosine")
    assert float(alone(SOUND)) == pytest.approx(0.6) and alone.rivals == ()


@pytest.mark.parametrize(("name", "unit"), [("cosine", 1.0), ("logit", 10.0), ("contrastive", 10.0)])
def test_differences_within_rounding_are_none(planted_backend, name, unit):
    target = make_target(planted_backend, "a beep", RIVALS, name)
    differences = unit * torch.tensor([1e-7, -1e-6, 5e-6, -1.0])
    found = target.zero_below_rounding(differences, torch.tensor([0.5]))
    assert found.tolist() == [0.0, 0.0, *differences[2:].tolist()]


def test_what_rounding_is_depends_on_how_certain_a_probability_is(planted_backend):
    target = make_target(planted_backend, "a beep", RIVALS, "probability")
    difference = torch.tensor([1e-6])
    assert not target.zero_below_rounding(difference, torch.tensor([0.5])).any()
    assert target.zero_below_rounding(difference, torch.tensor([1e-3])).any()


def test_a_prompt_that_is_a_rival_to_the_model_is_refused_before_any_work(make_beep):
    """Found only when the parts were measured, the explanation was lost."""
    compact, told = load_backend("compact-2", "cpu"), []
    method = load_explainer("saliency", compact)
    recording = listen(make_beep(), compact)
    with pytest.raises(PromptError, match="the same to this model"):
        explain(
            recording,
            ["a siren", "rain"],
            compact,
            method,
            target="A SIREN",
            progress=lambda *step: told.append(step),
        )
    assert not told


def test_tokens_of_a_prompt_are_made_once(debug_backend, monkeypatch):
    asked = []
    tokens = debug_backend.prompt_tokens
    monkeypatch.setattr(debug_backend, "prompt_tokens", lambda prompt: asked.append(prompt) or tokens(prompt))
    for _ in range(2):
        make_target(debug_backend, "a bell that nobody rang", ("a drum that nobody beat",))
    assert sorted(asked) == ["a bell that nobody rang", "a drum that nobody beat"]
