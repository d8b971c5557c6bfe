"""What is special to the softmax functions through scaled_dot_product_attention."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from gcnet.ops.affinity import attention, explicit
from tests.ops.affinity.forms import assert_close, inputs, outcome


def judge(scale):
    return lambda q, k, v: explicit.aggregate(q, k, v, "gaussian", scale, None)


def ours(scale):
    return lambda q, k, v: attention.aggregate(q, k, v, scale)


@pytest.mark.parametrize("scale", [None, 0.0, -0.7, 3.0])
@pytest.mark.parametrize(("d", "dv"), [(4, 4), (8, 3), (3, 8)])
def test_scales_and_widths(scale, d, dv):
    tensors, g = inputs("gaussian", p=20, m=30, d=d, dv=dv), torch.randn(2, 20, dv, dtype=torch.float64)
    assert_close(outcome(ours(scale), tensors, g), outcome(judge(scale), tensors, g), 1e-12)


def test_any_layout():
    query, key, value = (t.detach() for t in inputs("gaussian", p=20, m=20, d=6, dv=6))
    transposed = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in (query, key, value)]
    assert_close([ours(None)(*transposed)], [ours(None)(query, key, value)], 1e-15)
    expanded = query[:1].expand(2, -1, -1)
    assert_close([ours(None)(expanded, key, value)], [judge(None)(expanded, key, value)], 1e-12)


@pytest.mark.parametrize("needed", [(0,), (1, 2), (2,)])
def test_gradients_of_some_inputs_only(needed):
    tensors = [t.requires_grad_(i in needed) for i, t in enumerate(t.detach() for t in inputs("gaussian"))]
    wanted = [tensors[i] for i in needed]
    found = []
    for form in (ours(None), judge(None)):
        (first, *_) = torch.autograd.grad(form(*tensors).square().sum(), wanted, create_graph=True)
        second = torch.autograd.grad(first.square().sum(), wanted, allow_unused=True)
        found.append([first, *(s for s in second if s is not None)])
    assert_close(*found, 1e-12)


def test_backward_twice_checkpoints_and_saved_tensor_hooks():
    tensors = inputs("gaussian")
    y = ours(None)(*tensors)
    expected = torch.autograd.grad(y.square().sum(), tensors, retain_graph=True)
    again = torch.autograd.grad(y.square().sum(), tensors)
    recomputed = torch.autograd.grad(checkpoint(ours(None), *tensors, use_reentrant=False).square().sum(), tensors)
    with torch.autograd.graph.save_on_cpu():
        y = ours(None)(*tensors)
    for other in (again, recomputed, torch.autograd.grad(y.square().sum(), tensors)):
        assert all(torch.equal(a, b) for a, b in zip(other, expected, strict=True))


def test_inference_holds_no_graph():
    with torch.no_grad():
        assert ours(None)(*inputs("gaussian")).grad_fn is None


def test_huge_logits():
    query, key, value = (1e9 * t.detach().float() for t in inputs("gaussian", p=40, m=40))
    assert_close([ours(None)(query, key, value)], [judge(None)(query, key, value)], 1e-6)
