"""Context modelling, transform and fusion in one launch, whose second read of the map hits the L2 cache.

Programs draw tickets. Tickets go by groups of samples, in the order pool(0), pool(1), fuse(0), pool(2), fuse(1), ...
Whoever pools the last tile of a sample combines the tiles in fixed order, applies the transforms and raises a flag; to
fuse waits for the flag. Who waits, waits only for smaller tickets, which are held by programs that run and that do not
wait to pool: there is no deadlock, however few programs run at a time.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

from gcnet.ops.context.transform import Transform
from gcnet.ops.context.triton.fusion import store_fused
from gcnet.ops.context.triton.launch import launch
from gcnet.ops.context.triton.maps import PROGRAMS, map_of, masks, offsets, sample_offset, two_sweep_tile
from gcnet.ops.context.triton.pooling import LOG2_E, combined_context, combined_softmax, pool_tile
from gcnet.ops.context.triton.transforming import transform

_CACHED = 30e6  # bytes of a map of which a second launch finds most in the L2 cache
_GROUP = 8e6  # bytes of a group of samples: two of them, and what is written, stay in the cache
_SAMPLES = 16  # enough that some are pooled while others are combined
_WEIGHTS = 2**15  # elements of a weight that one program reads without keeping the others waiting
_HIDDEN = 1024


#: One launch for large maps, on request: programs that wait for each other have run in the interpreter only.
ENABLED = os.environ.get("GCNET_ONE_LAUNCH") == "1"


def prefers_ticket(x: Tensor, key: Tensor | None, scale: Transform | None, add: Transform | None) -> bool:
    """Whether ``one_launch`` should beat pool, transform and fuse one by one: a large map, small transforms."""
    weights = [t.expand_weight for t in (scale, add) if t is not None]
    return (
        x.is_cuda
        and key is not None
        and x.numel() * x.element_size() > _CACHED
        and x.shape[0] >= _SAMPLES
        and all(weight.numel() <= _WEIGHTS and weight.shape[1] <= _HIDDEN for weight in weights)
    )


def one_launch(
    x: Tensor,
    key: Tensor,
    scale: Transform | None,
    add: Transform | None,
    gate: str = "sigmoid",
    centred: bool = False,
    residual: Tensor | None = None,
    relu: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Forward of the global-context block with attention pooling.

    Args:
        x: features [N, C, *spatial] that ``supports`` takes.
        key: float32 [C].
        scale: transform of the multiplicative fusion, or None.
        add: transform of the additive fusion, or None; one of the two is given.
        gate: ``"sigmoid"`` or ``"hard_sigmoid"``, for ``scale``.
        centred: use 2 * gate.
        residual: of the shape, dtype and layout of ``x``, or None.
        relu: clip at 0.

    Returns:
        The output like ``x``; the context, float32 [N, C]; the softmax map, float32 [N, P].
    """
    m = map_of(x)
    bc, bp = two_sweep_tile(m)
    tiles = triton.cdiv(m.positions, bp)
    rows = min(triton.next_power_of_2(tiles), 64)
    group = min(m.samples, max(1, int(_GROUP / (m.channels * m.positions * m.itemsize))))
    y = torch.empty_like(x)
    weights, softmax, peaks, totals, partial, context, factor, shift = (
        x.new_empty((m.samples, *shape), dtype=torch.float32)
        for shape in ((m.positions,), (2,), (tiles,), (tiles,), (tiles, m.channels), *((m.channels,),) * 3)
    )
    sync = torch.zeros(1 + 2 * m.samples, dtype=torch.int32, device=x.device)
    launch(
        ticket_kernel, min(2 * PROGRAMS, 2 * m.samples * tiles), x, key, *_weights(scale), *_weights(add), residual, y,
        weights, softmax, peaks, totals, partial, context, factor, shift, sync,
        m.positions // m.unit, tiles, m.samples, group, _epsilon(scale), _epsilon(add),
        C=m.channels, UNIT=m.unit, CHANNELS_LAST=m.channels_last, BC=bc, BP=bp, BT=rows,
        STEPS=triton.next_power_of_2(triton.cdiv(tiles, rows)), HIDDEN_SCALE=_hidden(scale), HIDDEN_ADD=_hidden(add),
        ACTIVATION_SCALE=_activation(scale), ACTIVATION_ADD=_activation(add), GATE=gate, CENTRED=centred, RELU=relu,
        num_warps=8, maxnreg=128, enable_fp_fusion=False,
    )  # fmt: skip
    return y, context, weights


def _weights(t: Transform | None) -> tuple[Tensor | None, ...]:
    if t is None:
        return (None,) * 6
    weights = (t.expand_weight, t.expand_bias, t.reduce_weight, t.reduce_bias, t.norm_weight, t.norm_bias)
    return tuple(weight if weight is None else weight.contiguous() for weight in weights)


def _epsilon(t: Transform | None) -> float:
    return 0.0 if t is None else t.norm_eps


def _hidden(t: Transform | None) -> int:
    return 0 if t is None else t.expand_weight.shape[1]


def _activation(t: Transform | None) -> str:
    return "none" if t is None or t.activation is None else t.activation


