"""Means, medians, intervals and counts, and the table that shows them."""

import math

import pytest
import torch

from lmaczs.metrics.registry import METRICS
from lmaczs.metrics.statistics import Ranking, as_columns
from lmaczs.metrics.table import format_value, markdown_table, metric_notes, summarise, table_value

VALUES = {"mm": torch.tensor([0.2, 0.0, 0.4, 0.6]), "ad": torch.tensor([10.0, 100.0, 30.0, math.nan])}


def test_a_summary_counts_the_values_that_are_there():
    row = summarise(VALUES)
    assert row["ad"]["mean"] == pytest.approx(140 / 3) and row["ad"]["median"] == 30.0
    assert row["ad"]["n"] == 3 and row["mm"]["n"] == 4
    assert 10.0 <= row["ad"]["low"] < row["ad"]["mean"] < row["ad"]["high"] <= 100.0


def test_a_column_without_values_is_nan_with_n_zero():
    row = summarise({"ff": torch.tensor([math.nan])})["ff"]
    assert all(math.isnan(row[name]) for name in ("mean", "median", "low", "high")) and row["n"] == 0


def test_missing_keys_become_nan():
    columns = as_columns([{"ff": 0.5}, {}], ["ff"])
    assert columns["ff"][0] == 0.5 and columns["ff"][1].isnan()


def test_a_table_shows_direction_digits_interval_and_n():
    ours = {"ad": {"mean": 46.66, "low": 10.0, "high": 76.0, "n": 3}, "mm": {"mean": 0.3, "n": 4}}
    lines = markdown_table([("ours", ours), ("nothing", {})], ["ad", "mm"]).splitlines()
    assert lines[0] == "| method | AD ↓ [%] | Mask mean [0..1] | n |"
    assert lines[2] == "| ours | 46.7 [10.0, 76.0] | 0.300 | 3/4 |"
    assert lines[3] == "| nothing | – | – | 0 |"


def test_the_best_is_bold_and_those_that_are_tied_are_in_italics():
    rows = [(name, {"ad": {"mean": value, "n": 9}}) for name, value in (("a", 5.0), ("b", 3.0), ("c", 3.1))]
    assert [line.split(" | ")[1] for line in markdown_table(rows, ["ad"], {"ad": Ranking("b")}).splitlines()[2:]] == [
        "5.0", "**3.0**", "3.1",
    ]  # fmt: skip
    tied = markdown_table(rows, ["ad"], {"ad": Ranking(None, ("b", "c"))}).splitlines()[2:]
    assert [line.split(" | ")[1] for line in tied] == ["5.0", "*3.0*", "*3.1*"]


def test_mean_and_median_of_ff_stand_side_by_side_with_an_interval_each():
    found = summarise({"ff": torch.tensor([0.0, 0.1, 0.8])})
    assert table_value(found, "ff") == pytest.approx(0.3)
    assert table_value(found, "ff_median") == pytest.approx(0.1)
    assert found["ff_median"]["n"] == 3 and found["ff_median"]["high"] == pytest.approx(0.8)


def test_numbers_have_the_metrics_digits():
    assert format_value("ad", 12.345) == "12.3"
    assert format_value("sps", 0.98765) == "0.988"
    assert format_value("ff", -0.001) == "0.00"
    assert format_value("ff", math.nan) == "–"


def test_notes_explain_each_column():
    assert metric_notes(["ff"]) == f"- **FF ↑ [-1..1]**: {METRICS['ff'].meaning}\n"
