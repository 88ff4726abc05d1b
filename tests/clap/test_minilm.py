"""The text encoder is the one that the compact CLAP learned with: its weights, and how it reads a sentence."""

import pytest
from transformers import AutoTokenizer

from lmaczs.clap.minilm import check_tokenizer, minilm_folder
from lmaczs.errors import CheckpointError


@pytest.fixture
def tokenizer():
    return AutoTokenizer.from_pretrained(minilm_folder(), local_files_only=True)


def test_the_tokenizer_that_is_installed_fits(tokenizer):
    check_tokenizer(tokenizer)


def test_another_vocabulary_is_refused_in_one_sentence(tokenizer):
    tokenizer.add_tokens(["barkbark"])
    with pytest.raises(
        CheckpointError, match=r"reads sentences in another way .* reinstall it with 'pip install"
    ):
        check_tokenizer(tokenizer)


def test_the_same_words_read_in_another_way_are_refused(tokenizer):
    """A tokenizer that keeps capitals has the same vocabulary."""
    tokenizer.backend_tokenizer.normalizer = None
    with pytest.raises(CheckpointError, match="reads sentences in another way"):
        check_tokenizer(tokenizer)
