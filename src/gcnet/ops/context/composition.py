"""Global context as a composition of ATen calls, differentiable to any order.

It is what export, functorch, forward-mode gradients and double backward see. Both contractions over the feature map are
batched matrix products; a one-channel convolution and a product with a transposed map compute the same several times
slower.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gcnet.ops.context.transform import Transform
from gcnet.ops.precision import full_precision, within_range, working_dtype


def _hard_sigmoid(t: Tensor) -> Tensor:
    return torch.clamp(t / 6 + 0.5, 0, 1)  # F.hardsigmoid has no second derivative


GATES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "hard_sigmoid": _hard_sigmoid}
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "silu": F.silu}


def attention(x: Tensor, key_weight: Tensor, key_bias: Tensor | None) -> Tensor:
    """Attention map of the GC and SNL blocks: [N, C, *spatial] to [N, P]."""
    with full_precision(x):
        features = x.flatten(2).to(working_dtype(x, key_weight))
        return _attention(features, key_weight, key_bias).squeeze(1)


def context_block(
    x: Tensor,
    key_weight: Tensor | None,
    key_bias: Tensor | None,
    scale: Transform | None,
    add: Transform | None,
    gate: str,
    centred: bool,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """Context modelling, transform and fusion on [N, C, *spatial]; then the shortcut and the last activation."""
    with full_precision(x):
        dtype = working_dtype(x, key_weight, *(t.expand_weight for t in (scale, add) if t is not None))
        features = x.to(dtype)
        context = _pool(features.flatten(2), key_weight, key_bias)  # [N, C]
        per_position = (*context.shape, *(1,) * (x.dim() - 2))
        y = features
        if scale is not None:
            factor = GATES[gate](apply_transform(context, scale))
            y = y * (2 * factor if centred else factor).reshape(per_position)
        if add is not None:
            y = y + apply_transform(context, add).reshape(per_position)
        y = y.to(x.dtype)
        if residual is not None:
            y = y + residual
        return torch.relu(y) if relu else y


def apply_transform(context: Tensor, transform: Transform) -> Tensor:
    """Channel mixing of the context: [N, C] to [N, C]."""
    hidden = context
    if transform.reduce_weight is not None:
        hidden = _linear(hidden, transform.reduce_weight, transform.reduce_bias)
        if transform.norm_weight is not None:
            width = (transform.norm_weight.shape[0],)
            affine = (_cast(transform.norm_weight, hidden), _cast(transform.norm_bias, hidden))
            hidden = F.layer_norm(within_range(hidden), width, *affine, eps=transform.norm_eps)
        if transform.activation is not None:
            hidden = _ACTIVATIONS[transform.activation](hidden)
    return _linear(hidden, transform.expand_weight, transform.expand_bias)


def _attention(features: Tensor, key_weight: Tensor, key_bias: Tensor | None) -> Tensor:
    keys = key_weight.to(features.dtype).unsqueeze(0).expand(features.shape[0], -1, -1)  # [N, 1, C]
    logits = torch.bmm(keys, features)  # [N, 1, P]
    if key_bias is not None:
        logits = logits + key_bias.to(features.dtype)
    return torch.softmax(logits, dim=2)


def _pool(features: Tensor, key_weight: Tensor | None, key_bias: Tensor | None) -> Tensor:
    if key_weight is None:
        return features.mean(dim=2)
    return torch.bmm(_attention(features, key_weight, key_bias), features.transpose(1, 2)).squeeze(1)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x, weight.to(x.dtype), _cast(bias, x))


def _cast(parameter: Tensor | None, like: Tensor) -> Tensor | None:
    return None if parameter is None else parameter.to(like.dtype)
