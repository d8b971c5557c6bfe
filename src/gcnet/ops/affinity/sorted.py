"""Concatenation without its map: y_i = 1/M sum_j ReLU(a_i + b_j) v_j in O((P + M) (log M + width)), exactly.

With the keys in descending order of b, those that pass the ReLU for query i are the first ones, up to some r. Prefix
sums G_r of v and H_r of (b - b_r) v give M y_i = (a_i + b_r) G_r + H_r, where no weight is negative, so that float32
loses nothing to cancellation. The gradient of v is the same sum with a and b swapped; those of a and b are products
with G alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gcnet.ops.affinity import explicit
from gcnet.ops.affinity.prefix import prefix_moments, prefix_sums
from gcnet.ops.precision import full_precision

#: Columns of the values summed at a time, which bounds the memory beside inputs and results.
COLUMNS = 64


def aggregate(a: Tensor, b: Tensor, value: Tensor) -> Tensor:
    """1/M sum_j ReLU(a_i + b_j) v_j: a [N, P], b [N, M], v [N, M, dv] to [N, P, dv]; the slope of ReLU at 0 is 0.

    Second derivatives go through the explicit map.
    """
    form: Any = _opaque if torch.compiler.is_compiling() else _Rectified.apply
    output: Tensor = form(a, b, value)
    return output


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(a, b, value)
        return _rectified(a, b, value)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        a, b, value = ctx.saved_tensors
        with full_precision(a):
            if torch.is_grad_enabled():
                return explicit.gradients(explicit.rectified, (a, b, value), g)
            return _gradients(a, b, value, g)


def _rectified(a: Tensor, b: Tensor, value: Tensor) -> Tensor:
    keys = _rank(b, a)
    y = value.new_empty(*a.shape, value.shape[2])
    for part in _columns(value):
        _, y[..., part] = _sums(value[..., part] / b.shape[1], keys)
    return y


def _gradients(a: Tensor, b: Tensor, value: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    keys, queries = _rank(b, a), _rank(a, b)
    da, db, dv = a.new_zeros(a.shape), b.new_zeros(b.shape), value.new_empty(value.shape)
    for part in _columns(value):
        v, u = value[..., part], g[..., part] / b.shape[1]
        da += (u * _rows(prefix_sums(_rows(v, keys.order)), keys.last)).sum(dim=2)
        plain, dv[..., part] = _sums(u, queries)
        db += (v * plain).sum(dim=2)
    return da.mul_(keys.any), db.mul_(queries.any), dv


class _Ranking(NamedTuple):
    """What passes for each i in 1..I of the summands j in 1..J.

    ``order`` [N, J]: the summands in the order in which they pass; ``descending`` [N, J]: their b in this order;
    ``last`` [N, I]: place r of the last one that passes; ``excess`` [N, I]: a + b_r; ``any`` [N, I]: 0 if none passes.
    """

    order: Tensor
    descending: Tensor
    last: Tensor
    excess: Tensor
    any: Tensor


def _rank(summands: Tensor, others: Tensor) -> _Ranking:
    negative, order = torch.sort(-summands, dim=1)
    passing = torch.searchsorted(negative, others.contiguous())  # strictly: nothing passes where a + b is 0
    last = (passing - 1).clamp(min=0)
    excess = torch.relu(others - _rows(negative.unsqueeze(2), last).squeeze(2))
    # what passes for nobody goes no lower than that: differences to it stay within the range of a + b
    descending = torch.maximum(-negative, -others.amax(dim=1, keepdim=True))
    return _Ranking(order, descending, last, excess, (passing > 0).to(others.dtype))


def _sums(x: Tensor, ranking: _Ranking) -> tuple[Tensor, Tensor]:
    """G and (a + b_r) G + H for each i: x [N, J, width] to two of [N, I, width]."""
    sums, moments = prefix_moments(_rows(x, ranking.order), ranking.descending)
    plain, rectified = _rows(sums, ranking.last), _rows(moments, ranking.last)
    return plain, rectified.addcmul_(ranking.excess.unsqueeze(2), plain)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """x[n, index[n, i]]: [N, rows, width] and [N, I] to [N, I, width]; not by gather, which copies no whole rows."""
    first = torch.arange(x.shape[0], device=x.device).unsqueeze(1) * x.shape[1]
    return x.flatten(0, 1).index_select(0, (index + first).flatten()).unflatten(0, index.shape)


def _columns(value: Tensor) -> list[slice]:
    return [slice(start, start + COLUMNS) for start in range(0, value.shape[2], COLUMNS)]


# Compiled code calls the same functions without looking inside: tracing them with dynamic sizes takes many seconds.
_inputs = "(Tensor a, Tensor b, Tensor value"
_opaque = torch.library.custom_op("gcnet::rectified", _rectified, mutates_args=(), schema=f"{_inputs}) -> Tensor")
_opaque_gradients = torch.library.custom_op(
    "gcnet::rectified_gradients",
    _gradients,
    mutates_args=(),
    schema=f"{_inputs}, Tensor g) -> (Tensor, Tensor, Tensor)",
)
_opaque.register_fake(lambda a, b, value: value.new_empty(*a.shape, value.shape[2]))
_opaque_gradients.register_fake(lambda *tensors: tuple(t.new_empty(t.shape) for t in tensors[:3]))
_opaque.register_autograd(
    lambda ctx, g: _opaque_gradients(*ctx.saved_tensors, g),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)
