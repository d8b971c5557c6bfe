"""The block over the passes of one implementation: pool, mix on [N, C], fuse; for the gradient sums, mix, spread.

Only the feature map by reference, the context and the attention map are kept for the gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcnet.ops.context import composition
from gcnet.ops.context.mixing import coefficients, coefficients_backward
from gcnet.ops.context.passes import Options, Passes
from gcnet.ops.context.transform import Transform
from gcnet.ops.precision import full_precision, working_dtype

#: Six tensors of ``scale``, then six of ``add``; None for what is not there.
Tensors = tuple[Tensor | None, ...]


def flatten(scale: Transform | None, add: Transform | None) -> Tensors:
    """The twelve tensors of the two transforms."""
    nothing = (None,) * 6
    return (*(nothing if scale is None else scale[:6]), *(nothing if add is None else add[:6]))


def unflatten(tensors: Tensors, options: Options) -> tuple[Transform | None, Transform | None]:
    """The two transforms out of their twelve tensors."""
    scale = None if options.scale is None else Transform._make((*tensors[:6], *options.scale))
    add = None if options.add is None else Transform._make((*tensors[6:], *options.add))
    return scale, add


def block(
    passes: Passes, x: Tensor, key: Tensor | None, residual: Tensor | None, tensors: Tensors, options: Options
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Output, context [N, C] and attention map [N, P] of the block."""
    scale, add = unflatten(tensors, options)
    with full_precision(x):
        dtype = working_dtype(x, key, tensors[0], tensors[6])
        key = None if key is None else key.detach().reshape(-1).to(dtype).contiguous()
        if dtype == torch.float64 != x.dtype:
            wide = options._replace(relu=False)
            y, context, weights = block(passes, x.to(dtype), key, None, tensors, wide)
            return passes.fuse(y.to(x.dtype), None, None, residual, options.relu), context, weights
        done = passes.block(x, key, residual, scale, add, options)
        if done is not None:
            return done
        context, weights = passes.pool(x, key)
        factor, shift = coefficients(context, scale, add, options.gate, options.centred)
        return passes.fuse(x, factor, shift, residual, options.relu), context, weights


def block_backward(
    passes: Passes,
    g: Tensor,
    x: Tensor,
    y: Tensor | None,
    key: Tensor | None,
    context: Tensor,
    weights: Tensor | None,
    tensors: Tensors,
    options: Options,
) -> tuple[Tensor, Tensor | None, Tensor, Tensors]:
    """Gradients of x, key and residual, and of the twelve tensors of the two transforms."""
    scale, add = unflatten(tensors, options)
    g = torch.zeros_like(x) if g._is_zerotensor() else g.resolve_neg()
    with full_precision(x):
        features = x
        if context.dtype == torch.float64:
            features, g = x.double(), g.double()
        flat = None if key is None else key.detach().reshape(-1).to(context.dtype).contiguous()
        done = passes.block_backward(g, features, y, flat, context, weights, scale, add, options)
        if done is not None:
            dx, dkey, g, dtensors = done
        else:
            dfactor, dshift, g = passes.sums(g, features, scale is not None, add is not None, y)
            factor, _ = coefficients(context, scale, None, options.gate, options.centred)
            dcontext, dtensors = coefficients_backward(context, scale, add, options, factor, dfactor, dshift)
            dx, dkey = passes.spread(g, features, factor, flat, weights, context, dcontext)
        if key is not None and dkey is not None:
            dkey = dkey.to(key.dtype).reshape(key.shape)
        dtensors = tuple(
            None if d is None or t is None else d.to(t.dtype) for d, t in zip(dtensors, tensors, strict=True)
        )
        return dx.to(x.dtype), dkey, g.to(x.dtype), dtensors


class FusedBlock(torch.autograd.Function):
    """The block with its own gradient. The gradient of the gradient is that of the composition."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any,
        passes: Passes,
        options: Options,
        x: Tensor,
        key: Tensor | None,
        key_bias: Tensor | None,
        residual: Tensor | None,
        *tensors: Tensor | None,
    ) -> Tensor:
        y, context, weights = block(passes, x, key, residual, tensors, options)
        ctx.passes, ctx.options = passes, options
        ctx.save_for_backward(x, key, key_bias, residual, y if options.relu else None, context, weights, *tensors)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:  # noqa: D102
        x, key, key_bias, residual, y, context, weights, *tensors = ctx.saved_tensors
        if torch.is_grad_enabled() or _is_batched(g):
            return None, None, *differentiable_gradients(g, (x, key, key_bias, residual, *tensors), ctx.options)
        dx, dkey, dresidual, dtensors = block_backward(
            ctx.passes, g, x, y, key, context, weights, tuple(tensors), ctx.options
        )
        dbias = None if key_bias is None else torch.zeros_like(key_bias)
        return None, None, dx, dkey, dbias, None if residual is None else dresidual, *dtensors


def _is_batched(g: Tensor) -> bool:
    """Whether ``g`` stands for several gradients at once, as under ``is_grads_batched=True``."""
    return torch._C._functorch.is_legacy_batchedtensor(g) or torch._C._functorch.is_batchedtensor(g)


def differentiable_gradients(g: Tensor, inputs: Tensors, options: Options) -> list[Tensor | None]:
    """Gradients of the composition, with a graph of their own: of x, key, key bias, residual and the twelve tensors."""
    with torch.enable_grad():
        views = [None if t is None else t.view_as(t) for t in inputs]  # one tensor may be given twice
        x, key, key_bias, residual, *tensors = views
        assert x is not None
        scale, add = unflatten(tuple(tensors), options)
        y = composition.context_block(
            x, key, key_bias, scale, add, options.gate, options.centred, residual, options.relu
        )
        wanted = [view for view in views if view is not None and view.requires_grad]
        found = iter(torch.autograd.grad(y, wanted, g, create_graph=True, materialize_grads=True))
    return [next(found) if view is not None and view.requires_grad else None for view in views]
