"""How widely attention looks: what tells maps that agree on a place from maps that agree by being flat."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def attention_spread(p: Tensor) -> Tensor:
    """Share of the keys that a row effectively covers: exp(entropy) / K, averaged over rows.

    It is 1 for uniform weights, n / K for equal weights on n of the K keys, and 1 / K for a single one. The statistics
    of GCNet's section 3.2 do not see this: flat maps are as alike as maps that look at one place.

    Args:
        p: [..., Q, K], rows that are distributions; they are normalised to sum to 1 in float64.

    Returns:
        [...] in float64.

    Raises:
        ValueError: no keys; negative values, infinite values or NaN; a row of zeros.

    Example:
        >>> attention_spread(torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]))
        tensor(0.7500, dtype=torch.float64)
    """
    if p.dim() < 2 or not p.shape[-1]:
        raise ValueError(f"p of shape {tuple(p.shape)} must be [..., Q, K]")
    if not bool((p >= 0).all()) or not bool(p.isfinite().all()):
        raise ValueError("p has negative values, infinite values or NaN; its rows must be distributions")
    p = p.double()
    sums = p.sum(-1, keepdim=True)
    if not bool((sums > 0).all()):
        raise ValueError("p has a row of zeros; its rows must be distributions")
    p = p / sums
    return (torch.special.entr(p).sum(-1).exp() / p.shape[-1]).mean(-1)
