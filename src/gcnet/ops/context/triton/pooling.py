"""Context modelling: one read of the map gives partial softmaxes, a small kernel combines them in fixed order."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import cast

import torch
import triton
import triton.language as tl
from torch import Tensor

from gcnet.ops.context.triton.launch import launch
from gcnet.ops.context.triton.maps import PROGRAMS, map_of, masks, offsets, sample_offset, two_sweep_tile
from gcnet.ops.context.triton.summation import sums

LOG2_E = tl.constexpr(1.4426950408889634)


def pool(x: Tensor, key: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Pool positions into a context.

    Args:
        x: features [N, C, *spatial] that ``supports`` takes.
        key: float32 [C], whose products with the features are the logits; None for the average.

    Returns:
        The context, float32 [N, C], and the softmax map, float32 [N, P] (None for the average).
    """
    m = map_of(x)
    if key is None:
        _, average, _ = sums(x, x, want_factor=False, want_shift=True, scale=1 / m.positions)
        return cast(Tensor, average), None
    bc, bp = two_sweep_tile(m)
    tiles = triton.cdiv(m.positions, bp)
    weights, peaks, totals, partial, context = (
        x.new_empty((m.samples, *shape), dtype=torch.float32)
        for shape in ((m.positions,), (tiles,), (tiles,), (tiles, m.channels), (m.channels,))
    )
    launch(
        pool_kernel, m.samples * tiles, x, key, weights, peaks, totals, partial, m.positions // m.unit, tiles,
        C=m.channels, UNIT=m.unit, CHANNELS_LAST=m.channels_last, BC=bc, BP=bp, num_warps=8,
    )  # fmt: skip
    width = 64
    while width > 8 and m.samples * triton.cdiv(m.channels, width) < PROGRAMS:
        width //= 2
    jobs = triton.cdiv(m.channels, width) + triton.cdiv(m.positions, 1024)
    rows = min(triton.next_power_of_2(tiles), 64)
    launch(
        combine_kernel, m.samples * jobs, weights, peaks, totals, partial, context, m.positions, tiles, jobs,
        C=m.channels, BC=width, BP=1024, BT=rows, STEPS=triton.next_power_of_2(triton.cdiv(tiles, rows)), num_warps=4,
    )  # fmt: skip
    return context, weights


@triton.jit
def pool_tile(
    x, key, logits, peak_at, total_at, partial, tile, P,
    C: tl.constexpr, CHANNELS_LAST: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Logits of a tile of positions, their largest, the sum of exp(logit - largest), and the features weighted so."""
    p = tile * BP + tl.arange(0, BP)
    products = tl.zeros([BC, BP], tl.float32)
    for c0 in range(0, C, BC):
        c = c0 + tl.arange(0, BC)
        at = x + offsets(c, p, C, P, CHANNELS_LAST)
        features = tl.load(at, mask=masks(c, p, C, P, BC), other=0.0, eviction_policy="evict_last").to(tl.float32)
        products += features * tl.load(key + c, mask=c < C, other=0.0)[:, None]
    logit = tl.where(p < P, tl.sum(products, 0), float("-inf"))
    peak = tl.max(logit, 0)
    weight = tl.exp2((logit - peak) * LOG2_E)
    tl.store(logits + p, logit, mask=p < P)
    tl.store(peak_at, peak)
    tl.store(total_at, tl.sum(weight, 0))
    for step in range(0, C, BC):
        c = (C - 1) // BC * BC - step + tl.arange(0, BC)  # backwards: what was read last is nearest
        at = x + offsets(c, p, C, P, CHANNELS_LAST)
        features = tl.load(at, mask=masks(c, p, C, P, BC), other=0.0, eviction_policy="evict_first").to(tl.float32)
        tl.store(partial + c, tl.sum(features * weight[None, :], 1), mask=c < C)


@triton.jit
def combined_softmax(peaks, totals, tiles, BT: tl.constexpr, STEPS: tl.constexpr):
    """Largest logit of a sample and the sum of exp(logit - largest), from those of its tiles."""
    highest = tl.full([BT], float("-inf"), tl.float32)
    for step in range(STEPS):
        t = step * BT + tl.arange(0, BT)
        highest = tl.maximum(highest, tl.load(peaks + t, mask=t < tiles, other=float("-inf")))
    peak = tl.max(highest, 0)
    summed = tl.zeros([BT], tl.float32)
    for step in range(STEPS):
        t = step * BT + tl.arange(0, BT)
        share = tl.exp2((tl.load(peaks + t, mask=t < tiles, other=float("-inf")) - peak) * LOG2_E)
        summed += share * tl.load(totals + t, mask=t < tiles, other=0.0)
    return peak, tl.sum(summed, 0)


@triton.jit
def combined_context(
    peaks, partial, peak, total, c, tiles, C: tl.constexpr, BC: tl.constexpr, BT: tl.constexpr, STEPS: tl.constexpr
):
    """Channels ``c`` of the context of a sample."""
    pooled = tl.zeros([BT, BC], tl.float32)
    for step in range(STEPS):
        t = step * BT + tl.arange(0, BT)
        share = tl.exp2((tl.load(peaks + t, mask=t < tiles, other=float("-inf")) - peak) * LOG2_E)
        inside = (t < tiles)[:, None] & (c < C)[None, :]
        pooled += share[:, None] * tl.load(partial + t[:, None] * C + c[None, :], mask=inside, other=0.0)
    return tl.sum(pooled, 0) / total


@triton.jit(do_not_specialize=["units", "tiles"])
def pool_kernel(
    x, key, logits, peaks, totals, partial, units, tiles,
    C: tl.constexpr, UNIT: tl.constexpr, CHANNELS_LAST: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """One tile of one sample."""
    program = tl.program_id(0)
    n = program // tiles
    P = units * UNIT
    pool_tile(
        x + sample_offset(n, C, P), key, logits + n.to(tl.int64) * P, peaks + program, totals + program,
        partial + program.to(tl.int64) * C, program % tiles, P, C, CHANNELS_LAST, BC, BP,
    )  # fmt: skip


@triton.jit(do_not_specialize=["positions", "tiles", "jobs"])
def combine_kernel(
    weights, peaks, totals, partial, context, positions, tiles, jobs,
    C: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr, BT: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Some programs combine channels of the context from all tiles of a sample, the others turn logits into weights."""
    program = tl.program_id(0)
    n = (program // jobs).to(tl.int64)
    job = program % jobs
    peak, total = combined_softmax(peaks + n * tiles, totals + n * tiles, tiles, BT, STEPS)
    if job < tl.cdiv(C, BC):
        c = job * BC + tl.arange(0, BC)
        partial += n * tiles * C
        values = combined_context(peaks + n * tiles, partial, peak, total, c, tiles, C, BC, BT, STEPS)
        tl.store(context + n * C + c, values, mask=c < C)
    else:
        p = (job - tl.cdiv(C, BC)) * BP + tl.arange(0, BP)
        weights += n * positions
        logit = tl.load(weights + p, mask=p < positions, other=0.0)
        tl.store(weights + p, tl.exp2((logit - peak) * LOG2_E) / total, mask=p < positions)
