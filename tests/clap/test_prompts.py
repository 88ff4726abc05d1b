"""What a prompt says, and which prompts no model is asked."""

import pytest

from lmaczs.clap import load_backend
from lmaczs.clap.prompts import checked_prompts, plain_prompt
from lmaczs.errors import PromptError


def code_points(prompt):
    return [ord(character) for character in prompt]


@pytest.mark.parametrize(
    "prompt",
    [
        "rain", "Rain", "rain.", "RAIN!", "the rain", " this is the sound of rain ", "This is the sound of rain.",
        "this is a sound of rain", "The sound of rain", "the noise of the rain", "sounds of rain",
        "it is the sound of rain",
    ],
)  # fmt: skip
def test_prefix_capitals_article_and_full_stop_say_nothing(prompt):
    assert plain_prompt(prompt) == "rain"


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [
        ("a dog barking at a cat", "dog barking at a cat"), ("car_horn", "car horn"), ("the", "the"), ("...", "..."),
        ("sound of", "sound of"), ("The Sound of Music", "music"), ("an air conditioner", "air conditioner"),
        ("anvil", "anvil"), ("another dog", "another dog"),
    ],
)  # fmt: skip
def test_what_says_something_stays(prompt, plain):
    assert plain_prompt(prompt) == plain


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ([], "No prompt was given"),
        (["rain", " "], "Prompt 2 is empty"),
        (["rain\x07"], "control character U\\+0007"),
        (["a\ud800"], "control character U\\+D800"),
        (["one\ntwo"], "control character U\\+000A"),
        (["x" * 11], "Prompt 1 has 11 tokens, and this model reads 10"),
    ],
)
def test_prompts_that_cannot_be_read_are_refused_in_one_sentence(prompts, words):
    with pytest.raises(PromptError, match=words) as caught:
        checked_prompts(prompts, code_points, 10)
    assert str(caught.value).count(". ") == 0


def test_twins_are_refused_and_repeats_are_not():
    def capital(prompt):
        return code_points(prompt.upper())

    assert checked_prompts(["rain", "wind ", "rain"], capital, 10) == ("rain", "wind", "rain")
    with pytest.raises(PromptError, match="Prompts 1 and 3 are the same to this model"):
        checked_prompts(["rain", "wind", "Rain"], capital, 10)
    with pytest.raises(PromptError, match="Prompt 1 has no word"):
        checked_prompts(["rain"], lambda prompt: [], 10)


def test_the_embedded_model_asks_its_own_tokenizer_before_it_embeds():
    backend = load_backend("compact", "cpu")
    with pytest.raises(PromptError, match="has 200 tokens, and this model reads 126"):
        backend.encode_text(["rain " * 200])
    with pytest.raises(PromptError, match="Prompts 1 and 2 are the same"):
        backend.encode_text(["A dog", "a dog"])
