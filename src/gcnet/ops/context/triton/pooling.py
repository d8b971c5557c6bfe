"""Context modelling: one read of the map gives partial softmaxes, a small kernel combines them in fixed order."""

# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def"

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
    logits, weights = x.new_empty((2, m.samples, m.positions), dtype=torch.float32)
    peaks, totals = x.new_empty((2, m.samples, tiles), dtype=torch.float32)
    partial = x.new_empty((m.samples, tiles, m.channels), dtype=torch.float32)
    context = x.new_empty((m.samples, m.channels), dtype=torch.float32)
    launch(
        pool_kernel, m.samples * tiles, x, key, logits, peaks, totals, partial, m.positions // m.unit, tiles,
        C=m.channels, UNIT=m.unit, CHANNELS_LAST=m.channels_last, BC=bc, BP=bp, num_warps=8,
    )  # fmt: skip
    width = 64
    while width > 8 and m.samples * triton.cdiv(m.channels, width) < PROGRAMS:
        width //= 2
    jobs = triton.cdiv(m.channels, width) + triton.cdiv(m.positions, 1024)
    rows = min(triton.next_power_of_2(tiles), 64)
    launch(
        combine_kernel, m.samples * jobs, logits, peaks, totals, partial, context, weights, m.positions, tiles, jobs,
        C=m.channels, BC=width, BP=1024, BT=rows, STEPS=triton.next_power_of_2(triton.cdiv(tiles, rows)), num_warps=4,
    )  # fmt: skip
    return context, weights


@triton.jit(do_not_specialize=["units", "tiles"])
def pool_kernel(
    x, key, logits, peaks, totals, partial, units, tiles,
    C: tl.constexpr, UNIT: tl.constexpr, CHANNELS_LAST: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Logits of a tile of positions, their largest, the sum of exp(logit - largest), and the features weighted so."""
    program = tl.program_id(0)
    n = program // tiles
    P = units * UNIT
    p = (program % tiles) * BP + tl.arange(0, BP)
    x += sample_offset(n, C, P)
    products = tl.zeros([BC, BP], tl.float32)
    for c0 in range(0, C, BC):
        c = c0 + tl.arange(0, BC)
        at = x + offsets(c, p, C, P, CHANNELS_LAST)
        features = tl.load(at, mask=masks(c, p, C, P, BC), other=0.0, eviction_policy="evict_last").to(tl.float32)
        products += features * tl.load(key + c, mask=c < C, other=0.0)[:, None]
    logit = tl.where(p < P, tl.sum(products, 0), float("-inf"))
    peak = tl.max(logit, 0)
    weight = tl.exp2((logit - peak) * LOG2_E)
    tl.store(logits + n.to(tl.int64) * P + p, logit, mask=p < P)
    tl.store(peaks + program, peak)
    tl.store(totals + program, tl.sum(weight, 0))
    partial += program.to(tl.int64) * C
    for step in range(0, C, BC):
        c = (C - 1) // BC * BC - step + tl.arange(0, BC)  # backwards: what was read last is nearest
        at = x + offsets(c, p, C, P, CHANNELS_LAST)
        features = tl.load(at, mask=masks(c, p, C, P, BC), other=0.0, eviction_policy="evict_first").to(tl.float32)
        tl.store(partial + c, tl.sum(features * weight[None, :], 1), mask=c < C)


@triton.jit(do_not_specialize=["positions", "tiles", "jobs"])
def combine_kernel(
    logits, peaks, totals, partial, context, weights, positions, tiles, jobs,
    C: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr, BT: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """The softmax over all tiles of a sample: some programs write channels of the context, the others weights."""
    program = tl.program_id(0)
    n = (program // jobs).to(tl.int64)
    job = program % jobs
    peaks += n * tiles
    totals += n * tiles
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
    total = tl.sum(summed, 0)
    if job < tl.cdiv(C, BC):
        c = job * BC + tl.arange(0, BC)
        partial += n * tiles * C
        pooled = tl.zeros([BT, BC], tl.float32)
        for step in range(STEPS):
            t = step * BT + tl.arange(0, BT)
            share = tl.exp2((tl.load(peaks + t, mask=t < tiles, other=float("-inf")) - peak) * LOG2_E)
            inside = (t < tiles)[:, None] & (c < C)[None, :]
            pooled += share[:, None] * tl.load(partial + t[:, None] * C + c[None, :], mask=inside, other=0.0)
        tl.store(context + n * C + c, tl.sum(pooled, 0) / total, mask=c < C)
    else:
        p = (job - tl.cdiv(C, BC)) * BP + tl.arange(0, BP)
        logit = tl.load(logits + n * positions + p, mask=p < positions, other=0.0)
        tl.store(weights + n * positions + p, tl.exp2((logit - peak) * LOG2_E) / total, mask=p < positions)
