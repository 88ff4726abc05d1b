"""LMAC-ZS keeps the smallest mask that its classifier finds enough."""

import math

import pytest
import torch

from lmaczs.clap.recording import listen
from lmaczs.explainers.areas import as_normal, cut_normal
from lmaczs.explainers.lmac_zs.sizes import (
    CERTAIN,
    EDGE,
    LEFT,
    LIKE_RIVALS,
    SIZES,
    SURER,
    brought_out,
    smallest_that_is_enough,
)
from lmaczs.explainers.masked_sound import encode_kept, encode_masked, encode_parts
from lmaczs.hearing import make_target

PROMPTS = ("a beep", "rain", "a dog")


def windows(backend, clip):
    return next(iter(listen(clip, backend).batches(backend)))


def energy(audio, before=0.0):
    """An order of cells: the louder ones first, but behind a share of the quietest."""
    level = audio.stft.abs().log().flatten(1)
    quiet = level.topk(int(before * level.shape[1]), dim=1, largest=False).indices
    return level.scatter(1, quiet, 30.0).view(audio.stft.shape)


def is_enough(backend, audio, target, logits, size):
    """By the definition, of one size at a time."""
    mask = cut_normal(as_normal(logits), torch.full((len(logits),), size), EDGE)
    rows = torch.arange(len(logits))
    whole = torch.sigmoid(target.scale * target.margin(audio.embedding))
    kept, removed = (
        torch.sigmoid(target.scale * target.margin(encode_masked(backend, audio, rows, part, "stft")))
        for part in (mask, 1 - mask)
    )
    return (kept >= (whole + SURER * (1 - whole)).clamp_max(CERTAIN)) & (removed <= LEFT * whole)


def test_the_normal_order_keeps_the_share_that_is_asked_for():
    logits = torch.randn(3, 40, 50, generator=torch.Generator().manual_seed(0)).exp()
    ranks = as_normal(logits)
    assert torch.equal(ranks.flatten(1).argsort(1), logits.flatten(1).argsort(1))
    for area in (0.02, 0.1, 0.3):
        hard = cut_normal(ranks, torch.full((3,), area), 1e-4)
        assert torch.allclose(hard.mean((1, 2)), torch.full((3,), area), atol=1e-3)


def test_what_is_chosen_is_enough_and_the_next_smaller_size_is_not(planted_backend, beep_in_noise):
    audio = windows(planted_backend, beep_in_noise)
    target = make_target(planted_backend, "a beep", PROMPTS)
    logits = energy(audio, before=0.07)
    found, said = smallest_that_is_enough(planted_backend, audio, target, logits, "stft")
    assert said.all()
    masks = [cut_normal(as_normal(logits), torch.full((len(logits),), size), EDGE) for size in SIZES]
    (place,) = [number for number, mask in enumerate(masks) if torch.equal(mask, found)]
    assert 0 < place < len(SIZES) - 1, "the test asks nothing"
    assert is_enough(planted_backend, audio, target, logits, SIZES[place]).all()
    assert not is_enough(planted_backend, audio, target, logits, SIZES[place - 1]).any()


def test_where_no_size_is_enough_the_largest_is_kept(planted_backend, beep_in_noise):
    audio = windows(planted_backend, beep_in_noise)
    target = make_target(planted_backend, "a beep", PROMPTS)
    wrong_way = -energy(audio)
    found, said = smallest_that_is_enough(planted_backend, audio, target, wrong_way, "stft")
    assert not said.any()
    largest = cut_normal(as_normal(wrong_way), torch.full((len(found),), SIZES[-1]), EDGE)
    assert torch.equal(found, largest)


