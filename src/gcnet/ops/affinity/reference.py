"""Non-local aggregation as the formulas read: every pair of positions, one after the other formula.

Source: Non-local Neural Networks (Wang et al., arXiv:1711.07971), equations 1-6.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gcnet.ops.affinity.limit import check_map


def affinity(query: Tensor, key: Tensor, pairwise: str, scale: float | None, concat_weight: Tensor | None) -> Tensor:
    """omega_ij = f(query_i, key_j) / C: [N, P, d] and [N, M, d] to [N, P, M]."""
    check_map(query, key)
    q, k = query.unsqueeze(2), key.unsqueeze(1)  # [N, P, 1, d], [N, 1, M, d]
    keys = key.shape[1]
    if pairwise == "concatenation":
        assert concat_weight is not None
        pairs = torch.cat([q.expand(-1, -1, keys, -1), k.expand(-1, query.shape[1], -1, -1)], dim=3)
        f = (pairs * concat_weight.to(pairs.dtype).reshape(-1)).sum(dim=3)
        return torch.where(f > 0, f, torch.zeros_like(f)) / keys
    f = (q * k).sum(dim=3)
    if pairwise == "dot_product":
        return f / keys
    if scale is not None:
        f = f * scale
    f = torch.exp(f - f.amax(dim=2, keepdim=True))
    return f / f.sum(dim=2, keepdim=True)


def aggregate(
    query: Tensor, key: Tensor, value: Tensor, pairwise: str, scale: float | None, concat_weight: Tensor | None
) -> Tensor:
    """y_i = sum_j omega_ij value_j: [N, P, dv]."""
    omega = affinity(query, key, pairwise, scale, concat_weight)
    return (omega.unsqueeze(3) * value.unsqueeze(1)).sum(dim=2)
