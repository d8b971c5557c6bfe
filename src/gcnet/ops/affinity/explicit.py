"""Non-local aggregation around a whole attention map [N, P, M], in batched matrix products.

The fastest form of small maps, and the one that every transform of torch understands: second derivatives, forward mode,
functorch and export go through it where a form without a map cannot follow.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gcnet.ops.affinity.limit import check_map


def affinity(query: Tensor, key: Tensor, pairwise: str, scale: float | None, concat_weight: Tensor | None) -> Tensor:
    """omega_ij = f(query_i, key_j) / C: [N, P, d] and [N, M, d] to [N, P, M]."""
    if pairwise == "concatenation":
        assert concat_weight is not None
        return rectified_map(*concatenation_parts(query, key, concat_weight))
    check_map(query, key)
    if pairwise == "dot_product":
        return torch.bmm(query, key.transpose(1, 2)) / key.shape[1]
    scaled = query if scale is None else query * scale  # the map is read once less than if it were scaled itself
    return torch.softmax(torch.bmm(scaled, key.transpose(1, 2)), dim=2)


def aggregate(
    query: Tensor, key: Tensor, value: Tensor, pairwise: str, scale: float | None, concat_weight: Tensor | None
) -> Tensor:
    """y_i = sum_j omega_ij value_j: [N, P, dv]."""
    return torch.bmm(affinity(query, key, pairwise, scale, concat_weight), value)


def concatenation_parts(query: Tensor, key: Tensor, concat_weight: Tensor) -> tuple[Tensor, Tensor]:
    """a [N, P] and b [N, M] with w . [q, k] = w_q . q + w_k . k = a + b: no pair is ever laid out."""
    query_part, key_part = concat_weight.to(query.dtype).reshape(2, -1, 1)
    return (query @ query_part).squeeze(2), (key @ key_part).squeeze(2)


def rectified(a: Tensor, b: Tensor, value: Tensor) -> Tensor:
    """1/M sum_j ReLU(a_i + b_j) v_j: a [N, P], b [N, M], v [N, M, dv] to [N, P, dv]."""
    return torch.bmm(rectified_map(a, b), value)


def rectified_map(a: Tensor, b: Tensor) -> Tensor:
    """ReLU(a_i + b_j) / M: [N, P] and [N, M] to [N, P, M]."""
    check_map(a, b)
    return torch.relu(a.unsqueeze(2) + b.unsqueeze(1)) / b.shape[1]


def gradients(form: Callable[..., Tensor], inputs: tuple[Tensor, ...], g: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of a form at ``inputs`` that can be differentiated again; None where an input needs none."""
    needed = [t for t in inputs if t.requires_grad]
    found = iter(torch.autograd.grad(form(*inputs), needed, g, create_graph=True))
    return tuple(next(found) if t.requires_grad else None for t in inputs)
