"""The C++ passes, on every instruction set of this machine, against the ATen ones."""

import math

import pytest
import torch

from gcnet import ops
from gcnet.ops import native_library
from gcnet.ops.context import eager, fused, native
from gcnet.ops.context.passes import Options
from tests.ops.context.test_context import transform

pytestmark = pytest.mark.skipif(not native.is_installed(), reason="gcnet was installed without a C++ compiler")

FOLDER = native_library.FOLDER
AVAILABLE = [
    name
    for name in native_library.INSTRUCTION_SETS
    if (path := FOLDER / f"_native_{name}.so").exists() and native_library.load(path) is not None
]
#: A float32 sum of a few hundred terms; a bfloat16 result is one rounding, half an ulp, away from the float32 one.
TOLERANCE = {torch.float32: 4e-6, torch.bfloat16: 2**-8}
SHAPES = [(2, 5, 7, 9), (1, 33, 1, 1), (1, 24, 40, 40), (2, 24, 3, 5, 7), (5, 7, 8), (2, 600, 13, 13)]


@pytest.fixture(params=AVAILABLE)
def instruction_set(request, monkeypatch):
    """Runs the test on one instruction set, with every new tensor full of NaN, so that unwritten output shows."""
    loaded = native_library.load(FOLDER / f"_native_{request.param}.so")
    monkeypatch.setattr(native, "library", lambda: loaded)
    empty, empty_like = torch.empty, torch.empty_like
    monkeypatch.setattr(native.torch, "empty", lambda *a, **k: empty(*a, **k).fill_(math.nan))
    monkeypatch.setattr(native.torch, "empty_like", lambda *a, **k: empty_like(*a, **k).fill_(math.nan))
    return request.param


def features(shape, dtype, last):
    x = torch.randn(shape).to(dtype)
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if last else x


def assert_close(ours, judge, dtype):
    if ours is None or judge is None:
        assert ours is judge
        return
    assert (ours.double() - judge.double()).norm() <= TOLERANCE[dtype] * judge.double().norm() + 1e-7


each_map = [
    pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"]),
    pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str),
    pytest.mark.parametrize("shape", SHAPES, ids=str),
]


def over_maps(test):
    for mark in each_map:
        test = mark(test)
    return test


@over_maps
@pytest.mark.parametrize("threads", [1, 3])
def test_pool(instruction_set, shape, dtype, last, threads, monkeypatch):
    monkeypatch.setattr(native_library.torch, "get_num_threads", lambda: threads)
    x = features(shape, dtype, last)
    for key in (None, torch.randn(shape[1]) / shape[1] ** 0.5):
        for ours, judge in zip(native.pool(x, key), eager.pool(x.float(), key), strict=True):
            assert_close(ours, judge, torch.float32)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("positions", [49, 196])
def test_large_logits_are_as_exact_as_those_of_aten(instruction_set, positions, last):
    """The logarithms of the weights show the rounding of the sums over 2048 channels."""
    errors = []
    for _ in range(5):
        x, key = features((2, 2048, positions), torch.float32, last), 0.1 * torch.randn(2048)
        exact = eager.pool(x.double(), key.double())[1].log()
        errors.append([(passes.pool(x, key)[1].double().log() - exact).norm() for passes in (native, eager)])
    ours, judge = torch.tensor(errors).median(dim=0).values
    assert ours <= 2 * judge


@over_maps
@pytest.mark.parametrize("relu", [False, True])
def test_fuse(instruction_set, shape, dtype, last, relu):
    x, residual = features(shape, dtype, last), features(shape, dtype, last)
    factor, shift = torch.rand(shape[:2]), torch.randn(shape[:2])
    for arguments in ((factor, None), (None, shift), (factor, shift)):
        for rest in (None, residual, residual.clone(memory_format=torch.contiguous_format)):
            y = native.fuse(x, *arguments, rest, relu)
            assert y.stride() == x.stride()
            assert_close(y, eager.fuse(x, *arguments, rest, relu), dtype)


@over_maps
@pytest.mark.parametrize("relu", [False, True])
def test_sums(instruction_set, shape, dtype, last, relu):
    g, x = features(shape, dtype, last), features(shape, dtype, last)
    y = features(shape, dtype, last) if relu else None
    for wanted in ((True, False), (False, True), (True, True)):
        ours, judge = native.sums(g, x, *wanted, y), eager.sums(g, x, *wanted, y)
        for a, b in zip(ours[:2], judge[:2], strict=True):
            assert_close(a, b, torch.float32)
        assert torch.equal(ours[2], judge[2])


@over_maps
def test_spread(instruction_set, shape, dtype, last):
    g, x = features(shape, dtype, last), features(shape, dtype, last)
    key, dcontext = torch.randn(shape[1]), torch.randn(shape[:2])
    for attention in (True, False):
        context, weights = eager.pool(x.float(), key if attention else None)
        for factor in (None, torch.rand(shape[:2])):
            arguments = (factor, key if attention else None, weights, context, dcontext)
            dx, dkey = native.spread(g, x, *arguments)
            expected, expected_key = eager.spread(
                g.double(), x.double(), *(t if t is None else t.double() for t in arguments)
            )
            assert dx.stride() == x.stride()
            assert_close(dx, expected, dtype)
            if attention and x[0, 0].numel() > 1:
                assert (dkey.double() - expected_key).norm() <= 1e-5 * dcontext.norm() * x.float().norm()


