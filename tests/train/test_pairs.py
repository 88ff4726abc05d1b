"""Which prompts are explained, and what they compete with."""

from types import SimpleNamespace

import pytest
import torch

from lmaczs.explainers.areas import AREAS
from train.pairs import COMPARED, Sounds, draw_areas, make_pairs
from train.texts import TextBank
from train.train_lmac_zs import TrainConfig


@pytest.fixture
def explain():
    """make_pairs for one window whose concepts 0, 1 and 2 sound less and less like it; 0 and 1 are siblings."""
    eye = torch.eye(5)
    siblings = torch.zeros(5, 5, dtype=torch.bool)
    siblings[0, 1] = siblings[1, 0] = True
    rows = tuple(torch.tensor([i]) for i in range(5))
    bank = TextBank(tuple("abcde"), eye, rows, siblings, torch.zeros(0, 2), torch.zeros(0, 5))
    sampler = SimpleNamespace(concept_weight=torch.ones(5))
    backend = SimpleNamespace(project_text=lambda features: features)

    def run(concepts: list[int], **settings):
        sounds = Sounds(
            torch.zeros(1, 8), torch.zeros(len(concepts), dtype=torch.long), torch.tensor(concepts)
        )
        embedding = torch.tensor([[0.8, 0.5, 0.3, 0.1, 0.0]])
        config = TrainConfig("", "", predicted_share=1.0, predicted_mixture_share=1.0, **settings)
        return make_pairs(sounds, embedding, bank, sampler, backend, config, torch.Generator().manual_seed(0))

    return run


def explained(pairs) -> list[int]:
    """Concepts of the right pairs."""
    return pairs.text[pairs.right].argmax(1).tolist()


def test_the_decision_is_explained_among_all_sentences(explain):
    pairs = explain([3])
    assert explained(pairs) == [0]
    assert pairs.ignored[0].tolist() == [True, True, False, False, False], "itself and its sibling"


def test_a_sound_without_a_prompt_is_taken_for_something_else(explain):
    pairs = explain([0], unnamed_share=1.0)
    assert explained(pairs) == [2], "neither what it is nor what means the same"
    assert pairs.ignored[0].tolist() == [True, True, True, False, False]


def test_only_the_decision_knows_nothing_of_the_unnamed_sounds_of_a_mixture(explain):
    pairs = explain([2, 0], unnamed_share=1.0)
    assert explained(pairs) == [3, 0]
    assert pairs.ignored[0].tolist() == [True, True, True, True, False]
    assert pairs.ignored[1].tolist() == [True, True, False, False, False]


def test_something_is_left_to_decide_for_and_to_compete_with(explain):
    pairs = explain([0, 2, 3, 4], unnamed_share=1.0)
    assert pairs.right.all(), "no wrong prompt is left where all sound at once"
    assert explained(pairs)[0] == 0
    assert not pairs.ignored.all(1).any()


def test_fewer_concepts_than_rivals(explain):
    pairs = explain([0], num_rivals=64)
    assert len(pairs.rivals) == 5


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_areas_are_drawn_where_methods_are_compared_as_often_as_asked(share):
    area = draw_areas(6000, share, torch.Generator().manual_seed(0))
    assert set(area.tolist()) <= set(torch.tensor(AREAS[1:]).tolist()), "each has its own estimate of worth"
    compared = torch.isin(area, torch.tensor(COMPARED)).float().mean()
    assert float(compared) == pytest.approx(share + (1 - share) / 3, abs=0.03)
