"""Non-local aggregation in ATen calls: for each pairwise function the form that is cheapest at these sizes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gcnet.ops.affinity import associative, attention, explicit, sorted
from gcnet.ops.affinity.explicit import affinity
from gcnet.ops.backend import is_exporting
from gcnet.ops.shapes import has_data, surely

__all__ = ["affinity", "aggregate"]

#: Elements of the maps of a batch (64 MiB in float32) up to which softmax functions are faster with them.
SOFTMAX_MAP = 2**24

#: P M / (P + M), up to which concatenation is faster with its map than with sorting.
CONCATENATION_MAP = 192


def aggregate(
    query: Tensor, key: Tensor, value: Tensor, pairwise: str, scale: float | None, concat_weight: Tensor | None
) -> Tensor:
    """y_i = sum_j omega_ij value_j: [N, P, dv]."""
    if _prefers_map(query, key, value, pairwise):
        return explicit.aggregate(query, key, value, pairwise, scale, concat_weight)
    if pairwise == "dot_product":
        return associative.aggregate(query, key, value)
    if pairwise == "concatenation":
        assert concat_weight is not None
        return sorted.aggregate(*explicit.concatenation_parts(query, key, concat_weight), value)
    return attention.aggregate(query, key, value, scale)


def _prefers_map(query: Tensor, key: Tensor, value: Tensor, pairwise: str) -> bool:
    positions, keys = query.shape[1], key.shape[1]
    if pairwise == "dot_product":
        return associative.prefers_map(query, key, value)
    if _is_transformed(query, key, value):
        return True
    if pairwise == "concatenation":
        # programs that run exported code seldom have searchsorted
        return is_exporting() or surely(positions * keys <= CONCATENATION_MAP * (positions + keys))
    # without data nothing is spared, and the map is counted alike on every device
    counted = not (torch.compiler.is_compiling() or has_data(query))
    return counted or surely(query.shape[0] * positions * keys <= SOFTMAX_MAP)


def _is_transformed(*tensors: Tensor) -> bool:
    """Whether functorch or forward mode is at work, which see through ATen calls but not through our own backward."""
    if torch._C._are_functorch_transforms_active():
        return True
    return not torch.compiler.is_compiling() and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)
