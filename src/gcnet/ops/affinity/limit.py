"""The largest attention map that is laid out."""

from __future__ import annotations

import torch
from torch import Tensor

from gcnet.ops.shapes import has_data


def check_map(query: Tensor, key: Tensor) -> None:
    """Raise ValueError where the map of P queries [N, P, ...] and M keys [N, M, ...] would be beyond AFFINITY_LIMIT."""
    if torch.compiler.is_compiling() or not has_data(query):
        return
    from gcnet.ops.affinity import AFFINITY_LIMIT  # at the call, because it may be set there

    if query.shape[1] * key.shape[1] > AFFINITY_LIMIT:
        raise ValueError(
            f"the attention map of one sample would have {query.shape[1]} x {key.shape[1]} elements, more than the "
            f"limit of {AFFINITY_LIMIT} (gcnet.ops.affinity.AFFINITY_LIMIT). Outputs and gradients need no map; second "
            "derivatives, forward mode, functorch, the reference and affinity_map do. Use subsample=, or the cheaper "
            "forms with one map for all queries, SimplifiedNonLocal or GlobalContext"
        )
