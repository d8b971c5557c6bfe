"""Global context as the formula reads: one sum per line, nothing clever. The judge of the other implementations.

Sources: GCNet (Cao et al., arXiv:1904.11492), equation 5 (the framework) and equation 6 (the GC block); SENet (Hu et
al., arXiv:1709.01507), equations 2-4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gcnet.ops.context.transform import Transform
from gcnet.ops.precision import within_range, working_dtype


def attention(x: Tensor, key_weight: Tensor, key_bias: Tensor | None) -> Tensor:
    """alpha_j = exp(W_k x_j) / sum_m exp(W_k x_m): [N, C, *spatial] to [N, P]."""
    x = x.flatten(2).to(working_dtype(x, key_weight))  # [N, C, P]
    logits = (key_weight.to(x.dtype).reshape(1, -1, 1) * x).sum(dim=1)  # [N, P]
    if key_bias is not None:
        logits = logits + key_bias.to(x.dtype)
    weights = torch.exp(logits - logits.amax(dim=1, keepdim=True))
    return weights / weights.sum(dim=1, keepdim=True)


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
    """z_i = F(x_i, delta(sum_j alpha_j x_j)), with F a scaling, an addition or both, scaling first.

    Then, as in a residual block, the shortcut and the ReLU.
    """
    dtype = working_dtype(x, key_weight, *_weights(scale), *_weights(add))
    features = x.flatten(2).to(dtype)  # [N, C, P]
    if key_weight is None:
        context = features.mean(dim=2)
    else:
        alpha = attention(x.to(dtype), key_weight, key_bias)
        context = (alpha.unsqueeze(1) * features).sum(dim=2)  # [N, C]
    if scale is not None:
        t = apply_transform(context, scale).unsqueeze(2)
        factor = torch.clamp(t / 6 + 0.5, 0, 1) if gate == "hard_sigmoid" else 1 / (1 + torch.exp(-t))
        features = features * (2 * factor if centred else factor)
    if add is not None:
        features = features + apply_transform(context, add).unsqueeze(2)
    y = features.reshape(x.shape).to(x.dtype)
    if residual is not None:
        y = y + residual
    return torch.where(y <= 0, torch.zeros_like(y), y) if relu else y


def apply_transform(context: Tensor, transform: Transform) -> Tensor:
    """W_v2 ReLU(LN(W_v1 c + b_v1)) + b_v2: [N, C] to [N, C]."""
    hidden = context
    if transform.reduce_weight is not None:
        hidden = _affine(hidden, transform.reduce_weight, transform.reduce_bias)
        if transform.norm_weight is not None:
            hidden = within_range(hidden)
            mean = hidden.mean(dim=1, keepdim=True)
            variance = ((hidden - mean) ** 2).mean(dim=1, keepdim=True)
            hidden = (
                (hidden - mean) / torch.sqrt(variance + transform.norm_eps) * transform.norm_weight.to(hidden.dtype)
            )
            if transform.norm_bias is not None:
                hidden = hidden + transform.norm_bias.to(hidden.dtype)
        if transform.activation == "relu":
            hidden = torch.where(hidden > 0, hidden, torch.zeros_like(hidden))
        elif transform.activation == "silu":
            hidden = hidden / (1 + torch.exp(-hidden))
    return _affine(hidden, transform.expand_weight, transform.expand_bias)


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = (x.unsqueeze(1) * weight.to(x.dtype).unsqueeze(0)).sum(dim=2)
    return y if bias is None else y + bias.to(x.dtype)


def _weights(transform: Transform | None) -> tuple[Tensor, ...]:
    return () if transform is None else (transform.expand_weight,)
