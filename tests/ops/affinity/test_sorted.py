"""What is special to concatenation by sorting: ties, cancellation, large numbers, rounding."""

import pytest
import torch

from gcnet.ops.affinity import explicit, sorted
from tests.ops.affinity.forms import assert_close, outcome


def draw(n=2, p=150, m=170, dv=5, dtype=torch.float64):
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in ((n, p), (n, m), (n, m, dv))]


def both(a, b, value):
    tensors = [t.detach().requires_grad_() for t in (a, b, value)]
    g = torch.randn(*a.shape, value.shape[2], dtype=a.dtype)
    return outcome(sorted.aggregate, tensors, g), outcome(explicit.rectified, tensors, g)


def test_ties_have_the_slope_0_at_0():
    a, b, value = draw()
    a, b = (2 * a).round(), (2 * b).round()
    assert (a.unsqueeze(2) + b.unsqueeze(1) == 0).double().mean() > 0.1
    assert_close(*both(a, b, value), 1e-13)
    assert_close(*both(a + 0.1, b - 0.1, value), 1e-13)  # as float64 sees it, not as the decimals do


@pytest.mark.parametrize("columns", [1, 2, 64])
def test_columns_are_independent(columns, monkeypatch):
    monkeypatch.setattr(sorted, "COLUMNS", columns)
    assert_close(*both(*draw()), 1e-13)


def test_equal_keys_none_that_passes_and_all():
    a, b, value = draw()
    assert_close(*both(a, torch.full_like(b, 0.3), value), 1e-13)
    assert_close(*both(torch.zeros_like(a), torch.zeros_like(b), value), 0)
    assert_close(*both(a - 50, b, value), 0)
    assert_close(*both(a + 50, b, value), 1e-13)


def test_large_numbers_that_do_not_pass_do_no_harm():
    a, b, value = (t.detach().float() for t in draw(dtype=torch.float32))
    for low in (-3e38, -torch.inf):
        b[:, ::3] = low
        found, judge = both(a, b, 1e3 * value)
        assert all(t.isfinite().all() for t in found)
        assert_close(found[:1], judge[:1], 1e-6)
    a, b = 1e30 * a, 1e30 * b.clamp(min=-1)
    found, judge = both(a, b, value)
    assert_close([found[0] / 1e30], [judge[0] / 1e30], 1e-6)


def test_the_op_that_compiled_code_calls():
    torch.library.opcheck(sorted._opaque, draw())
    tensors = [t.detach() for t in draw()]
    torch.library.opcheck(sorted._opaque_gradients, (*tensors, torch.randn(2, 150, 5, dtype=torch.float64)))


CASES = {
    "plain": lambda a, b, v: (a, b, v),
    "far apart": lambda a, b, v: (a + 1000, b - 1000, v),
    "few pass": lambda a, b, v: (a - 3, b, v),
    "all pass": lambda a, b, v: (a + 10, b, v),
    "one sign": lambda a, b, v: (a, b, v.abs()),
    "outliers": lambda a, b, v: (a, torch.where(torch.arange(b.shape[1]) < 3, 1e4, b), v),
    "low outliers": lambda a, b, v: (a, torch.where(torch.arange(b.shape[1]) < 3, -1e4, b), v),
    "heavy tails": lambda a, b, v: (a**3, b**3, v),
    "two groups": lambda a, b, v: (100 * a, 100 * b.sign() + b, v),
}


@pytest.mark.parametrize("case", CASES)
def test_float32_rounds_no_worse_than_the_explicit_map(case):
    errors = []
    for seed in range(5):
        torch.manual_seed(seed)
        tensors = [t.detach() for t in CASES[case](*draw(1, 1500, 1500, 16, torch.float32))]
        g = torch.randn(1, 1500, 16)
        exact = outcome(explicit.rectified, [t.double().requires_grad_() for t in tensors], g.double())
        tensors = [t.requires_grad_() for t in tensors]
        pair = (outcome(form, tensors, g) for form in (sorted.aggregate, explicit.rectified))
        errors.append([[((a - e).norm() / e.norm()).item() for a, e in zip(f, exact, strict=True)] for f in pair])
    ours, judge = torch.tensor(errors).median(dim=0).values
    # two roundings: below them the two differ by the order of summation; a cancellation costs many
    assert (ours <= judge.clamp(min=2 * torch.finfo(torch.float32).eps)).all()
