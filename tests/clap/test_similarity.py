"""Cosine, logit and probability are three things; the numbers are worked out by hand."""

import math

import pytest
import torch

from lmaczs.clap.similarity import matches, predict, probabilities, prompts_from_labels, similarities
from lmaczs.cli.classify import ranked_table
from lmaczs.results import prediction_row
from lmaczs.types import TextState


def test_labels_become_sentences_with_the_papers_prefix():
    assert prompts_from_labels(["dog", "car_horn", " rain "]) == [
        "this is the sound of dog",
        "this is the sound of car horn",
        "this is the sound of rain",
    ]


def test_similarity_of_unit_vectors_is_the_cosine():
    audio = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    text = torch.tensor([[0.0, 1.0], [0.8, 0.6]])
    torch.testing.assert_close(similarities(audio, text), torch.tensor([[0.0, 0.8], [0.8, 0.96]]))


def test_probabilities_use_the_logit_scale():
    """softmax(ln 3 * [1, 0]) = [3, 1] / 4; a plain softmax of cosines would say [0.73, 0.27]."""
    result = probabilities(torch.tensor([[1.0, 0.0]]), torch.tensor(math.log(3)))
    torch.testing.assert_close(result, torch.tensor([[0.75, 0.25]]))


def test_a_decision_is_the_nearest_prompt_and_follows_the_order_of_the_prompts():
    audio = torch.tensor([0.6, 0.8])
    embedding = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    scale = torch.tensor(10.0)
    first = predict(audio, TextState(("a", "b", "c"), embedding), scale)
    assert first.predicted == 1
    assert float(first.probabilities.sum()) == pytest.approx(1.0, abs=1e-6)
    order = torch.tensor([2, 0, 1])
    second = predict(audio, TextState(("c", "a", "b"), embedding[order]), scale)
    assert second.prompts[second.predicted] == "b"
    torch.testing.assert_close(second.probabilities, first.probabilities[order])
    torch.testing.assert_close(second.similarities, first.similarities[order])


def test_a_prompt_matches_by_its_own_similarity_and_not_by_its_rank():
    assert matches(torch.tensor([0.05, 0.1, 0.29, 0.3]), (0.1, 0.3)) == ("none", "weak", "weak", "strong")
    assert matches(torch.tensor([0.9]), None) == ()


def test_where_nothing_fits_the_table_says_so_though_a_prompt_is_the_most_probable():
    audio, scale = torch.tensor([0.6, 0.8]), torch.tensor(10.0)
    text = TextState(("a", "b"), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    nothing = predict(audio, text, scale, match_limits=(0.9, 0.95))
    assert nothing.predicted == 1 and nothing.match == ("none", "none")
    table = ranked_table("x.wav", nothing).splitlines()
    assert table[1] == "  probability  similarity  match   prompt"
    assert table[-1] == "  None of these prompts fits the recording."
    some = predict(audio, text, scale, match_limits=(0.5, 0.7))
    assert [line.split()[-2:] for line in ranked_table("x.wav", some).splitlines()[2:]] == [
        ["strong", "b"],
        ["weak", "a"],
    ]
    assert prediction_row(some)["match"] == ["weak", "strong"]
    assert prediction_row(predict(audio, text, scale))["match"] is None
