"""Fusion: scale, shift, add the residual and clip in one read and one write of the map."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from gcnet.ops.context.triton.launch import launch
from gcnet.ops.context.triton.maps import Map, map_of, masks, offsets, power_of_two_divisor, sample_offset, steps_for


def fuse(
    x: Tensor,
    factor: Tensor | None,
    shift: Tensor | None,
    residual: Tensor | None = None,
    relu: bool = False,
    scale: float = 1.0,
) -> Tensor:
    """``y = relu(x * factor + scale * shift + residual)``.

    Each operation rounds as ATen's would: multiplying and shifting to float32; before the residual is added, and after,
    to the dtype of ``x``. So the result is that of the unfused operations, bit for bit.

    Args:
        x: features [N, C, *spatial].
        factor: float32 [N, C] or None.
        shift: float32 [N, C] or None; one of the two is given.
        residual: of the shape, dtype and layout of ``x``, or None.
        relu: clip at 0; NaN stays NaN.
        scale: multiplies ``shift``.

    Returns:
        [N, C, *spatial] in the dtype and layout of ``x``.
    """
    m = map_of(x)
    y = torch.empty_like(x)
    if m.channels_last:
        (bc, bp), steps = fuse_tile(m)
        splits, blocks = triton.cdiv(m.positions, bp * steps), triton.cdiv(m.channels, bc)
        launch(
            fuse_columns_kernel, m.samples * splits * blocks, x, factor, shift, residual, y, m.positions, splits, scale,
            C=m.channels, BC=bc, BP=bp, STEPS=steps, RELU=relu, num_warps=4, enable_fp_fusion=False,
        )  # fmt: skip
    else:
        size = x.numel()
        block, warps = 512, m.itemsize  # 16 bytes for each thread
        steps = steps_for(triton.cdiv(size, block), 1, 8)
        chunk = power_of_two_divisor(size)
        launch(
            fuse_rows_kernel, triton.cdiv(size, block * steps), x, factor, shift, residual, y, size // chunk,
            m.positions, m.samples * m.channels, scale, SHORT_P=m.positions if m.positions < block else 0,
            CHUNK=chunk, WIDE=size >= 2**31, BLOCK=block, STEPS=steps, RELU=relu, num_warps=warps,
            enable_fp_fusion=False,
        )  # fmt: skip
    return y


@lru_cache
def fuse_tile(m: Map) -> tuple[tuple[int, int], int]:
    """Channels and positions of a tile and tiles in turn: 16 bytes for each of 128 threads."""
    elements = 2048 // m.itemsize
    bc = min(elements // 2, max(16, triton.next_power_of_2(m.channels)))
    bp = elements // bc
    return (bc, bp), steps_for(triton.cdiv(m.positions, bp), m.samples * triton.cdiv(m.channels, bc), 8)


@triton.jit
def row_values(values, row, rows, within, positions, inside, SHORT_P: tl.constexpr):
    """The values [N * C] of a block's elements, which lie at ``within`` after the start of ``row``."""
    if SHORT_P:
        result = tl.load(values + row + within // SHORT_P, mask=inside, other=0.0)
    else:
        here = tl.load(values + row, mask=row < rows, other=0.0)
        result = tl.where(within < positions, here, tl.load(values + row + 1, mask=row + 1 < rows, other=0.0))
    return result


@triton.jit
def store_fused(y, at, value, inside, residual, RELU: tl.constexpr):
    """Add the residual to what y would hold without it, clip, store."""
    if residual is not None:
        value = value.to(y.dtype.element_ty).to(tl.float32)
        value += tl.load(residual + at, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
    if RELU:
        value = tl.where(value <= 0, 0.0, value)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["chunks", "positions", "rows", "scale"])
def fuse_rows_kernel(
    x, factor, shift, residual, y, chunks, positions, rows, scale,
    SHORT_P: tl.constexpr, CHUNK: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
    RELU: tl.constexpr,
):  # fmt: skip
    """The map as one long row, in blocks that are aligned whatever P is.

    A block that is not longer than P meets two rows [n, c] at most; if it is, P is a constant and rows are gathered.
    """
    program = tl.program_id(0)
    start = program.to(tl.int64) * (BLOCK * STEPS)
    left = tl.minimum(chunks - program * (BLOCK * STEPS // CHUNK), BLOCK * STEPS // CHUNK) * CHUNK
    if WIDE:
        row = start // positions
        within = (start - row * positions).to(tl.int32)
    else:
        row = program * (BLOCK * STEPS) // positions
        within = program * (BLOCK * STEPS) - row * positions
    for step in tl.static_range(STEPS):
        lane = tl.arange(0, BLOCK)
        at = start + step * BLOCK + lane
        inside = step * BLOCK + lane < left
        value = tl.load(x + at, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
        if factor is not None:
            value = value * row_values(factor, row, rows, within + lane, positions, inside, SHORT_P)
        if shift is not None:
            value = value + scale * row_values(shift, row, rows, within + lane, positions, inside, SHORT_P)
        store_fused(y, at, value, inside, residual, RELU)
        passed = (within + BLOCK) // SHORT_P if SHORT_P else tl.where(within + BLOCK >= positions, 1, 0)
        row += passed
        within += BLOCK - passed * positions


@triton.jit(do_not_specialize=["positions", "splits", "scale"])
def fuse_columns_kernel(
    x, factor, shift, residual, y, positions, splits, scale,
    C: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr, STEPS: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """A channels-last map: a program keeps its channels of factor and shift for STEPS tiles of positions."""
    program = tl.program_id(0)
    block = program % tl.cdiv(C, BC)
    split = program // tl.cdiv(C, BC) % splits
    n = (program // tl.cdiv(C, BC) // splits).to(tl.int64)
    c = block * BC + tl.arange(0, BC)
    if factor is not None:
        factors = tl.load(factor + n * C + c, mask=c < C, other=0.0)
    if shift is not None:
        shifts = scale * tl.load(shift + n * C + c, mask=c < C, other=0.0)
    sample = sample_offset(n, C, positions)
    for step in range(STEPS):
        p = (split * STEPS + step) * BP + tl.arange(0, BP)
        at = sample + offsets(c, p, C, positions, True)
        inside = masks(c, p, C, positions, BC)
        value = tl.load(x + at, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
        if factor is not None:
            value = value * factors[:, None]
        if shift is not None:
            value = value + shifts[:, None]
        store_fused(y, at, value, inside, residual, RELU)
