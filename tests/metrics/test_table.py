"""Means, medians and counts, and the table that shows them."""

import math

import pytest
import torch

from lmaczs.metrics.faithfulness import faithfulness
from lmaczs.metrics.shape import mask_shape
from lmaczs.metrics.table import (
    METRICS,
    aggregate,
    as_tensors,
    best_rows,
    format_value,
    markdown_table,
    metric_notes,
    table_value,
)

VALUES = {
    "mm": torch.tensor([0.2, 0.0, 0.4, 0.6]),
    "ad": torch.tensor([10.0, 100.0, 30.0, math.nan]),
}


def test_every_metric_that_is_computed_is_described():
    logits = torch.zeros(1, 2)
    computed = faithfulness(logits, logits, logits, torch.tensor([0])) | mask_shape(torch.ones(1, 2, 2))
    assert set(computed) <= set(METRICS)
    assert METRICS["ad"].direction == "↓" and METRICS["ff"].direction == "↑" and METRICS["mm"].direction == ""


def test_aggregate_counts_values_and_empty_masks():
    row = aggregate(VALUES)
    assert row["ad"]["mean"] == pytest.approx(140 / 3)
    assert row["ad"]["median"] == 30.0
    assert (row["ad"]["n"], row["ad"]["n_empty"]) == (3, 1)
    assert row["mm"] == pytest.approx({"mean": 0.3, "median": 0.3, "n": 4, "n_empty": 1})


def test_aggregate_without_empty_masks_leaves_their_clips_out_everywhere():
    row = aggregate(VALUES, without_empty=True)
    assert row["ad"]["mean"] == 20.0
    assert (row["ad"]["n"], row["ad"]["n_empty"]) == (2, 1)
    assert row["mm"]["mean"] == pytest.approx(0.4)


def test_a_column_without_values_is_nan_with_n_zero():
    row = aggregate({"ff": torch.tensor([math.nan])})["ff"]
    assert math.isnan(row["mean"]) and math.isnan(row["median"])
    assert (row["n"], row["n_empty"]) == (0, 0)


def test_missing_keys_become_nan():
    columns = as_tensors([{"ff": 0.5}, {}], ["ff"])
    assert columns["ff"][0] == 0.5
    assert columns["ff"][1].isnan()


def test_table_shows_direction_digits_and_n():
    table = markdown_table([("ours", aggregate(VALUES)), ("nothing", {})], ["ad", "mm"])
    lines = table.splitlines()
    assert lines[0] == "| method | AD ↓ [%] | Mask mean [0..1] | n | n empty |"
    assert lines[2] == "| ours | 46.7 | 0.300 | 3/4 | 1 |"
    assert lines[3] == "| nothing | – | – | 0 | 0 |"


def row(ad, mm):
    return aggregate({"ad": torch.tensor([ad]), "mm": torch.tensor([mm])})


def test_the_best_of_those_that_compete_is_bold_and_a_column_without_direction_has_none():
    rows = [("a", row(5.0, 0.2)), ("b", row(3.0, 0.3)), ("c", row(3.0, 0.1)), ("control", row(0.0, 1.0))]
    lines = markdown_table(rows, ["ad", "mm"], ranked=("a", "b", "c")).splitlines()
    assert lines[2:] == [
        "| a | 5.0 | 0.200 | 1 | 0 |",
        "| b | **3.0** | 0.300 | 1 | 0 |",
        "| c | **3.0** | 0.100 | 1 | 0 |",
        "| control | 0.0 | 1.000 | 1 | 0 |",
    ]
    assert best_rows(rows, "ad") == {"control"} and best_rows(rows, "mm") == set()
    assert best_rows([("a", row(math.nan, 1.0))], "ad") == set()


def test_mean_and_median_of_ff_stand_side_by_side():
    found = aggregate({"ff": torch.tensor([0.0, 0.1, 0.8])})
    assert table_value(found, "ff") == pytest.approx(0.3)
    assert table_value(found, "ff_median") == pytest.approx(0.1)
    assert (
        markdown_table([("ours", found)], ["ff", "ff_median"]).splitlines()[2]
        == "| ours | 0.30 | 0.10 | 3 | 0 |"
    )


def test_numbers_have_the_metrics_digits():
    assert format_value("ad", 12.345) == "12.3"
    assert format_value("sps", 0.98765) == "0.988"
    assert format_value("ff", -0.001) == "0.00"
    assert format_value("ff", math.nan) == "–"


def test_notes_explain_each_column():
    notes = metric_notes(["ff"])
    assert notes.startswith("- **FF ↑ [-1..1]**: ") and notes.endswith(".\n")
