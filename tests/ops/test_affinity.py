"""Every implementation of non-local aggregation against the reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnet import ops
from gcnet.ops import affinity
from gcnet.ops.affinity import PAIRWISE, eager, reference
from gcnet.ops.affinity.subsample import max_subsample
from gcnet.ops.backend import BACKENDS


@settings(deadline=None, max_examples=60)
@given(
    pairwise=st.sampled_from(PAIRWISE),
    sizes=st.tuples(*[st.integers(1, 6)] * 5),
    scaled=st.booleans(),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_eager_equals_reference(pairwise, sizes, scaled, seed, dtype):
    torch.manual_seed(seed)
    n, p, m, d, dv = sizes
    query, key, value = (torch.randn(s, dtype=dtype).requires_grad_() for s in ((n, p, d), (n, m, d), (n, m, dv)))
    concat = torch.randn(1, 2 * d, dtype=dtype).requires_grad_() if pairwise == "concatenation" else None
    scale = d**-0.5 if scaled and "gaussian" in pairwise else None
    g = torch.randn(n, p, dv, dtype=dtype)
    inputs = [query, key, value] + ([concat] if concat is not None else [])
    outcomes = []
    for implementation in (eager.aggregate, reference.aggregate):
        y = implementation(query, key, value, pairwise, scale, concat)
        outcomes.append([y, *torch.autograd.grad(y, inputs, g)])
    tolerance = 1e-11 if dtype == torch.float64 else 1e-4
    for ours, judge in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, judge, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("subsample", [None, "before", "after"])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_gradcheck_and_gradgradcheck(name, subsample, pairwise):
    def weight(*shape):
        return torch.randn(shape, dtype=torch.float64, requires_grad=True)

    x, embedded = weight(2, 3, 3, 2), pairwise != "gaussian"
    inputs = [x, weight(2, 3), weight(3, 2)] + ([weight(2, 3), weight(2, 3)] if embedded else [])
    if pairwise == "concatenation":
        inputs.append(weight(1, 4))

    def call(x, value, out, query=None, key=None, concat=None):
        return ops.non_local(
            x,
            value=ops.Projection(value),
            out=ops.Projection(out),
            query=None if query is None else ops.Projection(query),
            key=None if key is None else ops.Projection(key),
            pairwise=pairwise,
            concat_weight=concat,
            subsample=subsample,
        )

    with ops.backend(name):
        assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


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


def test_the_limit_names_the_cheaper_form(monkeypatch):
    monkeypatch.setattr(affinity, "AFFINITY_LIMIT", 100)
    x = torch.randn(1, 4, 11)
    projection = ops.Projection(torch.eye(4))
    with pytest.raises(ValueError, match=r"11 x 11 .* GlobalContext"):
        ops.non_local(x, value=projection, out=projection, pairwise="gaussian")
    assert ops.non_local(x, value=projection, out=projection, pairwise="gaussian", subsample="before").shape == x.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairwise": "softmax"}, "embedded_gaussian"),
        ({"pairwise": "embedded_gaussian"}, "both query= and key="),
        ({"pairwise": "gaussian", "query": ops.Projection(torch.eye(4))}, "no query= and key="),
        ({"pairwise": "gaussian", "concat_weight": torch.zeros(1, 8)}, "concatenation"),
        ({"pairwise": "gaussian", "subsample": "during"}, "before"),
        ({"pairwise": "gaussian", "subsample": "after", "subsample_size": (1, 2, 2)}, "3 axes"),
        ({"pairwise": "gaussian", "value": ops.Projection(torch.eye(5))}, "value.weight"),
    ],
)
def test_wrong_arguments(options, message):
    projection = ops.Projection(torch.eye(4))
    with pytest.raises(ValueError, match=message):
        ops.non_local(torch.zeros(2, 4, 3, 3), **{"value": projection, "out": projection, **options})
