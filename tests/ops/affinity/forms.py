"""Inputs, gradients and records that the tests of every form of non-local aggregation share."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from gcnet.ops.affinity import PAIRWISE, associative, attention, eager, explicit, reference, sorted

SCALES = {"gaussian": None, "embedded_gaussian": 0.4, "dot_product": None, "concatenation": None}


def without_map(query, key, value, pairwise, scale, concat_weight):
    """The form that lays no map out, whatever the sizes."""
    if pairwise == "dot_product":
        return associative.aggregate(query, key, value)
    if pairwise == "concatenation":
        return sorted.aggregate(*explicit.concatenation_parts(query, key, concat_weight), value)
    return attention.aggregate(query, key, value, scale)


FORMS = {"eager": eager.aggregate, "explicit": explicit.aggregate, "without map": without_map}


def inputs(pairwise, n=2, p=7, m=5, d=3, dv=4, dtype=torch.float64):
    """Queries, keys and values, and the weight of concatenation."""
    shapes = [(n, p, d), (n, m, d), (n, m, dv)] + ([(1, 2 * d)] if pairwise == "concatenation" else [])
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]


def call(form, pairwise):
    """A form as a function of the tensors alone."""

    def function(query, key, value, concat_weight=None):
        return form(query, key, value, pairwise, SCALES[pairwise], concat_weight)

    return function


def outcome(function, tensors, g):
    """Output and all gradients."""
    y = function(*tensors)
    return [y, *torch.autograd.grad(y, tensors, g)]


def assert_close(ours, judges, tolerance):
    """Every tensor within ``tolerance`` of the largest value of its judge."""
    for a, b in zip(ours, judges, strict=True):
        assert a.shape == b.shape
        if b.numel():
            torch.testing.assert_close(a.to(b.dtype), b, rtol=0, atol=tolerance * max(1.0, b.abs().max().item()))


class Record(TorchDispatchMode):
    """Names of the operations that run, and the number of elements of the largest tensor they make."""

    def __init__(self):
        super().__init__()
        self.names = set()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        self.names.add(func.overloadpacket.__name__)
        sizes = [t.numel() for t in tree_iter(output) if isinstance(t, torch.Tensor)]
        self.largest = max([self.largest, *sizes])
        return output


__all__ = ["FORMS", "PAIRWISE", "Record", "assert_close", "call", "inputs", "outcome", "reference", "without_map"]