def test_said_is_what_the_classifier_says_of_a_kept_part(planted_backend, make_beep):
    """By the definition, of one of the masks that were heard."""
    audio = windows(planted_backend, make_beep(4.0, 16000, 0))
    target = make_target(planted_backend, "a beep", PROMPTS)
    found = {}
    for name, logits in {"loud": energy(audio), "quiet": -energy(audio)}.items():
        _, said = smallest_that_is_enough(planted_backend, audio, target, logits, "stft")
        masks = [cut_normal(as_normal(logits), torch.full((len(logits),), size), EDGE) for size in SIZES]
        rows = torch.arange(len(logits))
        kept = [target.margin(encode_masked(planted_backend, audio, rows, mask, "stft")) for mask in masks]
        # Among three prompts as surely as among fifty: 3.2 nats, and not 0.
        margin = target.scale * torch.stack(kept)
        assert torch.equal(said, (margin >= math.log(LIKE_RIVALS / 2)).any(0))
        found[name] = said.tolist()
    # The beep is in the first of two windows only.
    assert found == {"loud": [True, False], "quiet": [False, False]}


@pytest.mark.parametrize("rivals", [(), PROMPTS])
def test_windows_do_not_influence_each_other(planted_backend, make_beep, rivals):
    audio = windows(planted_backend, make_beep(6.0, 16000, 0))
    assert len(audio.embedding) > 1
    target = make_target(planted_backend, "a beep", rivals)
    together, all_said = smallest_that_is_enough(planted_backend, audio, target, energy(audio), "stft")
    for row in range(len(together)):
        alone = audio[row : row + 1]
        one, said = smallest_that_is_enough(planted_backend, alone, target, energy(alone), "stft")
        assert torch.equal(said, all_said[row : row + 1])
        assert torch.allclose(together[row : row + 1], one, atol=1e-5)


def test_no_mask_of_a_window_is_heard_twice(planted_backend, make_beep, monkeypatch):
    audio = windows(planted_backend, make_beep(6.0, 16000, 0))
    target = make_target(planted_backend, "a beep", PROMPTS)
    heard = []

    def listening(backend, audio, rows, mask, domain):
        heard.extend(
            (row, round(float(part.mean()), 4)) for row, part in zip(rows.tolist(), mask, strict=True)
        )
        return encode_kept(backend, audio, rows, mask, domain)

    monkeypatch.setattr("lmaczs.explainers.lmac_zs.sizes.encode_kept", listening)
    for logits in (energy(audio), energy(audio, before=0.07), -energy(audio)):
        heard.clear()
        smallest_that_is_enough(planted_backend, audio, target, logits, "stft")
        assert len(set(heard)) == len(heard) >= 2 * len(audio.embedding)


@pytest.mark.parametrize("domain", ["stft", "mel"])
def test_what_is_removed_is_heard_only_where_it_decides(planted_backend, make_beep, monkeypatch, domain):
    """Of windows for which too little is kept it would change nothing."""
    audio = windows(planted_backend, make_beep(6.0, 16000, 0))
    target = make_target(planted_backend, "a beep", PROMPTS)
    logits = energy(audio) if domain == "stft" else audio.mel_power
    heard = []

    def listening(backend, audio, rows, mask, domain):
        kept, removed = encode_kept(backend, audio, rows, mask, domain)
        assert torch.allclose(kept, encode_parts(backend, audio, rows, mask, domain)[0], atol=1e-6)

        def watched(pairs):
            heard.extend(pairs.tolist())
            found, expected = removed(pairs), encode_parts(backend, audio, rows, mask, domain)[1]
            assert torch.allclose(found, expected[pairs], atol=1e-6)
            return found

        return kept, watched

    monkeypatch.setattr("lmaczs.explainers.lmac_zs.sizes.encode_kept", listening)
    smallest_that_is_enough(planted_backend, audio, target, logits, domain)
    assert heard
    heard.clear()
    smallest_that_is_enough(planted_backend, audio, target, -logits, domain)
    assert not heard


def test_few_rivals_ask_for_more_certainty():
    assert brought_out(LIKE_RIVALS) == brought_out(200) == 0.5
    assert brought_out(2) == pytest.approx(1 / (1 + 2 / 49)) and brought_out(2) > brought_out(9) > 0.8
