"""Softmax functions through scaled_dot_product_attention, which keeps no map: memory is linear in P and M.

The kernel for CPUs takes one width for queries, keys and values. Everything here is float32 or wider, which of the
kernels for CUDA leaves the memory-efficient one, for widths that are multiples of 4; float64 falls back to torch's form
with a map there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gcnet.ops.affinity import explicit
from gcnet.ops.precision import full_precision


def aggregate(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    """sum_j softmax_j(scale <query_i, key_j>) value_j: [N, P, d], [N, M, d], [N, M, dv] to [N, P, dv].

    Second derivatives, for which the kernels have none, go through the explicit map.
    """
    scale = 1.0 if scale is None else scale
    if torch.compiler.is_compiling():
        return _attend(query, key, value, scale)
    output: Tensor = _Attention.apply(query, key, value, scale)
    return output


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    width = value.shape[2]
    common = -(-max(query.shape[2], width) // 4) * 4  # zeros change nothing
    if not query.shape[2] == width == common:
        query, key, value = (F.pad(t, (0, common - t.shape[2])) for t in (query, key, value))
    query, key, value = (t.contiguous().unsqueeze(1) for t in (query, key, value))  # one head
    return F.scaled_dot_product_attention(query, key, value, scale=scale).squeeze(1)[..., :width]


class _Attention(torch.autograd.Function):
    """Holds the graph of the kernel's own backward, and takes another way where that is to be differentiated."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        inputs = [
            t.detach().requires_grad_(needed)
            for t, needed in zip((query, key, value), ctx.needs_input_grad, strict=False)
        ]
        with torch.set_grad_enabled(any(ctx.needs_input_grad)):
            output = _attend(inputs[0], inputs[1], inputs[2], scale)
        ctx.save_for_backward(query, key, value)
        ctx.scale, ctx.inputs, ctx.output = scale, inputs, output
        return output.detach()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            query, key, value = ctx.saved_tensors
            with full_precision(query):
                found = explicit.gradients(partial(_with_map, scale=ctx.scale), (query, key, value), g)
        else:
            needed = [t for t in ctx.inputs if t.requires_grad]
            gradients = iter(torch.autograd.grad(ctx.output, needed, g, retain_graph=True))
            found = tuple(next(gradients) if t.requires_grad else None for t in ctx.inputs)
        return *found, None


def _with_map(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    return explicit.aggregate(query, key, value, "gaussian", scale, None)
