"""The passes over the feature map in ATen calls: batched matrix products, a rank-2 update for the gradient.

Each function handles a map [N, C, *spatial] and per-sample vectors [N, C] in the working dtype, float32 or float64.
"""

from __future__ import annotations

import torch
from torch import Tensor


def supports(x: Tensor) -> bool:
    """Whether these functions run on ``x``: always."""
    return True


def pool(x: Tensor, key: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Context [N, C] and the attention map [N, P] it was pooled with; without ``key`` [C] the mean and None."""
    if key is None:
        return x.flatten(2).mean(dim=2, dtype=torch.promote_types(x.dtype, torch.float32)), None
    features = x.flatten(2).to(key.dtype)
    weights = torch.softmax(torch.bmm(_rows(key, features), features), dim=2)
    return torch.bmm(weights, features.transpose(1, 2)).squeeze(1), weights.squeeze(1)


def fuse(
    x: Tensor, factor: Tensor | None, shift: Tensor | None, residual: Tensor | None = None, relu: bool = False
) -> Tensor:
    """``x * factor + shift`` in the dtype of ``x``, then plus ``residual``, then ReLU."""
    y = x
    if factor is not None:
        y = y * _per_position(factor, x)
    if shift is not None:
        y = y + _per_position(shift, x)
    y = y.to(x.dtype)
    if residual is not None:
        y = y + residual
    return torch.relu(y) if relu else y


def sums(
    g: Tensor, x: Tensor, want_factor: bool, want_shift: bool, y: Tensor | None = None
) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """Gradients of factor and shift [N, C], and ``g``, with zeros where the ReLU behind ``y`` cut."""
    if y is not None:
        g = torch.where(y <= 0, 0, g)  # as the gradient of ReLU: NaN lets it pass
    dtype = torch.promote_types(g.dtype, torch.float32)
    dfactor = (g.to(dtype) * x).flatten(2).sum(dim=2) if want_factor else None
    dshift = g.flatten(2).sum(dim=2, dtype=dtype) if want_shift else None
    return dfactor, dshift, g


def spread(
    g: Tensor,
    x: Tensor,
    factor: Tensor | None,
    key: Tensor | None,
    weights: Tensor | None,
    context: Tensor,
    dcontext: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """Gradient of ``x`` and of ``key`` [C], given those of the output ``g`` and of the context [N, C]."""
    direct = (g if factor is None else g * _per_position(factor, g)).to(context.dtype)
    if key is None or weights is None:
        positions = x.flatten(2).shape[2]
        return (direct + _per_position(dcontext / positions, x)).to(x.dtype), None
    features = x.flatten(2).to(key.dtype)
    along = torch.bmm(dcontext.unsqueeze(1), features)  # <dcontext, x_p>: [N, 1, P]
    mean = (dcontext * context).sum(dim=1).reshape(-1, 1, 1)
    dlogits = weights.unsqueeze(1) * (along - mean)
    dkey = torch.bmm(dlogits, features.transpose(1, 2)).sum(dim=(0, 1))
    channels = torch.stack([dcontext, key.expand_as(dcontext)], dim=2)  # [N, C, 2]
    positions_ = torch.cat([weights.unsqueeze(1), dlogits], dim=1)  # [N, 2, P]
    direct = direct.flatten(2)
    if features.stride(1) == 1 and features.stride(2) != 1:  # channels_last
        dx = torch.baddbmm(direct.transpose(1, 2), positions_.transpose(1, 2), channels.transpose(1, 2))
        dx = dx.transpose(1, 2)
    else:
        dx = torch.baddbmm(direct, channels, positions_)
    return dx.reshape(x.shape).to(x.dtype), dkey


def block(*arguments: object) -> None:
    """Nothing: ATen has no form of the block that reads the map once."""


def block_backward(*arguments: object) -> None:
    """Nothing, as for :func:`block`."""


def _rows(key: Tensor, features: Tensor) -> Tensor:
    return key.reshape(1, 1, -1).expand(features.shape[0], 1, -1)


def _per_position(vector: Tensor, x: Tensor) -> Tensor:
    return vector.reshape(*vector.shape, *(1,) * (x.dim() - 2))
