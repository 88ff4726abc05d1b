"""What a prompt says, and which prompts no model is asked."""

import pytest
import torch

from lmaczs import explain_clip, load_explainer
from lmaczs.clap import load_backend
from lmaczs.clap.prompts import checked_prompts, clean_prompts, lines_of, plain_prompt
from lmaczs.errors import PromptError
from lmaczs.types import AudioClip


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
        (["a\ud800"], "U\\+D800, which is half of a character"),
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
    backend = load_backend("compact-2", "cpu")
    with pytest.raises(PromptError, match="has 200 tokens, and this model reads 126"):
        backend.encode_text(["rain " * 200])
    with pytest.raises(PromptError, match="Prompts 1 and 2 are the same"):
        backend.encode_text(["A dog", "a dog"])


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ("rain", "not a list of texts"),
        ([7], "Prompt 1 is no text"),
        (["rain", "half \ud83d an emoji"], r"Prompt 2 holds U\+D83D, which is half of a character"),
        (["nul\0l"], r"control character U\+0000"),
        (["rain\x1c"], r"control character U\+001C"),  # what `strip` takes for space
        (["next\x85line"], r"control character U\+0085"),
        (["x" * 2001], "2,001 characters"),
        (["x"] * 1001, "1001 prompts are too many"),
    ],
)
def test_what_is_no_text_is_refused_without_a_model(prompts, words):
    with pytest.raises(PromptError, match=words) as caught:
        clean_prompts(prompts)
    str(caught.value).encode("utf-8")


def test_only_line_ends_part_prompts():
    assert lines_of("a\r\nb\rc\nd\u2028e") == ["a", "b", "c", "d", "e"]
    assert lines_of("a\x0bb\x1cc\x85d") == ["a\x0bb\x1cc\x85d"]
    assert clean_prompts([" 🐕 bellt \n", "ένας σκύλος"]) == ("🐕 bellt", "ένας σκύλος")


@pytest.mark.parametrize(
    "twin", ["A Dog", "a d\u200bog", "a\u00a0dog", "a d\u00adog", "a  dog", "a do\u0301g", "ａ ｄｏｇ"]
)
def test_twins_to_the_embedded_model_are_refused_before_any_sound_is_heard(twin, monkeypatch):
    backend = load_backend("compact-2", "cpu")
    monkeypatch.setattr(backend, "analyze", lambda *arguments: pytest.fail("a sound was heard"))
    clip = AudioClip(torch.sin(torch.arange(16000) / 10), 16000, "tone")
    if backend.prompt_tokens(twin) != backend.prompt_tokens("a dog"):
        pytest.skip("another prompt to this model")
    with pytest.raises(PromptError, match="Prompts 1 and 2 are the same to this model"):
        explain_clip(clip, ["a dog", twin], backend, load_explainer("saliency", backend))
    with pytest.raises(PromptError, match="are the same to this model"):
        explain_clip(clip, ["a dog", "rain"], backend, load_explainer("saliency", backend), target=twin)
