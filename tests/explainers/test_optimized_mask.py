"""The mask that is fitted to one clip: it serves its objective, and competes with rivals or everyday sounds."""

import pytest
import torch

from lmaczs import load_backend
from lmaczs.explainers import load_explainer
from lmaczs.explainers.optimized_mask import EVERYDAY, typical_neighbour
from lmaczs.hearing import make_target


def test_a_fitted_mask_serves_its_objective(planted_backend, beep_in_noise):
    """Kept, the beep is recognised, and what is removed is none: better so than with the mask that it starts from."""
    audio = planted_backend.analyze(beep_in_noise.waveform.unsqueeze(0))
    target = make_target(planted_backend, "a beep")
    spectrum = audio.stft.abs().square()

    def similarity(method):
        found = load_explainer(method, planted_backend).map_windows(audio, target)
        kept, removed = (
            planted_backend.encode(planted_backend.mel_power(spectrum * part.square()))[0] @ target.embedding
            for part in (found.values, 1 - found.values)
        )
        return float(kept), float(removed)

    kept, removed = similarity("optimized-mask")
    assert kept > 0.9 and removed < 0.5
    first_kept, first_removed = similarity("lmac-any")
    assert kept - removed > first_kept - first_removed


def test_it_takes_sixty_passes_at_most(debug_backend):
    assert load_explainer("optimized-mask", debug_backend).passes() <= 60


def test_a_fitted_mask_follows_the_prompt_and_its_rivals(planted_backend, beep_in_noise):
    audio = planted_backend.analyze(beep_in_noise.waveform.unsqueeze(0))
    method = load_explainer("optimized-mask", planted_backend, "mel", steps=5)

    def values(prompt, rivals=()):
        return method.map_windows(audio, make_target(planted_backend, prompt, rivals)).values

    plain = values("a beep")
    assert plain.any() and not torch.equal(plain, values("rain"))
    assert not torch.equal(plain, values("a beep", ["rain", "a beep"]))
    # Everyday sounds take the place of rivals that mean the same.
    assert torch.equal(plain, values("a beep", ["a beep"]))


def test_everyday_rivals_that_mean_the_same_stand_aside():
    """By the text encoder of the shipped model: "rainfall" has no rival in "rain", and most others stay."""
    backend = load_backend("compact-2", "cpu")
    contest = load_explainer("optimized-mask", backend, "mel")._contest(make_target(backend, "rainfall"))
    rain = backend.encode_text(["this is the sound of rain"]).embedding[0]
    assert len(contest.rivals) == len(contest.rival_embeddings) >= len(EVERYDAY) // 2
    assert float((contest.rival_embeddings @ rain).max()) < 0.99


def test_typical_neighbours_are_the_mean_of_the_nearest():
    directions = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    assert typical_neighbour(directions) == pytest.approx((0.6 + 0.8 + 0.8) / 3)
