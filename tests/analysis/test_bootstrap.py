import math

import pytest
import torch

from gcnet.analysis.bootstrap import Interval, bootstrap


def test_interval_is_that_of_the_normal_distribution_for_many_images():
    values = torch.randn(400, dtype=torch.float64)
    found = bootstrap(values, resamples=20_000)
    half = 1.96 * values.std().item() / 20
    assert found.mean == pytest.approx(values.mean().item())
    assert found.low == pytest.approx(found.mean - half, abs=0.05 * half)
    assert found.high == pytest.approx(found.mean + half, abs=0.05 * half)
    assert found.images == 400


def test_two_images_by_hand():
    """A quarter of the draws are both the first image, a quarter both the second."""
    assert bootstrap([0.0, 1.0]) == Interval(0.5, 0.0, 1.0, 2)
    assert bootstrap([0.0, 1.0], level=0.4) == Interval(0.5, 0.5, 0.5, 2)


def test_one_image_gives_no_interval():
    assert bootstrap([0.25]) == Interval(0.25, None, None, 1)


def test_images_that_agree():
    assert bootstrap([0.5] * 7) == Interval(0.5, 0.5, 0.5, 7)


def test_draws_repeat_and_follow_the_seed():
    values = torch.rand(20)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)


def test_many_images_are_drawn_a_few_draws_at_a_time(monkeypatch):
    values = torch.rand(50)
    whole = bootstrap(values, resamples=101)
    monkeypatch.setattr("gcnet.analysis.bootstrap._CHUNK", 120)
    assert bootstrap(values, resamples=101) == whole


@pytest.mark.parametrize(("images", "stated"), [(5, 0.84), (10, 0.90), (50, 0.94)])
def test_coverage_is_as_the_docstring_says(images, stated):
    samples = torch.randn(1500, images, dtype=torch.float64)
    inside = [(found := bootstrap(sample, resamples=400)).low <= 0 <= found.high for sample in samples]
    assert sum(inside) / len(inside) == pytest.approx(stated, abs=0.025)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "values is empty"),
        ([0.1, math.nan], {}, "values has infinite values or NaN"),
        ([0.1, 0.2], {"level": 95}, "level=95"),
        ([0.1, 0.2], {"resamples": 0}, "resamples=0"),
    ],
)
def test_impossible_arguments_are_named(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap(values, **options)
