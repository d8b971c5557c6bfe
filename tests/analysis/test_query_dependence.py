"""Brute force over all pairs in float64 is the judge."""

import math

import pytest
import torch

from gcnet.analysis.query_dependence import (
    CosineDistance,
    cosine_distance,
    estimate_jensen_shannon,
    jensen_shannon,
)
from tests.analysis.pairs import pairs_cosine, pairs_divergence


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 5), (2, 7, 1), (1, 36, 3), (4, 13, 17), (2, 65, 129)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_cosine_is_that_of_all_pairs(shape, dtype):
    v = torch.randn(shape, dtype=torch.float64).to(dtype) + 0.5
    found = cosine_distance(v)
    assert found.dtype == torch.float64
    assert found.shape == shape[:1]
    torch.testing.assert_close(found, pairs_cosine(v), rtol=1e-12, atol=1e-14)


def test_cosine_of_known_vectors():
    opposite = torch.tensor([[[1.0, 2.0], [-3.0, -6.0]]])
    alike = torch.tensor([[[1.0, 2.0], [1.0, 2.0], [10.0, 20.0]]])
    assert cosine_distance(opposite).item() == pytest.approx(0.5)
    assert cosine_distance(alike).item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1e20, 1e300])
def test_cosine_does_not_depend_on_the_scale(scale):
    v = torch.randn(2, 9, 4, dtype=torch.float64)
    torch.testing.assert_close(cosine_distance(v * scale), cosine_distance(v), rtol=1e-12, atol=0)


def test_float16_that_overflows_when_squared():
    v = torch.tensor([[[60000.0, 1.0], [1.0, 60000.0], [6e-8, 0]]], dtype=torch.float16)
    torch.testing.assert_close(cosine_distance(v), pairs_cosine(v))


def test_vectors_of_zeros_are_left_out_and_counted():
    v = torch.randn(3, 6, 4)
    v[0, :2] = 0
    v[1] = 0
    found = CosineDistance()
    found.add(v)
    assert found.count.tolist() == [4, 0, 6]
    assert found.total == 6
    torch.testing.assert_close(found.distance()[:1], pairs_cosine(v[:1, 2:]))
    torch.testing.assert_close(found.distance(), pairs_cosine(v), equal_nan=True)
    assert found.distance().isnan().tolist() == [False, True, False]
    torch.testing.assert_close(cosine_distance(v), found.distance(), equal_nan=True)


