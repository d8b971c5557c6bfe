"""Every implementation of global context against the reference: outputs, gradients, properties."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcnet import ops
from gcnet.ops.backend import BACKENDS
from gcnet.ops.context import composition, reference
from gcnet.ops.context.dispatch import context_block

IMPLEMENTATIONS = ("composition", "eager", "native")

DTYPES = {
    torch.float64: 1e-12,
    torch.float32: 2e-6,
    torch.bfloat16: 4e-3,
    torch.float16: 5e-4,
}  # half an ulp of storage


def transform(channels, hidden, dtype, *, norm=True, activation="relu"):
    def draw(*shape):
        return (0.5 * torch.randn(shape)).to(dtype).requires_grad_()

    if hidden is None:
        return ops.Transform(draw(channels, channels), draw(channels))
    norms = (draw(hidden), draw(hidden)) if norm else (None, None)
    return ops.Transform(
        draw(channels, hidden), draw(channels), draw(hidden, channels), draw(hidden), *norms, activation=activation
    )


def run(name, *arguments):
    """The block by one implementation; the composition is what export and double backward see."""
    if name == "composition":
        return composition.context_block(*arguments)
    with ops.backend(name):
        return context_block(*arguments)


def results(name, x, key, bias, scale, add, gate, centred, residual, relu, g):
    tensors = [t for t in (x, key, bias, residual, *(scale or ()), *(add or ())) if isinstance(t, torch.Tensor)]
    y = run(name, x, key, bias, scale, add, gate, centred, residual, relu)
    return [y, *torch.autograd.grad(y, tensors, g)]


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_every_implementation_equals_the_reference(data):
    draw = data.draw
    dtype = draw(st.sampled_from(list(DTYPES)))
    channels = draw(st.integers(2, 19))
    shape = (draw(st.integers(0, 5)), channels, *draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    torch.manual_seed(draw(st.integers(0, 99)))
    hidden = draw(st.sampled_from([None, 5, 8]))
    fusion = draw(st.sampled_from(["add", "scale", "both"]))
    options = {"norm": draw(st.booleans()), "activation": draw(st.sampled_from([None, "relu", "silu"]))}
    scale = transform(channels, hidden, dtype, **options) if fusion != "add" else None
    add = transform(channels, hidden, dtype, **options) if fusion != "scale" else None
    attention = draw(st.booleans())
    key = torch.randn(1, channels).to(dtype).requires_grad_() if attention else None
    bias = torch.randn(1).to(dtype).requires_grad_() if attention and draw(st.booleans()) else None

    def features():
        x = torch.randn(shape).to(dtype)
        if layout == "transposed":
            x = x.transpose(1, -1).contiguous().transpose(1, -1)
        elif layout == "channels_last":
            x = x.movedim(1, -1).contiguous().movedim(-1, 1)
        return x

    layout = draw(st.sampled_from(["contiguous", "channels_last", "transposed"]))
    x = features().requires_grad_()
    residual = features().requires_grad_() if draw(st.booleans()) else None
    # in 16 bits a sum may be exactly 0 for one implementation and not for another
    relu = draw(st.booleans()) if dtype in (torch.float32, torch.float64) else False
    gate, centred = draw(st.sampled_from(["sigmoid", "hard_sigmoid"])), draw(st.booleans())
    arguments = (x, key, bias, scale, add, gate, centred, residual, relu, torch.randn(shape).to(dtype))
    expected = results("reference", *arguments)
    for name in IMPLEMENTATIONS:
        for ours, judge in zip(results(name, *arguments), expected, strict=True):
            assert ours.dtype == judge.dtype
            assert ours.shape == judge.shape
            if judge.numel():
                tolerance = 20 * DTYPES[dtype]
                largest = max(1.0, judge.abs().max().item())
                torch.testing.assert_close(ours, judge, rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("fusion", ["add", "scale", "both"])
@pytest.mark.parametrize("pooling", ["attention", "average"])
def test_gradcheck_and_gradgradcheck(name, fusion, pooling):
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    key = torch.randn(1, 4, dtype=torch.float64, requires_grad=True) if pooling == "attention" else None
    weights = transform(4, 3, torch.float64, activation="silu")
    plain = [t for t in weights if isinstance(t, torch.Tensor)]

    def call(x, *rest):
        rest = list(rest)
        k = rest.pop() if key is not None else None
        t = ops.Transform(*rest, activation="silu")
        return ops.global_context(
            x, k, scale=None if fusion == "add" else t, add=None if fusion == "scale" else t, centred=fusion == "both"
        )

    inputs = (x, *plain, *(() if key is None else (key,)))
    with ops.backend(name):
        assert torch.autograd.gradcheck(call, inputs)
        assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


@pytest.mark.parametrize("pooling", ["attention", "average"])
@pytest.mark.parametrize("wide", ["x", "key", "weights", "residual_free"])
def test_dtypes_may_differ(wide, pooling):
    """Everything is computed in the widest dtype; gradients have the dtypes of their tensors."""
    x = torch.randn(2, 6, 5, 3, dtype=torch.float64 if wide == "x" else torch.bfloat16, requires_grad=True)
    key = torch.randn(1, 6, dtype=torch.float64 if wide == "key" else torch.float32, requires_grad=True)
    weights = transform(6, 5, torch.float64 if wide == "weights" else torch.float16)
    residual = None if wide == "residual_free" else torch.randn_like(x, requires_grad=True)
    key = key if pooling == "attention" else None
    arguments = (x, key, None, weights, weights, "sigmoid", True, residual, False, torch.randn_like(x))
    expected = results("reference", *arguments)
    for name in IMPLEMENTATIONS:
        for ours, judge in zip(results(name, *arguments), expected, strict=True):
            assert ours.dtype == judge.dtype
            torch.testing.assert_close(ours, judge, rtol=0.02, atol=0.02 * judge.abs().max().item())


@pytest.mark.parametrize("name", ["eager", "native"])
@pytest.mark.parametrize("lay", [lambda k: k.repeat(1, 2)[:, :8], lambda k: k.repeat_interleave(2, 1)[:, ::2]])
def test_keys_of_any_layout(name, lay):
    x, key, weights = torch.randn(2, 8, 5, 5), torch.randn(1, 8), ops.Transform(torch.randn(8, 8))
    strided = lay(key).requires_grad_()
    with ops.backend(name):
        y = ops.global_context(x, strided, add=weights)
        torch.testing.assert_close(y, ops.global_context(x, key, add=weights))
        expanded = ops.global_context(x, torch.ones(1, 1).expand(1, 8), add=weights)
        torch.testing.assert_close(expanded, ops.global_context(x, torch.ones(1, 8), add=weights))
        (found,) = torch.autograd.grad(y.sum(), strided)
    with ops.backend("reference"):
        (judge,) = torch.autograd.grad(ops.global_context(x, strided, add=weights).sum(), strided)
    torch.testing.assert_close(found, judge, rtol=1e-3, atol=1e-3)


def test_tensors_without_memory_here_are_not_taken_for_none():
    x, key, weights = torch.randn(2, 8, 5, 5), torch.randn(1, 8), ops.Transform(torch.randn(8, 8))
    meta = {"device": "meta"}
    for arguments in (
        {"key_weight": torch.randn(1, 8, **meta), "add": weights},
        {"key_weight": key, "add": weights, "residual": torch.randn(2, 8, 5, 5, **meta)},
        {"key_weight": key, "add": ops.Transform(torch.randn(8, 8), torch.randn(8, **meta))},
        {"key_weight": key, "add": ops.Transform(torch.randn(8, 8, **meta))},
    ):
        with pytest.raises(ValueError, match="is on meta, x on cpu"):
            ops.global_context(x, **arguments)
    with pytest.raises(ValueError, match="hidden width of 0"):
        ops.squeeze_excite(x, torch.zeros(0, 8), None, torch.zeros(8, 0))
    with pytest.raises(TypeError, match="floating point"):
        ops.squeeze_excite(x, torch.zeros(2, 8), None, torch.zeros(8, 2, dtype=torch.complex64))
    reduce, expand = torch.randn(4, 8, requires_grad=True), torch.randn(8, 4)
    y = ops.squeeze_excite(x, reduce, None, expand)
    (gradient,) = torch.autograd.grad(y, reduce, torch._efficientzerotensor(2, 8, 5, 5))
    assert not gradient.any()


def test_softmax_is_shift_safe():
    x = 1e4 * torch.randn(2, 8, 50)
    for implementation in (composition.attention, reference.attention):
        weights = implementation(x, torch.ones(1, 8), None)
        assert weights.isfinite().all()
        torch.testing.assert_close(weights.sum(1), torch.ones(2))


@pytest.mark.parametrize("name", BACKENDS)
def test_twins(name):
    x, key, value = torch.randn(2, 6, 5), torch.randn(1, 6), torch.randn(6, 6)
    with ops.backend(name):
        alpha = ops.attention_map(x, key)
        expected = x + torch.einsum("dc,nc->nd", value, torch.einsum("np,ncp->nc", alpha, x))[..., None]
        torch.testing.assert_close(ops.simplified_non_local(x, key, None, value), expected)
        reduce, expand = torch.randn(3, 6), torch.randn(6, 3)
        expected = x * torch.sigmoid(torch.relu(x.mean(2) @ reduce.T) @ expand.T)[..., None]
        torch.testing.assert_close(ops.squeeze_excite(x, reduce, None, expand), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", BACKENDS)
def test_twins_end_a_residual_block(name, dtype):
    """Shortcut and ReLU in the same pass give what they give afterwards, bit for bit."""
    x, shortcut = torch.randn(2, 6, 5, 3).to(dtype), torch.randn(2, 6, 5, 3).to(dtype)
    snl = (x, torch.randn(1, 6), None, torch.randn(6, 6))
    se = (x, torch.randn(3, 6), None, torch.randn(6, 3))
    with ops.backend(name):
        for op, arguments in ((ops.simplified_non_local, snl), (ops.squeeze_excite, se)):
            added = op(*arguments) + shortcut
            assert torch.equal(op(*arguments, residual=shortcut), added)
            assert torch.equal(op(*arguments, residual=shortcut, relu=True), torch.relu(added))
            assert torch.equal(op(*arguments, relu=True), torch.relu(op(*arguments)))


@pytest.mark.parametrize(
    "shortcut",
    [torch.randn(2, 6, 5).double(), torch.randn(2, 6, 5).bfloat16(), torch.randn(6, 1), torch.randn(2, 1, 5)],
    ids=["wider", "narrower", "vector", "map"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", BACKENDS)
def test_residuals_are_added_as_in_place(name, dtype, shortcut):
    x, key, weights = torch.randn(2, 6, 5).to(dtype), torch.randn(1, 6), transform(6, 3, torch.float32)
    with ops.backend(name):
        expected = ops.global_context(x, key, add=weights).detach()
        expected += shortcut
        y = ops.global_context(x, key, add=weights, residual=shortcut, relu=True)
    assert torch.equal(y, torch.relu(expected))
    assert y.dtype == dtype


def test_vmap():
    x, key, value = torch.randn(4, 2, 6, 5), torch.randn(1, 6), torch.randn(6, 6)
    mapped = torch.vmap(lambda x: ops.simplified_non_local(x, key, None, value))(x)
    torch.testing.assert_close(mapped, torch.stack([ops.simplified_non_local(part, key, None, value) for part in x]))


def test_millions_of_positions():
    x = torch.randn(1, 2, 1500, 1500)
    y = ops.simplified_non_local(x, torch.zeros(1, 2), None, torch.eye(2))
    expected = x + x.double().mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(y, expected.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((torch.zeros(2, 4, 3), None), {}, "scale=, add= or both"),
        ((torch.zeros(2, 4, 3), None), {"add": ops.Transform(torch.zeros(4, 4)), "gate": "tanh"}, "hard_sigmoid"),
        ((torch.zeros(2, 4), None), {"add": ops.Transform(torch.zeros(4, 4))}, "spatial"),
        ((torch.zeros(2, 4, 3), torch.zeros(1, 5)), {"add": ops.Transform(torch.zeros(4, 4))}, r"key_weight.*\[1, 4\]"),
        ((torch.zeros(2, 4, 3), None), {"add": ops.Transform(torch.zeros(5, 4))}, "4 channels"),
        ((torch.zeros(2, 4, 3), None), {"add": ops.Transform(torch.zeros(4, 4), activation="gelu")}, "silu"),
        (
            (torch.zeros(2, 4, 3), None),
            {"add": ops.Transform(torch.zeros(4, 4)), "residual": torch.zeros(2, 4, 2)},
            r"residual: expected \[2, 4, 3\] as x, got \[2, 4, 2\]",
        ),
        (
            (torch.zeros(1, 4, 3), None),
            {"add": ops.Transform(torch.zeros(4, 4)), "residual": torch.zeros(2, 4, 3)},
            r"residual: expected \[1, 4, 3\]",
        ),
    ],
)
def test_wrong_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ops.global_context(*arguments, **options)


def test_unknown_backend():
    with pytest.raises(ValueError, match="eager"), ops.backend("cuda"):
        pass


def test_backend_is_restored_and_logged(caplog):
    x, key = torch.zeros(1, 2, 3), torch.zeros(1, 2)
    with caplog.at_level("DEBUG", logger="gcnet"):
        with ops.backend("reference"):
            ops.attention_map(x, key)
        ops.attention_map(x, key)
    assert [record.getMessage() for record in caplog.records] == ["attention_map: reference", "attention_map: eager"]


def test_huge_features_give_no_nan():
    x = 1e20 * torch.randn(2, 8, 4, 4)
    weights = transform(8, 3, torch.float32)
    for name in BACKENDS:
        with ops.backend(name):
            assert ops.global_context(x, torch.zeros(1, 8), add=weights).isfinite().all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"key_bias": torch.zeros(3)}, ValueError, r"key_bias: expected \[1\]"),
        ({"add": torch.zeros(4, 4)}, TypeError, "Transform, got Tensor"),
        ({"add": ops.Transform(torch.zeros(4, 4), activation="relu")}, ValueError, "needs reduce_weight"),
        ({"add": ops.Transform(torch.zeros(4, 4), torch.zeros(1))}, ValueError, r"add.expand_bias: expected \[4\]"),
        (
            {"add": ops.Transform(torch.zeros(4, 3), None, torch.zeros(2, 4))},
            ValueError,
            r"expand_weight: expected \[4, 2\]",
        ),
        (
            {"add": ops.Transform(torch.zeros(4, 2), None, torch.zeros(2, 4), None, None, torch.zeros(2))},
            ValueError,
            "norm_bias needs norm_weight",
        ),
    ],
)
def test_weights_that_would_be_ignored_or_broadcast(options, error, message):
    options = {"add": ops.Transform(torch.zeros(4, 4)), **options}
    with pytest.raises(error, match=message):
        ops.global_context(torch.zeros(2, 4, 3), torch.zeros(1, 4), **options)
    with pytest.raises(TypeError, match="NoneType"):
        ops.attention_map(None, torch.zeros(1, 4))


def test_backends_may_be_left_in_another_order():
    first, second = ops.backend("reference"), ops.backend("reference")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert sys.modules["gcnet.ops.backend"]._forced is None


def test_unknown_backend_in_the_environment():
    command = [sys.executable, "-c", "import gcnet"]
    done = subprocess.run(command, env={**os.environ, "GCNET_BACKEND": "refrence"}, capture_output=True, text=True)
    assert "GCNET_BACKEND='refrence'" in done.stderr
