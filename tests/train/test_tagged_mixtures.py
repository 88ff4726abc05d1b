"""Mixtures with tags: their recipes, their levels, and that SONYC-UST's own reader reads them."""

import pytest
import soundfile
import torch

from lmaczs.data.registry import DATASETS
from lmaczs.data.sonyc_ust import TAGS
from train.tagged_mixtures import (
    BACKGROUND_DB,
    CLASSES,
    GAIN_DB,
    draw_recipes,
    tag_of,
    write_tables,
)

LABELS = [name for classes in CLASSES.values() for name in classes] + ["rain", "cat"]


def test_every_tag_stands_for_classes_of_its_own():
    assert tuple(CLASSES) == TAGS and len(set(LABELS)) == len(LABELS)
    assert tag_of("church_bells") == tag_of("church bells") == "music" and tag_of("rain") is None


def test_recipes_are_what_their_tags_say():
    recipes = draw_recipes(LABELS, 400, seed=0)
    assert recipes == draw_recipes(LABELS, 400, seed=0) != draw_recipes(LABELS, 400, seed=1)
    for recipe in recipes:
        background, *parts = [tag_of(LABELS[place]) for place in recipe.parts]
        assert background is None and len(set(parts)) == len(parts) <= 3
        assert recipe.tags == tuple(tag for tag in TAGS if tag in parts)
        assert all(abs(gain) <= GAIN_DB / 2 for gain in recipe.gains_db[1:])
        low, high = sorted(BACKGROUND_DB)
        assert low <= recipe.gains_db[0] <= high or not parts
    counts = [sum(tag in recipe.tags for recipe in recipes) for tag in TAGS]
    assert min(counts) > 50, "every tag is met"


def test_a_tag_without_clips_is_told():
    with pytest.raises(ValueError, match="no clip for dog"):
        draw_recipes([label for label in LABELS if label != "dog"], 1, 0)
    with pytest.raises(ValueError, match="no clip for background"):
        draw_recipes([label for label in LABELS if tag_of(label)], 1, 0)


def test_the_reader_of_the_real_set_reads_the_tables(tmp_path):
    (tmp_path / "audio").mkdir()
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / "audio" / name, torch.zeros(1600).numpy(), 16000)
    write_tables(tmp_path, {"a.wav": ("train", ("dog", "engine")), "b.wav": ("validate", ())})
    found = DATASETS["sonyc-ust"].list_clips(tmp_path)
    assert [(clip.path, clip.split, clip.labels) for clip in found.clips] == [
        ("a.wav", "train", ("engine", "dog")),
        ("b.wav", "validate", ()),
    ]
    assert not found.bad_rows and not found.missing
