"""Concatenation without its map: y_i = 1/M sum_j ReLU(a_i + b_j) v_j in O((P + M) (log M + width)), exactly.

With the keys in descending order of b, those that pass the ReLU for query i are the first k_i. Prefix sums G of v and H
of b v give y_i = (a_i G_{k_i} + H_{k_i}) / M. The gradient of v is the same sum with a and b swapped; those of a and b
are products with prefix sums.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gcnet.ops.affinity import explicit
from gcnet.ops.affinity.prefix import exclusive_prefix_sums, padded_length
from gcnet.ops.precision import full_precision

#: Columns of the values summed at a time, which bounds the memory beside inputs and results.
COLUMNS = 64


def aggregate(a: Tensor, b: Tensor, value: Tensor) -> Tensor:
    """1/M sum_j ReLU(a_i + b_j) v_j: a [N, P], b [N, M], v [N, M, dv] to [N, P, dv]; the slope of ReLU at 0 is 0.

    Second derivatives go through the explicit map.
    """
    output: Tensor = _Rectified.apply(a, b, value)
    return output


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(a, b, value)
        keys = _rank(a, b)
        a, b = _centred(a, b, keys)
        y = value.new_empty(*a.shape, value.shape[2])
        for part in _columns(value):
            plain, weighted = _sums(value[..., part], b, keys)
            torch.addcmul(weighted, a.unsqueeze(2), plain, out=y[..., part])
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        a, b, value = ctx.saved_tensors
        with full_precision(a):
            if torch.is_grad_enabled():
                return explicit.gradients(explicit.rectified, (a, b, value), g)
            return _gradients(a, b, value, g)


def _gradients(a: Tensor, b: Tensor, value: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    keys, queries, scale = _rank(a, b), _rank(b, a), 1 / b.shape[1]
    da, db, dv = torch.zeros_like(a), torch.zeros_like(b), torch.empty_like(value)
    a, b = _centred(a, b, keys)
    for part in _columns(value):
        v, u = value[..., part], g[..., part]
        da += (u * _sums(v, None, keys)[0]).sum(dim=2)
        plain, weighted = _sums(u, a, queries)
        db += (v * plain).sum(dim=2)
        torch.addcmul(weighted, b.unsqueeze(2), plain, out=dv[..., part])
    return da * scale, db * scale, dv


class _Ranking(NamedTuple):
    """The summands in the order in which they pass, [N, L], padded; how many pass, [N, P]; and their median, [N, 1]."""

    order: Tensor
    passing: Tensor
    median: Tensor


def _rank(a: Tensor, b: Tensor) -> _Ranking:
    thresholds, order = torch.sort(-b, dim=1)
    # on the numbers as they came, so that nothing passes where a + b is exactly 0
    passing = torch.searchsorted(thresholds, a.contiguous())
    # sums that hold padding are never read
    padding = order[:, :1].expand(-1, padded_length(b.shape[1]) - b.shape[1])
    middle = b.shape[1] // 2
    return _Ranking(torch.cat([order, padding], dim=1), passing, -thresholds[:, middle : middle + 1])


def _centred(a: Tensor, b: Tensor, keys: _Ranking) -> tuple[Tensor, Tensor]:
    """(a + c, b - c) / M, which keeps a G + H from cancelling where a and b are large beside a + b.

    c is the median of b: no sum of it overflows, and no single key draws it away from the others.
    """
    return (a + keys.median) / b.shape[1], (b - keys.median) / b.shape[1]


def _sums(x: Tensor, factor: Tensor | None, ranking: _Ranking) -> tuple[Tensor, ...]:
    """Sums of x [N, M, width], and of factor [N, M] times x, over what passes: each [N, P, width]."""
    ranked = _rows(x, ranking.order)
    if factor is None:
        return (_rows(exclusive_prefix_sums(ranked), ranking.passing),)
    ranked = torch.cat([ranked, ranked * factor.gather(1, ranking.order).unsqueeze(2)], dim=2)
    return _rows(exclusive_prefix_sums(ranked), ranking.passing).chunk(2, dim=2)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """x[n, index[n, i]]: [N, rows, width] and [N, I] to [N, I, width]."""
    first = torch.arange(x.shape[0], device=x.device).unsqueeze(1) * x.shape[1]
    return x.flatten(0, 1).index_select(0, (index + first).flatten()).unflatten(0, index.shape)


def _columns(value: Tensor) -> list[slice]:
    return [slice(start, start + COLUMNS) for start in range(0, value.shape[2], COLUMNS)]
