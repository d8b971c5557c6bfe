"""Triton kernels against formulas in float64, under the interpreter: run by test_triton.py in a process of its own.

The interpreter truncates where it should round to bfloat16, hence twice the tolerance that the format would need.
"""

import math

import pytest
import torch
import triton
import triton.language as tl

from gcnet.ops import Transform
from gcnet.ops.context import reference
from gcnet.ops.context import triton as kernels
from gcnet.ops.context.triton import fusion, maps, summation, ticket

STORED = {torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 8e-3}  # relative, of one rounding
SUMMED = 4e-6  # relative to the largest sum, in float32
SHAPES = [(3, 5, 1), (2, 33, 7), (2, 48, 9, 7), (1, 16, 14, 6), (2, 5, 2, 3, 4), (1, 520, 3, 3), (1, 3, 600)]

maps_of_features = pytest.mark.parametrize(
    ("shape", "dtype", "channels_last"),
    [(shape, dtype, last) for shape in SHAPES for dtype in STORED for last in (False, True)],
)


@pytest.fixture(autouse=True)
def _poison():
    """Memory that is not written holds NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def features(shape, dtype, channels_last):
    x = torch.randn(shape).to(dtype)
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if channels_last else x


def columns(vectors, x):
    return vectors.reshape(*vectors.shape, *(1,) * (x.dim() - 2))


def softmax_map(x, key):
    return torch.softmax(torch.einsum("c,ncp->np", key.double(), x.double().flatten(2)), 1)


def assert_sums(ours, judge):
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), judge, rtol=0, atol=SUMMED * max(1.0, judge.abs().max().item()))


def assert_map(ours, judge, x, roundings=1):
    assert ours.dtype == x.dtype
    assert ours.stride() == x.stride()
    tolerance = roundings * STORED[x.dtype]
    torch.testing.assert_close(ours.double(), judge.double(), rtol=tolerance, atol=tolerance * judge.abs().max().item())


@maps_of_features
def test_pool(shape, dtype, channels_last):
    x, key = features(shape, dtype, channels_last), torch.randn(shape[1]) * 3 / shape[1] ** 0.5
    context, weights = kernels.pool(x, key)
    judge = softmax_map(x, key)
    assert_sums(weights, judge)
    assert_sums(context, torch.einsum("np,ncp->nc", judge, x.double().flatten(2)))
    context, weights = kernels.pool(x, None)
    assert weights is None
    assert_sums(context, x.double().flatten(2).mean(2))


def test_pool_of_logits_far_from_zero():
    x, key = 6e4 * torch.ones(2, 48, 40, dtype=torch.float16), torch.full((48,), 3e2)
    x[:, :, 7] = 5.9e4
    context, weights = kernels.pool(x, key)
    assert_sums(weights, softmax_map(x, key))
    assert context.isfinite().all()
    x, key = torch.zeros(1, 16, 30), torch.zeros(16)
    x[0, 0, 3], key[0] = 3e18, 1e20
    context, weights = kernels.pool(x, key)
    assert weights[0].tolist() == [float(p == 3) for p in range(30)]
    assert context[0, 0] == x[0, 0, 3]


@maps_of_features
@pytest.mark.parametrize("given", ["factor", "shift", "both"])
def test_fuse(shape, dtype, channels_last, given):
    x, residual = features(shape, dtype, channels_last), features(shape, dtype, channels_last)
    factor = torch.randn(shape[:2]) if given != "shift" else None
    shift = torch.randn(shape[:2]) if given != "factor" else None
    judge = x.float()
    if factor is not None:
        judge = judge * columns(factor, x)
    if shift is not None:
        judge = judge + columns(shift, x)
    judge = judge.to(dtype)
    results = [
        (kernels.fuse(x, factor, shift), judge),
        (kernels.fuse(x, factor, shift, residual), judge + residual),
        (kernels.fuse(x, factor, shift, residual, relu=True), torch.relu(judge + residual)),
    ]
    for ours, expected in results:
        assert_map(ours, expected, x, roundings=2)
        if dtype != torch.bfloat16:
            assert ours.equal(expected)


@pytest.mark.parametrize("channels_last", [False, True])
def test_relu_keeps_nan(channels_last):
    x = features((1, 16, 5), torch.float32, channels_last)
    x[0, 3, 2] = float("nan")
    y = kernels.fuse(x, None, torch.ones(1, 16), relu=True)
    assert y.isnan().nonzero().tolist() == [[0, 3, 2]]
    torch.testing.assert_close(y, torch.relu(x + 1), equal_nan=True)


@maps_of_features
@pytest.mark.parametrize("relu", [False, True])
def test_sums(shape, dtype, channels_last, relu):
    g, x, y = (features(shape, dtype, channels_last) for _ in range(3))
    y.clamp_(min=0)
    judge = torch.where(y <= 0, 0, g) if relu else g
    dfactor, dshift, masked = kernels.sums(g, x, True, True, y if relu else None)
    assert masked.equal(judge)
    assert masked.stride() == x.stride()
    assert summation.masked(g, y).equal(torch.where(y <= 0, 0, g))
    assert_sums(dfactor, (judge.double() * x.double()).flatten(2).sum(2))
    assert_sums(dshift, judge.double().flatten(2).sum(2))
    nothing, alone, _ = kernels.sums(g, x, False, True, y if relu else None)
    assert nothing is None
    assert alone.equal(dshift)
    alone, nothing, _ = kernels.sums(g, x, True, False, y if relu else None)
    assert nothing is None
    assert alone.equal(dfactor)


@maps_of_features
@pytest.mark.parametrize("scaled", [False, True])
def test_spread(shape, dtype, channels_last, scaled):
    g, x = features(shape, dtype, channels_last), features(shape, dtype, channels_last)
    key, dcontext = torch.randn(shape[1]) * 3 / shape[1] ** 0.5, torch.randn(shape[:2])
    factor = torch.randn(shape[:2]) if scaled else None
    flat, weights = x.double().flatten(2), softmax_map(x, key)
    context = torch.einsum("np,ncp->nc", weights, flat)
    centred = flat - context.unsqueeze(2)
    dlogits = weights * torch.einsum("nc,ncp->np", dcontext.double(), centred)
    through = g.double() * columns(factor, x) if scaled else g.double()
    judge = dcontext[:, :, None] * weights[:, None] + key[None, :, None] * dlogits[:, None]
    dx, dkey = kernels.spread(g, x, factor, key, weights.float(), context.float(), dcontext)
    assert_map(dx, through + judge.reshape(shape), x)
    assert_sums(dkey, torch.einsum("np,ncp->c", dlogits, flat))
    dx, dkey = kernels.spread(g, x, factor, None, None, None, dcontext)
    assert dkey is None
    assert_map(dx, through + columns(dcontext, x) / flat.shape[2], x)


def transform(channels, hidden, dtype=torch.float32, *, norm=True, bias=True, activation="relu"):
    def draw(*shape):
        return (0.5 * torch.randn(shape)).to(dtype)

    if hidden is None:
        return Transform(draw(channels, channels), draw(channels) if bias else None)
    norms = (draw(hidden), draw(hidden) if bias else None) if norm else (None, None)
    biases = (draw(channels), draw(hidden)) if bias else (None, None)
    return Transform(
        draw(channels, hidden), biases[0], draw(hidden, channels), biases[1], *norms, activation=activation
    )


TRANSFORMS = [
    ((5, 48, 3, 5), {"hidden": 3}),
    ((5, 5, 2, 3, 4), {"hidden": 40, "bias": False, "activation": "silu", "dtype": torch.bfloat16}),
    ((3, 33, 5, 5), {"hidden": None}),
    ((3, 300, 5), {"hidden": 2, "norm": False, "activation": None}),
    ((1, 5, 1), {"hidden": None, "bias": False}),
]


@pytest.mark.parametrize(
    ("shape", "options", "fusions", "channels_last"),
    [
        (*case, fusions, channels_last)
        for case in TRANSFORMS
        for fusions in ("add", "scale", "both")
        for channels_last in (False, True)
    ]
    + [((1, 3, 530), {"hidden": 2}, "both", False)],
)
def test_block_of_one_launch(shape, options, fusions, channels_last, monkeypatch):
    samples_in_a_group = {"add": 1, "scale": 2, "both": 99}[fusions]
    monkeypatch.setattr(ticket, "_GROUP", samples_in_a_group * 4 * math.prod(shape[1:]))
    x, residual = (features(shape, torch.float32, channels_last) for _ in range(2))
    key = torch.randn(shape[1]) * 3 / shape[1] ** 0.5
    scale, add = (transform(shape[1], **options) if fusions in (name, "both") else None for name in ("scale", "add"))
    gate = ("hard_sigmoid" if channels_last else "sigmoid", channels_last)
    y, context, weights = kernels.one_launch(x, key, scale, add, *gate)
    judge = reference.context_block(x.double(), key.double()[None], None, scale, add, *gate)
    assert y.stride() == x.stride()
    assert_sums(y, judge)
    assert_sums(weights, softmax_map(x, key))
    assert_sums(context, torch.einsum("np,ncp->nc", softmax_map(x, key), x.double().flatten(2)))
    rectified, _, _ = kernels.one_launch(x, key, scale, add, *gate, residual, relu=True)
    assert rectified.equal(torch.relu(y + residual))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_block_of_one_launch_in_half_precision(dtype):
    x, key = features((3, 33, 5, 5), dtype, False), torch.randn(33) / 2
    scale, add = transform(33, 2), transform(33, 4)
    y, _, _ = kernels.one_launch(x, key, scale, add)
    assert_map(y, reference.context_block(x.double(), key.double()[None], None, scale, add, "sigmoid", False), x)


def test_what_is_supported():
    x = torch.randn(2, 8, 4, 6)
    assert kernels.supports(x)
    assert kernels.supports(x.to(memory_format=torch.channels_last))
    assert kernels.supports(x[1:])
    for other in (x.double(), x[:0], x.transpose(2, 3), x[:, ::2], x[:1].expand(2, -1, -1, -1), x[0, 0], x.to("meta")):
        assert not kernels.supports(other)
    assert not kernels.supports(torch.empty(1).expand(1, 2**16, 2**16))


@triton.jit
def sample_offset_kernel(n, C: tl.constexpr, P, result):
    """Store where a sample begins."""
    tl.store(result, maps.sample_offset(n + tl.program_id(0), C, P))


def test_offsets_beyond_32_bits():
    result = torch.empty(1, dtype=torch.int64)
    sample_offset_kernel[(1,)](100, 2**12, 2**17, result)
    assert result.item() == 100 * 2**29


@pytest.mark.parametrize("spatial", [(7, 9), (30, 40)])
def test_fuse_with_wide_offsets(spatial, monkeypatch):
    x, shift = torch.randn(2, 3, *spatial), torch.randn(2, 3)
    narrow = kernels.fuse(x, None, shift)
    launch = fusion.launch
    monkeypatch.setattr(fusion, "launch", lambda *args, **rest: launch(*args, **{**rest, "WIDE": True}))
    assert kernels.fuse(x, None, shift).equal(narrow)
