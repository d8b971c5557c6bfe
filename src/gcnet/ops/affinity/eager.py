"""Non-local aggregation in ATen calls: batched matrix products around one [N, P, M] map."""

from __future__ import annotations

import torch
from torch import Tensor


def affinity(query: Tensor, key: Tensor, pairwise: str, scale: float | None, concat_weight: Tensor | None) -> Tensor:
    """omega_ij = f(query_i, key_j) / C: [N, P, d] and [N, M, d] to [N, P, M]."""
    if pairwise == "concatenation":
        assert concat_weight is not None
        # w . [q, k] = w_q . q + w_k . k: the pairs are never laid out side by side
        query_part, key_part = concat_weight.to(query.dtype).reshape(2, -1, 1)
        return torch.relu(query @ query_part + (key @ key_part).transpose(1, 2)) / key.shape[1]
    f = torch.bmm(query, key.transpose(1, 2))
    if pairwise == "dot_product":
        return f / key.shape[1]
    return torch.softmax(f if scale is None else f * scale, dim=2)


def aggregate(
    query: Tensor, key: Tensor, value: Tensor, pairwise: str, scale: float | None, concat_weight: Tensor | None
) -> Tensor:
    """y_i = sum_j omega_ij value_j: [N, P, dv]."""
    return torch.bmm(affinity(query, key, pairwise, scale, concat_weight), value)
