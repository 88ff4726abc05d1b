"""Intervals, comparisons, rankings and correlations with known answers."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import spearmanr

from lmaczs.metrics.statistics import Ranking, bootstrap, paired_difference, pearson, rank, spearman


def noise(count, seed=0):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_interval_is_that_of_scipy():
    values = noise(200).exp()
    ours = bootstrap(values)
    theirs = scipy_bootstrap(
        (values.numpy(),), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(0)
    ).confidence_interval
    assert ours.value == pytest.approx(float(values.mean())) and ours.n == 200
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.1 * width and abs(ours.high - theirs.high) < 0.1 * width


def test_the_interval_covers_the_truth_in_about_95_of_100_samples():
    covered = 0
    for seed in range(200):
        found = bootstrap(noise(60, seed))
        covered += found.low <= 0.0 <= found.high
    assert 180 <= covered <= 199


def test_an_interval_depends_on_values_and_seed_alone():
    values = noise(30)
    assert bootstrap(values) == bootstrap(values.clone())
    assert bootstrap(values, seed=1) != bootstrap(values)
    assert bootstrap(torch.cat([values, torch.tensor([math.nan])])) == bootstrap(values)


def test_few_values():
    nothing, one = bootstrap(torch.tensor([math.nan])), bootstrap(torch.tensor([0.25]))
    assert nothing.n == 0 and math.isnan(nothing.value) and math.isnan(nothing.low)
    assert (one.value, one.low, one.high, one.n) == (0.25, 0.25, 0.25, 1)


def test_a_difference_is_taken_clip_by_clip():
    """Two methods that differ by 0.1 on every clip, while clips differ by far more: only the pairing can tell."""
    clips = 10 * noise(50)
    found = paired_difference(clips + 0.1, clips)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.1))
    apart = bootstrap(clips)
    assert apart.high - apart.low > 3
    missing = clips.clone()
    missing[:20] = math.nan
    assert paired_difference(clips, missing).n == 30
    with pytest.raises(ValueError, match="same recordings"):
        paired_difference(clips, clips[:3])


def test_best_is_said_only_where_the_interval_excludes_zero():
    clips, jitter = noise(80), 0.5 * noise(80, 1)
    values = {"good": clips + 1.0, "as good": clips + 1.0 + jitter - jitter.mean(), "bad": clips}
    assert rank({"good": values["good"], "bad": values["bad"]}, "higher") == Ranking("good")
    assert rank({"good": values["good"], "bad": values["bad"]}, "lower") == Ranking("bad")
    both = rank(values, "higher")
    assert both.best is None and set(both.tied) == {"good", "as good"}
    assert rank({"same": clips, "equal": clips.clone()}, "higher") == Ranking(None, ("same", "equal"))


def test_a_method_without_values_and_a_metric_without_direction():
    empty = torch.full((5,), math.nan)
    assert rank({"only": torch.ones(5), "empty": empty}, "higher") == Ranking("only")
    assert rank({"empty": empty}, "higher") == rank({"only": torch.ones(5)}, "") == Ranking()


def test_rank_correlation_is_that_of_scipy_with_ties():
    generator = torch.Generator().manual_seed(2)
    first = (8 * torch.rand(30, 20, generator=generator)).floor() / 8
    second = (first + torch.rand(30, 20, generator=generator)).round(decimals=1)
    expected = spearmanr(first.flatten().numpy(), second.flatten().numpy()).statistic
    assert spearman(first, second) == pytest.approx(expected, abs=1e-12)
    assert spearman(first, first.square()) == pytest.approx(1.0)
    assert spearman(first, -first) == pytest.approx(-1.0)
    assert pearson(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0, 2.0])) == pytest.approx(0.5)


def test_a_constant_has_no_order_that_could_agree():
    flat, steep = torch.full((5, 5), 0.3), torch.arange(25.0).view(5, 5)
    for first, second in ((flat, steep), (steep, flat), (flat, flat), (steep, torch.full((5, 5), math.nan))):
        assert math.isnan(spearman(first, second))
    assert math.isnan(pearson(flat, steep)) and math.isnan(spearman(torch.ones(1), torch.ones(1)))


@pytest.mark.parametrize("measure", [spearman, pearson])
def test_other_shapes_are_refused(measure):
    with pytest.raises(ValueError, match="differ in shape"):
        measure(torch.zeros(4, 4), torch.zeros(4, 5))
