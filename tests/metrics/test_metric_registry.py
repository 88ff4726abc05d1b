"""One entry per metric: complete, computed by one call, and found by everything that iterates over the entries."""

import math
from dataclasses import replace

import pytest
import torch

from lmaczs.metrics import registry
from lmaczs.metrics.faithfulness import faithfulness
from lmaczs.metrics.registry import (
    METRICS,
    MaskSample,
    MetricEntry,
    explanation_keys,
    measure,
    measure_at_equal_area,
)
from lmaczs.metrics.shape import mask_shape
from lmaczs.metrics.top_k import top_k_change


@pytest.fixture
def sample() -> MaskSample:
    generator = torch.Generator().manual_seed(0)
    whole, kept, removed = (3 * torch.randn(4, generator=generator) for _ in range(3))
    return MaskSample(whole, kept, removed, 2, torch.rand(5, 7, generator=generator))


@pytest.mark.parametrize("entry", METRICS.values(), ids=list(METRICS))
def test_every_entry_is_complete(entry):
    assert entry.label and entry.unit and entry.meaning.endswith(".") and entry.meaning[0].isupper()
    assert entry.better in ("higher", "lower", "") and entry.direction in ("↑", "↓", "")
    assert entry.column in METRICS
    if entry.scope == "explanation":
        assert entry.compute is not None


def test_all_metrics_of_the_paper_have_a_direction_and_are_ranked():
    for key in ("ff", "ai", "ad", "ag", "fid_in", "sps", "comp"):
        assert METRICS[key].ranked and METRICS[key].better
    assert METRICS["ad"].better == METRICS["comp"].better == "lower" and METRICS["mm"].better == ""


def test_every_number_is_the_one_of_the_function_that_is_tested_by_hand(sample):
    found = measure(sample) | measure(sample, "evaluation")
    three = (sample.logits[None], sample.kept_logits[None], sample.removed_logits[None])
    expected = faithfulness(*three, torch.tensor([2])) | mask_shape(sample.mask[None])
    assert set(measure(sample)) == set(expected) == set(explanation_keys())
    for key, value in expected.items():
        assert found[key] == float(value)
    changes = top_k_change(*three[:2])[0].tolist()
    assert [found[f"top{place}_change"] for place in (1, 2, 3)] == changes
    assert found["ad_double"] == float(faithfulness(*three, torch.tensor([2]), double_softmax=True)["ad"])


def test_equal_area_has_what_the_classifier_says_and_not_the_shape(sample):
    assert set(measure_at_equal_area(sample)) == {"ff", "ai", "ad", "ag", "fid_in"}


def test_a_third_prompt_among_two_is_nan():
    two = torch.tensor([1.0, 0.0])
    values = measure(MaskSample(two, two, two, 0, torch.ones(2, 2)), "evaluation")
    assert math.isnan(values["top3_change"]) and values["top1_change"] == 0.0


def test_a_new_metric_is_one_entry(sample, monkeypatch):
    toy = MetricEntry(
        "toy", "Toy", "0..1", "higher", "Largest cell of the mask.",
        scope="explanation", compute=lambda sample: float(sample.mask.max()),
    )  # fmt: skip
    monkeypatch.setitem(registry.METRICS, "toy", toy)
    assert measure(sample)["toy"] == float(sample.mask.max())
    assert explanation_keys()[-1] == "toy"


def test_an_empty_mask_has_no_sparseness_and_no_complexity(sample):
    """Its complexity would be 0: a method that finds nothing was the best of a table."""
    found = measure(replace(sample, mask=torch.zeros(5, 7)))
    assert math.isnan(found["sps"]) and math.isnan(found["comp"]) and found["mm"] == 0.0