@triton.jit
def fuse_tile(
    x, factor, shift, residual, y, weights, peak, total, tile, P,
    C: tl.constexpr, CHANNELS_LAST: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr,
    SCALED: tl.constexpr, SHIFTED: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """Fuse a tile of positions of one sample, and turn its logits into weights."""
    p = tile * BP + tl.arange(0, BP)
    logit = tl.load(weights + p, mask=p < P, other=0.0)
    tl.store(weights + p, tl.exp2((logit - peak) * LOG2_E) / total, mask=p < P)
    for c0 in range(0, C, BC):
        c = c0 + tl.arange(0, BC)
        at = offsets(c, p, C, P, CHANNELS_LAST)
        inside = masks(c, p, C, P, BC)
        value = tl.load(x + at, mask=inside, other=0.0, eviction_policy="evict_first").to(tl.float32)
        if SCALED:
            value = value * tl.load(factor + c, mask=c < C, other=0.0)[:, None]
        if SHIFTED:
            value = value + tl.load(shift + c, mask=c < C, other=0.0)[:, None]
        store_fused(y, at, value, inside, residual, RELU)


@triton.jit(do_not_specialize=["units", "tiles", "samples", "group", "scale_eps", "add_eps"])
def ticket_kernel(
    x, key,
    scale_expand_weight, scale_expand_bias, scale_reduce_weight, scale_reduce_bias, scale_norm_weight, scale_norm_bias,
    add_expand_weight, add_expand_bias, add_reduce_weight, add_reduce_bias, add_norm_weight, add_norm_bias,
    residual, y, weights, softmax, peaks, totals, partial, context, factor, shift, sync,
    units, tiles, samples, group, scale_eps, add_eps,
    C: tl.constexpr, UNIT: tl.constexpr, CHANNELS_LAST: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr,
    BT: tl.constexpr, STEPS: tl.constexpr, HIDDEN_SCALE: tl.constexpr, HIDDEN_ADD: tl.constexpr,
    ACTIVATION_SCALE: tl.constexpr, ACTIVATION_ADD: tl.constexpr, GATE: tl.constexpr, CENTRED: tl.constexpr,
    RELU: tl.constexpr,
):  # fmt: skip
    """``sync`` holds the next ticket, then for each sample the tiles that are pooled, then the flags."""
    P = units * UNIT
    items = group * tiles
    groups = tl.cdiv(samples, group)
    counts = sync + 1
    flags = sync + 1 + samples
    ticket = tl.atomic_add(sync, 1, sem="relaxed")
    while ticket < 2 * groups * items:
        turn = (ticket + items) // (
            2 * items
        )  # in which the group of this number is pooled and the one before is fused
        pools = (turn < groups) & ((ticket < items) | ((ticket + items) % (2 * items) < items))
        item = ticket % items
        n32 = tl.where(pools, turn, turn - 1) * group + item // tiles
        tile = item % tiles
        n = n32.to(tl.int64)
        if n32 < samples:
            index = n * tiles + tile
            features = x + sample_offset(n32, C, P)
            if pools:
                pool_tile(
                    features, key, weights + n * P, peaks + index, totals + index, partial + index * C, tile, P, C,
                    CHANNELS_LAST, BC, BP,
                )  # fmt: skip
                tl.debug_barrier()
                if tl.atomic_add(counts + n, 1, sem="acq_rel") == tiles - 1:
                    tl.debug_barrier()
                    peak, total = combined_softmax(peaks + n * tiles, totals + n * tiles, tiles, BT, STEPS)
                    tl.store(softmax + 2 * n, peak)
                    tl.store(softmax + 2 * n + 1, total)
                    for c0 in range(0, C, 64):
                        c = c0 + tl.arange(0, 64)
                        values = combined_context(
                            peaks + n * tiles, partial + n * tiles * C, peak, total, c, tiles, C, 64, BT, STEPS
                        )
                        tl.store(context + n * C + c, values, mask=c < C)
                    tl.debug_barrier()
                    if HIDDEN_SCALE:
                        transform(
                            context + n * C, factor + n * C, scale_expand_weight, scale_expand_bias,
                            scale_reduce_weight, scale_reduce_bias, scale_norm_weight, scale_norm_bias, scale_eps,
                            C, HIDDEN_SCALE, ACTIVATION_SCALE, GATE, CENTRED,
                        )  # fmt: skip
                    if HIDDEN_ADD:
                        transform(
                            context + n * C, shift + n * C, add_expand_weight, add_expand_bias, add_reduce_weight,
                            add_reduce_bias, add_norm_weight, add_norm_bias, add_eps,
                            C, HIDDEN_ADD, ACTIVATION_ADD, "none", False,
                        )  # fmt: skip
                    tl.debug_barrier()
                    tl.atomic_xchg(flags + n, 1, sem="release")
            else:
                while tl.atomic_add(flags + n, 0, sem="acquire") == 0:
                    pass
                tl.debug_barrier()
                sample = sample_offset(n32, C, P)
                fuse_tile(
                    features, factor + n * C, shift + n * C, residual if residual is None else residual + sample,
                    y + sample, weights + n * P, tl.load(softmax + 2 * n), tl.load(softmax + 2 * n + 1), tile, P, C,
                    CHANNELS_LAST, BC, BP, HIDDEN_SCALE > 0, HIDDEN_ADD > 0, RELU,
                )  # fmt: skip
        ticket = tl.atomic_add(sync, 1, sem="relaxed")
