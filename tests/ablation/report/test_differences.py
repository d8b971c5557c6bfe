"""Paired differences against numpy."""

import numpy as np
import pytest

from gcnet.ablation.report.differences import COVERAGE, coverage, difference


def test_only_shared_seeds_count():
    scores = {"gc": {0: 0.90, 1: 0.93, 2: 0.95, 7: 0.1}, "none": {0: 0.85, 1: 0.90, 2: 0.91, 5: 0.99}}
    found = difference("gc", "none", scores)
    np.testing.assert_allclose([found.values[seed] for seed in (0, 1, 2)], [0.05, 0.03, 0.04])
    assert found.left_out == (5, 7)
    assert found.mean == pytest.approx(0.04)


def test_interval_is_that_of_means_of_draws_with_replacement():
    values = np.array([0.05, -0.01, 0.03, 0.02, 0.04])
    found = difference("gc", "none", {"gc": dict(enumerate(0.5 + values)), "none": dict.fromkeys(range(5), 0.5)})
    draws = np.random.default_rng(0).choice(values, (200_000, 5)).mean(1)
    np.testing.assert_allclose((found.low, found.high), np.quantile(draws, (0.025, 0.975)), atol=2e-3)


def test_of_three_seeds_the_interval_is_from_the_least_to_the_greatest():
    found = difference("gc", "none", {"gc": {0: 0.6, 1: 0.7, 2: 0.9}, "none": dict.fromkeys(range(3), 0.5)})
    np.testing.assert_allclose((found.low, found.high), (0.1, 0.4))
    assert found.excludes_zero
    assert found.supported


def test_two_seeds_support_nothing():
    found = difference("gc", "none", {"gc": {0: 0.6, 1: 0.7}, "none": {0: 0.5, 1: 0.5}})
    assert found.excludes_zero
    assert not found.supported


def test_one_seed_has_no_interval_and_none_no_difference():
    one = difference("gc", "none", {"gc": {0: 0.6}, "none": {0: 0.5}})
    assert (one.low, one.high, one.width, one.excludes_zero) == (None, None, None, False)
    assert difference("gc", "none", {"gc": {0: 0.6}, "none": {1: 0.5}}) is None
    assert difference("gc", "none", {"gc": {0: 0.6}}) is None


def test_equal_scores_do_not_exclude_zero():
    scores = {0: 0.61, 1: 0.7, 2: 0.83}
    found = difference("gc", "none", {"gc": scores, "none": scores})
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert not found.supported


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_share_of_simulated_intervals_that_hold_the_truth(seeds):
    drawn = np.random.default_rng(2).normal(size=(1000, seeds))
    base = dict.fromkeys(range(seeds), 0.0)
    found = [difference("a", "b", {"a": dict(enumerate(each.tolist())), "b": base}) for each in drawn]
    assert np.mean([not each.excludes_zero for each in found]) == pytest.approx(COVERAGE[seeds], abs=0.04)


def test_coverage_of_numbers_between():
    assert coverage(12) == coverage(10) < coverage(100)
    with pytest.raises(ValueError, match="seeds=1"):
        coverage(1)
