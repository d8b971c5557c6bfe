"""The share of keys that attention covers, on maps whose share is known."""

import pytest
import torch

from gcnet.analysis.spread import attention_spread


@pytest.mark.parametrize("covered", [1, 3, 7])
def test_equal_weights_on_some_keys(covered):
    p = torch.zeros(2, 5, 7)
    p[..., :covered] = 1 / covered
    assert attention_spread(p) == pytest.approx([covered / 7] * 2)


def test_scale_of_rows_does_not_matter_and_rows_are_averaged():
    p = torch.rand(3, 4, 6, dtype=torch.float64)
    rows = [(-(row / row.sum() * (row / row.sum()).log()).sum()).exp() / 6 for row in p[1]]
    assert attention_spread(3 * p)[1] == pytest.approx(sum(rows) / 4)


def test_half_precision():
    p = torch.randn(1, 3, 50).softmax(-1)
    assert attention_spread(p.half()) == pytest.approx(attention_spread(p), rel=1e-3)


@pytest.mark.parametrize(
    "bad",
    [torch.ones(3), torch.ones(2, 0), torch.tensor([[-0.1, 1.1]]), torch.tensor([[torch.nan, 1]]), torch.zeros(2, 3)],
)
def test_errors(bad):
    with pytest.raises(ValueError, match=r"^p "):
        attention_spread(bad)
