"""What a context does to a feature map, and its gradient: a factor and a shift per channel, on [N, C] tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gcnet.ops.context.composition import GATES, apply_transform
from gcnet.ops.context.passes import Options
from gcnet.ops.context.transform import Transform
from gcnet.ops.precision import range_divisor

#: Gradients of the six tensors of a Transform, in its order; None for what is not there.
Gradients = tuple[Tensor | None, ...]


def coefficients(
    context: Tensor, scale: Transform | None, add: Transform | None, gate: str, centred: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Factor and shift [N, C] of the fusion ``y_i = x_i * factor + shift``, None for a fusion that is not there."""
    factor = shift = None
    if scale is not None:
        factor = GATES[gate](apply_transform(context, scale))
        factor = 2 * factor if centred else factor
    if add is not None:
        shift = apply_transform(context, add)
    return factor, shift


def coefficients_backward(
    context: Tensor,
    scale: Transform | None,
    add: Transform | None,
    options: Options,
    factor: Tensor | None,
    dfactor: Tensor | None,
    dshift: Tensor | None,
) -> tuple[Tensor, Gradients]:
    """Gradient of the context [N, C], and of the twelve tensors of the two transforms."""
    dscale = dadd = (None,) * 6  # type: Gradients
    parts = []
    if scale is not None and factor is not None and dfactor is not None:
        part, dscale = transform_backward(context, scale, dfactor * _gate_slope(factor, options))
        parts.append(part)
    if add is not None and dshift is not None:
        part, dadd = transform_backward(context, add, dshift)
        parts.append(part)
    return sum(parts[1:], parts[0]), (*dscale, *dadd)


def transform_backward(context: Tensor, transform: Transform, g: Tensor) -> tuple[Tensor, Gradients]:
    """Gradient of the context and of the six tensors of ``transform``, given that of its result ``g`` [N, C]."""
    expand = transform.expand_weight.to(g.dtype)
    if transform.reduce_weight is None:
        return g @ expand, (g.t() @ context, _sum(g, transform.expand_bias), None, None, None, None)
    reduce = transform.reduce_weight.to(g.dtype)
    linear = F.linear(context, reduce, _cast(transform.reduce_bias, g))
    normed, norm = linear, None
    if transform.norm_weight is not None:
        divisor = range_divisor(linear)
        norm = (linear / divisor, transform.norm_weight.to(g.dtype), _cast(transform.norm_bias, g))
        width = list(transform.norm_weight.shape)
        normed, mean, rstd = torch.native_layer_norm(norm[0], width, norm[1], norm[2], transform.norm_eps)
    hidden, slope = normed, None
    if transform.activation == "relu":
        hidden, slope = normed.relu(), normed > 0
    elif transform.activation == "silu":
        sigmoid = normed.sigmoid()
        hidden, slope = normed * sigmoid, sigmoid * (1 + normed * (1 - sigmoid))

    dexpand, dexpand_bias = g.t() @ hidden, _sum(g, transform.expand_bias)
    g = g @ expand
    if slope is not None:
        g = g * slope
    dnorm_weight = dnorm_bias = None
    if norm is not None:
        mask = [True, True, transform.norm_bias is not None]
        g, dnorm_weight, dnorm_bias = torch.ops.aten.native_layer_norm_backward(
            g, norm[0], width, mean, rstd, norm[1], norm[2], mask
        )
        g = g / divisor
        dnorm_bias = None if transform.norm_bias is None else dnorm_bias
    dreduce, dreduce_bias = g.t() @ context, _sum(g, transform.reduce_bias)
    return g @ reduce, (dexpand, dexpand_bias, dreduce, dreduce_bias, dnorm_weight, dnorm_bias)


def _gate_slope(factor: Tensor, options: Options) -> Tensor:
    """Derivative of the factor by the argument of its gate."""
    value = factor / 2 if options.centred else factor
    if options.gate == "hard_sigmoid":
        slope = ((value > 0) & (value < 1)).to(factor.dtype) / 6
    else:
        slope = value * (1 - value)
    return 2 * slope if options.centred else slope


def _sum(g: Tensor, bias: Tensor | None) -> Tensor | None:
    return None if bias is None else g.sum(dim=0)


def _cast(parameter: Tensor | None, like: Tensor) -> Tensor | None:
    return None if parameter is None else parameter.to(like.dtype)
