"""The transform of the context of one sample, inside a kernel."""

# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl

from gcnet.ops.context.triton.pooling import LOG2_E


@triton.jit
def hidden_features(
    context, reduce_weight, reduce_bias, norm_weight, norm_bias, eps,
    C: tl.constexpr, R: tl.constexpr, BR: tl.constexpr, ACTIVATION: tl.constexpr,
):  # fmt: skip
    """``activation(norm(reduce(context)))`` of one sample, [BR]; the context itself if there is nothing to reduce."""
    r = tl.arange(0, BR)
    if reduce_weight is None:
        hidden = tl.load(context + r, mask=r < R, other=0.0)
    else:
        BC: tl.constexpr = 4096 // BR
        products = tl.zeros([BR, BC], tl.float32)
        for c0 in range(0, C, BC):
            c = c0 + tl.arange(0, BC)
            inside = (r < R)[:, None] & (c < C)[None, :]
            weight = tl.load(reduce_weight + r[:, None] * C + c[None, :], mask=inside, other=0.0).to(tl.float32)
            products += weight * tl.load(context + c, mask=c < C, other=0.0)[None, :]
        hidden = tl.sum(products, 1)
        if reduce_bias is not None:
            hidden += tl.load(reduce_bias + r, mask=r < R, other=0.0).to(tl.float32)
        if norm_weight is not None:
            hidden = hidden / tl.maximum(tl.max(tl.abs(hidden), 0) / 1e15, 1.0)
            centred = tl.where(r < R, hidden - tl.sum(hidden, 0) / R, 0.0)
            hidden = centred / tl.sqrt(tl.sum(centred * centred, 0) / R + eps)
            hidden *= tl.load(norm_weight + r, mask=r < R, other=0.0).to(tl.float32)
            if norm_bias is not None:
                hidden += tl.load(norm_bias + r, mask=r < R, other=0.0).to(tl.float32)
        if ACTIVATION == "relu":
            hidden = tl.where(hidden <= 0, 0.0, hidden)
        if ACTIVATION == "silu":
            hidden = hidden / (1 + tl.exp2(-hidden * LOG2_E))
    return hidden


@triton.jit
def expanded(hidden, expand_weight, expand_bias, c, C: tl.constexpr, R: tl.constexpr, BR: tl.constexpr):
    """Channels ``c`` of ``expand(hidden)``."""
    r = tl.arange(0, BR)
    inside = (c < C)[:, None] & (r < R)[None, :]
    weight = tl.load(expand_weight + c[:, None] * R + r[None, :], mask=inside, other=0.0).to(tl.float32)
    result = tl.sum(weight * hidden[None, :], 1)
    if expand_bias is not None:
        result += tl.load(expand_bias + c, mask=c < C, other=0.0).to(tl.float32)
    return result


@triton.jit
def transform(
    context, result, expand_weight, expand_bias, reduce_weight, reduce_bias, norm_weight, norm_bias, eps,
    C: tl.constexpr, R: tl.constexpr, ACTIVATION: tl.constexpr, GATE: tl.constexpr, CENTRED: tl.constexpr,
):  # fmt: skip
    """The transform of the context of one sample; gated unless GATE is "none"."""
    BR: tl.constexpr = max(16, triton.next_power_of_2(R))
    hidden = hidden_features(context, reduce_weight, reduce_bias, norm_weight, norm_bias, eps, C, R, BR, ACTIVATION)
    for c0 in range(0, C, 4096 // BR):
        c = c0 + tl.arange(0, 4096 // BR)
        values = expanded(hidden, expand_weight, expand_bias, c, C, R, BR)
        if GATE == "sigmoid":
            values = 1 / (1 + tl.exp2(-values * LOG2_E))
        if GATE == "hard_sigmoid":
            values = values / 6 + 0.5
            values = tl.where(values > 1, 1.0, tl.where(values < 0, 0.0, values))
        if CENTRED:
            values = 2 * values
        tl.store(result + c, values, mask=c < C)
