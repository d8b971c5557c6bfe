"""Sums over positions: what the gradients of factor and shift are, and what the average is."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from gcnet.ops.context.triton.launch import launch
from gcnet.ops.context.triton.maps import Map, map_of, masks, offsets, sample_offset, steps_for


def sums(
    g: Tensor, x: Tensor, want_factor: bool, want_shift: bool, y: Tensor | None = None, scale: float = 1.0
) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """Gradients of ``factor`` and ``shift`` in ``y = x * factor + shift``.

    Args:
        g: gradient of y, [N, C, *spatial], of the layout of ``x``.
        x: features [N, C, *spatial].
        want_factor: whether sum_p g * x is wanted.
        want_shift: whether sum_p g is wanted.
        y: output of a ReLU that followed; ``g`` is 0 where it is not positive.
        scale: multiplies the sums.

    Returns:
        The two sums, float32 [N, C], None if not wanted, and ``g``, masked if ``y`` is given.
    """
    m = map_of(x)
    (bc, bp), steps, warps = sums_tile(m)
    splits = triton.cdiv(m.positions, bp * steps)
    blocks = triton.cdiv(m.channels, bc)
    wanted = [want_factor, want_shift]
    partial = x.new_empty((sum(wanted), m.samples, splits, m.channels), dtype=torch.float32)
    parts = iter(partial)
    factor_part, shift_part = (next(parts) if want else None for want in wanted)
    masked = None if y is None else torch.empty_like(g)
    launch(
        sums_kernel, m.samples * splits * blocks, g, x if want_factor else None, y, masked, factor_part, shift_part,
        m.positions // m.unit, splits, scale, C=m.channels, UNIT=m.unit, CHANNELS_LAST=m.channels_last, BC=bc, BP=bp,
        STEPS=steps, num_warps=warps,
    )  # fmt: skip
    results = iter(partial.squeeze(2) if splits == 1 else partial.sum(2))
    factor, shift = (next(results) if want else None for want in wanted)
    return factor, shift, g if masked is None else masked


def masked(g: Tensor, y: Tensor) -> Tensor:
    """Gradient through a ReLU whose output was ``y``: ``g``, but 0 where y <= 0."""
    return torch.ops.aten.threshold_backward(g, y, 0)


@lru_cache
def sums_tile(m: Map) -> tuple[tuple[int, int], int, int]:
    """Channels and positions of a tile, tiles in turn, and warps."""
    if m.channels_last:
        bc = min(256, max(16, triton.next_power_of_2(m.channels)))
    else:
        bc = 2048 // min(128, max(16, triton.next_power_of_2(m.positions)))
    bp = 2048 // bc
    steps = steps_for(triton.cdiv(m.positions, bp), m.samples * triton.cdiv(m.channels, bc), 16)
    return (bc, bp), steps, 8


@triton.jit(do_not_specialize=["units", "splits", "scale"])
def sums_kernel(
    g, x, y, masked, factor_part, shift_part, units, splits, scale,
    C: tl.constexpr, UNIT: tl.constexpr, CHANNELS_LAST: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr,
    STEPS: tl.constexpr,
):  # fmt: skip
    """Sums over STEPS tiles of positions; pointers that are None are not wanted."""
    program = tl.program_id(0)
    block = program % tl.cdiv(C, BC)
    split = program // tl.cdiv(C, BC) % splits
    n = (program // tl.cdiv(C, BC) // splits).to(tl.int64)
    P = units * UNIT
    c = block * BC + tl.arange(0, BC)
    sample = sample_offset(n, C, P)
    shift_sum = tl.zeros([BC, BP], tl.float32)
    factor_sum = tl.zeros([BC, BP], tl.float32)
    for step in range(STEPS):
        p = (split * STEPS + step) * BP + tl.arange(0, BP)
        at = offsets(c, p, C, P, CHANNELS_LAST)
        inside = masks(c, p, C, P, BC)
        gradient = tl.load(g + sample + at, mask=inside, other=0.0).to(tl.float32)
        if y is not None:
            output = tl.load(y + sample + at, mask=inside, other=0.0).to(tl.float32)
            gradient = tl.where(output <= 0, 0.0, gradient)
            tl.store(masked + sample + at, gradient.to(masked.dtype.element_ty), mask=inside)
        if shift_part is not None:
            shift_sum += gradient
        if factor_part is not None:
            factor_sum += gradient * tl.load(x + sample + at, mask=inside, other=0.0).to(tl.float32)
    result = (n * splits + split) * C + c
    if shift_part is not None:
        tl.store(shift_part + result, tl.sum(shift_sum, 1) * scale, mask=c < C)
    if factor_part is not None:
        tl.store(factor_part + result, tl.sum(factor_sum, 1) * scale, mask=c < C)
