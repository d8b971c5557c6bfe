"""Backward of context modelling and fusion: one pass over features and gradient writes the gradient of the features."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gcnet.ops.context.triton.fusion import fuse
from gcnet.ops.context.triton.launch import launch
from gcnet.ops.context.triton.maps import map_of, masks, offsets, sample_offset, two_sweep_tile


def spread(
    g: Tensor,
    x: Tensor,
    factor: Tensor | None,
    key: Tensor | None,
    weights: Tensor | None,
    context: Tensor | None,
    dcontext: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """Gradients of features and key, given that of the context.

    With m the softmax map, dl_p = m_p * (<dcontext, x_p> - <dcontext, context>) and
    dx_p = g_p * factor + dcontext * m_p + key * dl_p; dkey = sum_p dl_p x_p. For the average, m_p = 1 / P and dl_p = 0.

    Args:
        g: gradient of the output, [N, C, *spatial], of the layout of ``x``.
        x: features [N, C, *spatial].
        factor: float32 [N, C], or None for 1.
        key: float32 [C], or None for the average.
        weights: softmax map, float32 [N, P].
        context: float32 [N, C].
        dcontext: gradient of the context, float32 [N, C].

    Returns:
        The gradient of x, in its dtype and layout, and that of the key, float32 [C] (None for the average).
    """
    m = map_of(x)
    if key is None:
        return fuse(g, factor, dcontext, scale=1 / m.positions), None
    bc, bp = two_sweep_tile(m)
    tiles = triton.cdiv(m.positions, bp)
    dx = torch.empty_like(x)
    partial = x.new_empty((m.samples * tiles, m.channels), dtype=torch.float32)
    launch(
        spread_kernel, m.samples * tiles, g, x, factor, key, weights, context, dcontext, dx, partial,
        m.positions // m.unit, tiles, C=m.channels, UNIT=m.unit, CHANNELS_LAST=m.channels_last, BC=bc, BP=bp,
        num_warps=8,
    )  # fmt: skip
    return dx, partial.sum(0)


@triton.jit(do_not_specialize=["units", "tiles"])
def spread_kernel(
    g, x, factor, key, weights, context, dcontext, dx, partial, units, tiles,
    C: tl.constexpr, UNIT: tl.constexpr, CHANNELS_LAST: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """A tile of positions, in two sweeps over the channels: first dl, then dx and a partial sum of dkey."""
    program = tl.program_id(0)
    n = (program // tiles).to(tl.int64)
    P = units * UNIT
    p = (program % tiles) * BP + tl.arange(0, BP)
    sample = sample_offset(n, C, P)
    products = tl.zeros([BC, BP], tl.float32)
    pooled = tl.zeros([BC], tl.float32)
    for c0 in range(0, C, BC):
        c = c0 + tl.arange(0, BC)
        at = sample + offsets(c, p, C, P, CHANNELS_LAST)
        features = tl.load(x + at, mask=masks(c, p, C, P, BC), other=0.0, eviction_policy="evict_last").to(tl.float32)
        gradient = tl.load(dcontext + n * C + c, mask=c < C, other=0.0)
        products += features * gradient[:, None]
        pooled += gradient * tl.load(context + n * C + c, mask=c < C, other=0.0)
    weight = tl.load(weights + n * P + p, mask=p < P, other=0.0)
    dlogit = weight * (tl.sum(products, 0) - tl.sum(pooled, 0))
    partial += program.to(tl.int64) * C
    for step in range(0, C, BC):
        c = (C - 1) // BC * BC - step + tl.arange(0, BC)  # backwards: what was read last is nearest
        at = sample + offsets(c, p, C, P, CHANNELS_LAST)
        inside = masks(c, p, C, P, BC)
        features = tl.load(x + at, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
        tl.store(partial + c, tl.sum(features * dlogit[None, :], 1), mask=c < C)
        gradient = tl.load(g + at, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
        if factor is not None:
            gradient *= tl.load(factor + n * C + c, mask=c < C, other=0.0)[:, None]
        gradient += tl.load(dcontext + n * C + c, mask=c < C, other=0.0)[:, None] * weight[None, :]
        gradient += tl.load(key + c, mask=c < C, other=0.0)[:, None] * dlogit[None, :]
        tl.store(dx + at, gradient.to(dx.dtype.element_ty), mask=inside)
