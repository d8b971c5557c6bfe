"""Prefix sums by matrix products against their definition."""

import pytest
import torch

from gcnet.ops.affinity.prefix import BLOCK, prefix_moments, prefix_sums


@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("rows", [1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1, 3 * BLOCK, 2 * BLOCK**2 + 5])
def test_prefix_sums_and_moments(n, rows):
    x, b = torch.randn(n, rows, 2, dtype=torch.float64), torch.randn(n, rows, dtype=torch.float64)
    sums = x.cumsum(1)
    moments = (b.unsqueeze(2) * x).cumsum(1) - b.unsqueeze(2) * sums
    torch.testing.assert_close(prefix_sums(x), sums, rtol=1e-10, atol=1e-10)
    for found, judge in zip(prefix_moments(x, b), (sums, moments), strict=True):
        torch.testing.assert_close(found, judge, rtol=1e-10, atol=1e-10)


def test_dtype_is_kept():
    assert prefix_sums(torch.ones(1, 100, 1)).dtype == torch.float32
    assert torch.equal(prefix_sums(torch.ones(1, 5000, 1))[0, :, 0], torch.arange(1.0, 5001.0))