@over_maps
@pytest.mark.parametrize("kind", ["add", "scale", "both", "projection", "average", "epilogue"])
def test_whole_block(instruction_set, shape, dtype, last, kind):
    """In one region, with the transform computed between the two passes over a sample."""
    channels = shape[1]
    scale = transform(channels, 6, torch.float32, activation="silu") if kind in ("scale", "both") else None
    add = transform(channels, None if kind == "projection" else 6, torch.float32) if kind != "scale" else None
    relu = kind == "epilogue"
    options = Options(
        None if scale is None else scale[6:], None if add is None else add[6:], "hard_sigmoid", kind == "both", relu
    )
    if channels > 500 and kind == "projection":
        pytest.skip("a transform as large as this goes by single passes")
    x, g = features(shape, dtype, last), features(shape, dtype, last)
    residual = features(shape, dtype, last) if relu else None
    key = None if kind == "average" else torch.randn(channels) / channels**0.5
    tensors = tuple(None if t is None else t.detach() for t in fused.flatten(scale, add))
    with torch.no_grad():
        ours = fused.block(native, x, key, residual, tensors, options)
        judge = fused.block(eager, x, key, residual, tensors, options)
        for index, (a, b) in enumerate(zip(ours, judge, strict=True)):
            assert_close(a, b, dtype if index == 0 else torch.float32)
        # both from the same saved values: a value next to zero may be cut by one ReLU and not by the other
        saved = (judge[0] if relu else None, key, judge[1], judge[2], tensors, options)
        ours, judge = (fused.block_backward(passes, g, x, *saved) for passes in (native, eager))
    assert_close(ours[0], judge[0], dtype)
    assert torch.equal(ours[2], judge[2])
    scale_of_key = g.float().norm() * x.float().norm()
    if key is not None:
        assert (ours[1] - judge[1]).norm() <= 1e-5 * scale_of_key
    for a, b in zip(ours[3], judge[3], strict=True):
        if a is not None:
            assert (a - b).norm() <= 1e-4 * b.norm() + 1e-5 * scale_of_key


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("last", [False, True])
def test_outputs_that_go_past_the_cache(instruction_set, dtype, last):
    x = features((3, 64, 304, 304), dtype, last)
    assert x.nbytes > 32 << 20
    shift, key = torch.randn(3, 64), torch.randn(64)
    assert_close(native.fuse(x, None, shift), eager.fuse(x, None, shift), dtype)
    context, weights = native.pool(x, key)
    g = features(x.shape, dtype, last)
    ours, judge = (p.spread(g, x, None, key, weights, context, shift)[0] for p in (native, eager))
    assert_close(ours, judge, dtype)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("shape", [(1, 64, 30, 30), (5, 32, 14, 14)], ids=str)
def test_bitwise_equal_from_run_to_run(shape, threads, monkeypatch):
    monkeypatch.setattr(native_library.torch, "get_num_threads", lambda: threads)
    x = torch.randn(shape, requires_grad=True)
    add, key = transform(shape[1], 4, torch.float32), torch.randn(1, shape[1], requires_grad=True)
    runs = []
    for _ in range(3):
        with ops.backend("native"):
            y = ops.global_context(x, key, add=add)
        runs.append([y, *torch.autograd.grad(y.square().sum(), [x, key, *add[:6]])])
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("last", [False, True])
def test_bad_values_show(instruction_set, value, last):
    x = features((2, 9, 5, 5), torch.float32, last)
    x[1, 3, 2, 2] = value
    key = torch.randn(9)
    ours, judge = native.pool(x, key)[0], eager.pool(x, key)[0]
    assert torch.equal(ours.isfinite().all(dim=1), judge.isfinite().all(dim=1))
    assert native.fuse(x, None, torch.zeros(2, 9), relu=True).isnan().any() == math.isnan(value)


def test_threads_are_those_of_torch():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert native_library.describe(torch.zeros(1, 2, 3)).threads == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("x", "taken"),
    [
        (torch.zeros(2, 4, 3, 3), True),
        (torch.zeros(2, 4, 3, 3).to(memory_format=torch.channels_last), True),
        (torch.zeros(2, 4, 3, 3).transpose(2, 3), False),
        (torch.zeros(2, 4, 3, 6)[..., ::2], False),
        (torch.zeros(2, 4, 3, dtype=torch.float64), False),
        (torch.zeros(2, 4, 3, dtype=torch.float16), False),
        (torch.zeros(0, 4, 3), False),
        (torch.zeros(1, 4, 3).expand(2, -1, -1), False),
        (torch.zeros(2, 4, 3, device="meta"), False),
    ],
)
def test_what_is_taken(x, taken):
    assert native.supports(x) == taken
    if not x.is_meta:
        with ops.backend("native"):
            y = ops.global_context(x, None, add=ops.Transform(torch.zeros(4, 4)))
        assert torch.equal(x, y)