def test_a_stream_of_chunks_of_many_heads():
    v = torch.randn(2, 3, 50, 20)
    found = CosineDistance()
    for rows in v.split(7, dim=2):
        found.add(rows)
    expected = pairs_cosine(v.flatten(0, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(found.distance(), expected)


def test_cosine_of_many_positions_takes_no_pairs():
    P = 200_000  # all pairs would be 4e10
    angle = torch.rand(1, P, dtype=torch.float64) * 2 * math.pi
    v = torch.stack((angle.cos(), angle.sin()), -1)
    mean = v.mean(1)
    torch.testing.assert_close(cosine_distance(v), (1 - mean.square().sum(-1)) / 2)


def test_cosine_of_vectors_larger_than_a_chunk(monkeypatch):
    v = torch.randn(2, 37, 8)
    whole = cosine_distance(v)
    monkeypatch.setattr("gcnet.analysis.query_dependence.CHUNK", 40)
    torch.testing.assert_close(cosine_distance(v), whole)


def test_layouts():
    features = torch.randn(2, 8, 5, 7).to(memory_format=torch.channels_last)
    v = features.flatten(2).transpose(1, 2)
    torch.testing.assert_close(cosine_distance(v), pairs_cosine(v))
    shared = torch.rand(2, 1, 9).softmax(-1).expand(-1, 6, -1)
    torch.testing.assert_close(cosine_distance(shared), torch.zeros(2, dtype=torch.float64), atol=1e-15, rtol=0)
    torch.testing.assert_close(jensen_shannon(shared), torch.zeros(2, dtype=torch.float64), atol=1e-15, rtol=0)


@pytest.mark.parametrize("statistic", [cosine_distance, jensen_shannon])
def test_no_samples_and_no_positions(statistic):
    assert statistic(torch.empty(0, 5, 3)).shape == (0,)
    assert statistic(torch.empty(2, 0, 3)).isnan().all()


@pytest.mark.parametrize(("statistic", "name"), [(cosine_distance, "v"), (jensen_shannon, "p")])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_named(statistic, name, value):
    bad = torch.rand(2, 5, 3).softmax(-1)
    bad[1, 4, 2] = value
    with pytest.raises(ValueError, match=rf"^{name} has infinite values or NaN"):
        statistic(bad)


@pytest.mark.parametrize("statistic", [cosine_distance, jensen_shannon])
@pytest.mark.parametrize("shape", [(3, 4), (1, 2, 3, 4), (2, 3, 0)])
def test_other_shapes_are_refused(statistic, shape):
    with pytest.raises(ValueError, match=r"must be \[N, P, "):
        statistic(torch.rand(shape))


@pytest.mark.parametrize("statistic", [cosine_distance, jensen_shannon])
@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_other_types_are_refused(statistic, dtype):
    with pytest.raises(ValueError, match="floating-point"):
        statistic(torch.ones(1, 2, 3, dtype=dtype))


@pytest.mark.parametrize("shape", [(1, 1, 4), (3, 2, 1), (2, 7, 5), (1, 12, 9)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_divergence_is_that_of_all_pairs(shape, dtype):
    p = (3 * torch.randn(shape, dtype=dtype)).softmax(-1)
    torch.testing.assert_close(jensen_shannon(p), pairs_divergence(p), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(
        jensen_shannon(p.double() / p.double().sum(-1, keepdim=True)),
        pairs_divergence(p.double() / p.double().sum(-1, keepdim=True)),
        rtol=1e-12,
        atol=1e-14,
    )


def test_divergence_of_known_rows():
    apart = torch.eye(4)[None]  # of 16 pairs, 12 differ by log 2
    assert jensen_shannon(apart).item() == pytest.approx(12 / 16 * math.log(2))
    assert jensen_shannon(torch.full((1, 5, 4), 0.25)).item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rows_rounded_to_half_precision_still_sum_to_one(dtype):
    p = torch.randn(2, 6, 2000).softmax(-1)
    torch.testing.assert_close(jensen_shannon(p.to(dtype)), jensen_shannon(p), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0.5, 0.6]], "sums to 1.1"),
        ([[0.0, 0.0]], "sums to 0"),
        ([[1.5, -0.5]], "negative values, such as -0.5"),
    ],
)
def test_rows_that_are_no_distributions_are_refused(rows, message):
    with pytest.raises(ValueError, match=f"^p has .*{message}.*distributions"):
        jensen_shannon(torch.tensor([rows]))


def test_a_bad_row_is_found_though_no_pair_has_it():
    p = torch.full((1, 5000, 2), 0.5)
    p[0, 1234, 0] = 0.7
    with pytest.raises(ValueError, match=r"sums to 1\.2"):
        jensen_shannon(p, pairs=2)


def test_drawn_pairs_are_unbiased_and_their_error_is_right():
    """Over many draws the mean is the exact one, and the stated error the spread of the draws."""
    p = (2 * torch.randn(1, 24, 10, dtype=torch.float64)).softmax(-1)
    exact = jensen_shannon(p, pairs=None).item()
    torch.testing.assert_close(exact, pairs_divergence(p).item())
    generator = torch.Generator().manual_seed(1)
    draws = [
        estimate_jensen_shannon(lambda q: p[:, q], 24, pairs=50, generator=generator) for _ in range(400)
    ]  # fmt: skip
    means = torch.cat([draw.mean for draw in draws])
    errors = torch.cat([draw.error for draw in draws])
    assert abs(means.mean().item() - exact) < 4 * means.std().item() / 20
    assert means.std().item() == pytest.approx(errors.square().mean().sqrt().item(), rel=0.15)


def test_all_pairs_are_taken_where_that_is_no_more():
    p = torch.randn(2, 10, 6).softmax(-1)
    rows = lambda queries: p[:, queries]  # noqa: E731
    exact = estimate_jensen_shannon(rows, 10, pairs=45)
    assert torch.equal(exact.error, torch.zeros(2, dtype=torch.float64))
    assert torch.equal(exact.mean, jensen_shannon(p, pairs=None))
    assert (estimate_jensen_shannon(rows, 10, pairs=44).error > 0).all()


def test_draws_repeat_by_default_and_follow_a_generator():
    p = torch.randn(1, 40, 6).softmax(-1)
    seeded = [jensen_shannon(p, pairs=20, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.equal(seeded[0], seeded[2])
    assert torch.equal(jensen_shannon(p, pairs=20), jensen_shannon(p, pairs=20))


def test_a_map_that_is_never_laid_out():
    """16,700 positions, rows of which are computed when they are asked for."""
    P, asked = 16_700, []
    key = torch.randn(P, 4)

    def rows(queries):
        asked.append(len(queries))
        return (key[queries] @ key.T)[None, None].softmax(-1)

    mean, error = estimate_jensen_shannon(rows, P, pairs=100)
    assert mean.shape == error.shape == (1, 1)
    assert sum(asked) == 201
    assert max(asked) * P <= 2**22
    assert 0 < error.item() < 0.1 < mean.item() < math.log(2)


@pytest.mark.parametrize(("positions", "pairs", "message"), [(0, 10, "positions=0"), (5, 1, "pairs=1")])
def test_impossible_estimates_are_refused(positions, pairs, message):
    with pytest.raises(ValueError, match=message):
        estimate_jensen_shannon(lambda q: torch.full((1, len(q), 1), 1.0), positions, pairs=pairs)
