"""Sentences of errors can be shown anywhere, whatever the values in them."""

import pytest

from lmaczs.errors import FIRST_LETTERS, LAST_LETTERS, CheckpointError, LMACError


def test_an_ordinary_sentence_stays_as_it_is():
    said = "The release 'ハロー 🐕 é' cannot be used: choose another one."
    assert str(LMACError(said)) == said and repr(LMACError(said)).count(said) == 1


@pytest.mark.parametrize("value", ["\x1b[31m", "\ud83d", "\0", "a\nb", "\u202e", "\u2028", "\x85"])
def test_what_cannot_be_printed_is_shown_as_a_question_mark(value):
    said = str(CheckpointError(f"The release holds '{value}': fetch it again."))
    assert said.isprintable() and "?" in said
    assert said.startswith("The release holds '") and said.endswith("': fetch it again.")


def test_a_value_without_an_end_leaves_beginning_and_end():
    said = str(LMACError(f"There is no method '{'a' * 5000}': choose another one."))
    assert len(said) == FIRST_LETTERS + 1 + LAST_LETTERS
    assert said.startswith("There is no method 'aaa") and said.endswith("aaa': choose another one.")
