"""Every form of non-local aggregation against the reference, and the choice among them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnet import ops
from gcnet.ops import affinity
from gcnet.ops.affinity import attention, eager, explicit
from tests.ops.affinity.forms import (
    FORMS,
    PAIRWISE,
    Record,
    assert_close,
    call,
    inputs,
    outcome,
    reference,
    without_map,
)

each = pytest.mark.parametrize("pairwise", PAIRWISE)


@pytest.fixture
def no_maps(monkeypatch):
    """The forms without a map at any size."""
    monkeypatch.setattr(eager, "SOFTMAX_MAP", -1)
    monkeypatch.setattr(eager, "CONCATENATION_MAP", -1)
    monkeypatch.setattr(eager.associative, "prefers_map", lambda *_: False)


@settings(deadline=None, max_examples=120)
@given(
    form=st.sampled_from(list(FORMS)),
    pairwise=st.sampled_from(PAIRWISE),
    n=st.integers(0, 3),
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_every_form_equals_the_reference(form, pairwise, n, sizes, seed, dtype):
    torch.manual_seed(seed)
    tensors = inputs(pairwise, n, *sizes, dtype)
    g = torch.randn(n, sizes[0], sizes[3], dtype=dtype)
    judge = outcome(
        call(reference.aggregate, pairwise), [t.detach().double().requires_grad_() for t in tensors], g.double()
    )
    # float32: a few ulps of sums over up to 70 terms, and of logits up to about 20 inside an exponential
    assert_close(outcome(call(FORMS[form], pairwise), tensors, g), judge, 1e-12 if dtype == torch.float64 else 2e-5)


@each
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1), (2, 33, 1, 2, 3), (1, 1, 200, 3, 70), (3, 200, 97, 5, 1)])
def test_sizes_across_the_blocks_of_prefix_sums(pairwise, sizes):
    tensors = inputs(pairwise, *sizes)
    g = torch.randn(sizes[0], sizes[1], sizes[4], dtype=torch.float64)
    judge = outcome(call(reference.aggregate, pairwise), tensors, g)
    assert_close(outcome(call(without_map, pairwise), tensors, g), judge, 1e-12)


@each
def test_derivatives_of_every_order_and_mode(pairwise, no_maps):
    function, tensors = call(eager.aggregate, pairwise), inputs(pairwise)
    assert torch.autograd.gradcheck(function, tensors, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, tensors, fast_mode=True)


@each
def test_functorch(pairwise, no_maps):
    function = call(eager.aggregate, pairwise)
    query, *rest = tensors = [t.detach() for t in inputs(pairwise)]
    mapped = torch.vmap(lambda q, k, v: function(q[None], k[None], v[None], *tensors[3:])[0])(*tensors[:3])
    torch.testing.assert_close(mapped, function(*tensors))
    gradient = torch.func.grad(lambda q: function(q, *rest).square().sum())(query)
    query.requires_grad_()
    torch.testing.assert_close(gradient, torch.autograd.grad(function(query, *rest).square().sum(), query)[0])


@each
def test_compiled_training_with_dynamic_sizes(pairwise):
    function = call(eager.aggregate, pairwise)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=True)
    for p, m in [(70, 50), (33, 90), (130, 64)]:
        tensors, g = inputs(pairwise, p=p, m=m), torch.randn(2, p, 4, dtype=torch.float64)
        assert_close(outcome(compiled, tensors, g), outcome(call(reference.aggregate, pairwise), tensors, g), 1e-12)


@each
def test_exported_programs_hold_one_form_for_all_sizes(pairwise):
    class Aggregate(torch.nn.Module):
        def forward(self, tensors):
            return call(eager.aggregate, pairwise)(*tensors)

    tensors = [t.detach() for t in inputs(pairwise)]
    n, p, m = (torch.export.Dim(name) for name in "npm")
    axes = [{0: n, 1: p}, {0: n, 1: m}, {0: n, 1: m}] + [None] * (len(tensors) - 3)
    program = torch.export.export(Aggregate(), (tensors,), dynamic_shapes=(axes,))
    names = {str(node.target) for node in program.graph.nodes}
    assert any("scaled_dot_product_attention" in name for name in names) == ("gaussian" in pairwise)
    for p, m in [(1, 300), (300, 1), (200, 150)]:
        tensors[:3] = [t.detach() for t in inputs(pairwise, p=p, m=m)[:3]]
        assert_close([program.module()(tensors)], [call(reference.aggregate, pairwise)(*tensors)], 1e-12)


@each
def test_large_maps_are_never_laid_out(pairwise):
    tensors = inputs(pairwise, 1, 4500, 4500, 8, 8, torch.float32)
    with Record() as record:
        outcome(call(eager.aggregate, pairwise), tensors, torch.ones(1, 4500, 8))
    assert record.largest <= 64 * 4500


@each
def test_small_maps_are(pairwise, monkeypatch):
    monkeypatch.delattr(attention, "aggregate")
    monkeypatch.delattr(eager.associative, "aggregate")
    monkeypatch.delattr(eager.sorted, "aggregate")
    call(eager.aggregate, pairwise)(*inputs(pairwise, p=49, m=49, d=64, dv=64))


@each
def test_deterministic_mode_runs_nothing_that_sums_in_any_order(pairwise, no_maps):
    tensors, g = inputs(pairwise, p=200, m=150), torch.randn(2, 200, 4, dtype=torch.float64)
    judge = outcome(call(reference.aggregate, pairwise), tensors, g)
    torch.use_deterministic_algorithms(True)
    try:
        with Record() as record:
            found = [outcome(call(eager.aggregate, pairwise), tensors, g) for _ in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert not record.names & {
        "cumsum",
        "gather",
        "scatter_add",
        "scatter_add_",
        "index_add",
        "index_add_",
        "index_put_",
    }
    assert_close(found[0], judge, 1e-12)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@each
def test_only_what_needs_a_map_has_its_limit(pairwise, no_maps, monkeypatch):
    monkeypatch.setattr(affinity, "AFFINITY_LIMIT", 100)
    function, tensors = call(eager.aggregate, pairwise), inputs(pairwise, p=11, m=11)
    g = torch.ones(2, 11, 4, dtype=torch.float64)
    _, gradient, *_ = outcome(function, tensors, g)
    needs_map = [lambda: explicit.affinity(*tensors[:2], pairwise, None, *(tensors[3:] or [None]))]
    if pairwise != "dot_product":
        first = torch.autograd.grad
        needs_map.append(lambda: first(function(*tensors), tensors, g, create_graph=True))
        needs_map.append(
            lambda: torch.vmap(lambda v: function(*tensors[:2], v, *tensors[3:]))(torch.stack([tensors[2]]))
        )
    for need in needs_map:
        with pytest.raises(ValueError, match=r"11 x 11 .* second derivatives.* GlobalContext"):
            need()
    with ops.backend("reference"), pytest.raises(ValueError, match="11 x 11"):
        ops.non_local(torch.zeros(1, 4, 11), **_projections(pairwise))
    assert gradient.isfinite().all()


def _projections(pairwise):
    eye = ops.Projection(torch.eye(4))
    found = {"value": eye, "out": eye, "pairwise": pairwise}
    if pairwise != "gaussian":
        found.update(query=eye, key=eye)
    if pairwise == "concatenation":
        found["concat_weight"] = torch.ones(1, 8)
    return found
