"""Kendall's tau-b against scipy."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from gcnet.ablation.report.ranking import kendall


def test_as_scipy_with_ties():
    drawn = np.random.default_rng(0).integers(0, 4, (20, 2, 7))
    for ours, theirs in drawn.tolist():
        assert kendall(ours, theirs) == pytest.approx(kendalltau(ours, theirs).statistic)


def test_too_few_and_unequal():
    assert kendall([1, 2], [1, 2]) is None
    with pytest.raises(ValueError, match="2 values and theirs 1"):
        kendall([1, 2], [1])
