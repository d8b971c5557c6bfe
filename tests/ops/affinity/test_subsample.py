"""Max-pooling of keys and values."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnet.ops.affinity.subsample import max_subsample


@settings(deadline=None, max_examples=40)
@given(
    spatial=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    size=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_subsampling_is_max_pooling_in_either_mode(spatial, size, seed):
    torch.manual_seed(seed)
    x = torch.randn(2, 3, *spatial, requires_grad=True)
    y = max_subsample(x, size)
    assert y.shape[2:] == tuple(s // min(size, s) for s in spatial)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.use_deterministic_algorithms(True)
    try:
        twin = max_subsample(x, size)
        (twin_gradient,) = torch.autograd.grad(twin.sum(), x)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(y, twin)
    assert torch.equal(gradient, twin_gradient)
