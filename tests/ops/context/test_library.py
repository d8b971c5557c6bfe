"""The operator of PyTorch: its rules for every transform, and what runs under transforms that look inside."""

import itertools

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.library import opcheck
from torch.utils.flop_counter import FlopCounterMode

import gcnet
from gcnet import ops
from gcnet.ops.context import library, native
from gcnet.ops.context.fused import flatten
from gcnet.ops.context.passes import Options
from tests.ops.context.test_context import transform

operator = torch.ops.gcnet.global_context


def arguments(x, *, attention=True, fusion="add", epilogue=False):
    """As the operator takes them."""
    channels = x.shape[1]
    scale = transform(channels, 5, torch.float32, activation="silu") if fusion != "add" else None
    add = transform(channels, None if fusion == "both" else 5, torch.float32) if fusion != "scale" else None
    key = torch.randn(1, channels, requires_grad=True) if attention else None
    bias = torch.randn(1, requires_grad=True) if attention else None
    options = Options(
        None if scale is None else scale[6:], None if add is None else add[6:], "sigmoid", fusion == "both", epilogue
    )
    residual = torch.randn_like(x, requires_grad=True) if epilogue else None
    return x, key, bias, residual, *library.pack(flatten(scale, add), options)


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("fusion", ["add", "scale", "both"])
def test_opcheck(fusion, last):
    for attention, epilogue in itertools.product([True, False], [True, False]):
        x = torch.randn(2, 16, 7, 5)
        x = x.to(memory_format=torch.channels_last) if last else x
        x.requires_grad_()
        opcheck(operator.default, arguments(x, attention=attention, fusion=fusion, epilogue=epilogue))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("fusion", ["add", ("add", "scale")], ids=str)
def test_compile_fullgraph(fusion, dynamic):
    torch._dynamo.reset()
    block = gcnet.GlobalContext(16, 1 / 4, fusion=fusion)
    torch.nn.init.normal_(block.add.expand.weight)
    compiled = torch.compile(block, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for shape in [(2, 16, 7, 5), (3, 16, 9, 9)]:
        x, g = torch.randn(shape, requires_grad=True), torch.randn(shape)
        inputs = [x, *block.parameters()]
        y, expected = compiled(x), block(x)
        torch.testing.assert_close(y, expected)
        ours, judge = (torch.autograd.grad(out, inputs, g) for out in (y, expected))
        torch.testing.assert_close(ours, judge, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not native.is_installed(), reason="gcnet was installed without a C++ compiler")
def test_compiled_code_calls_the_operator():
    torch._dynamo.reset()
    seen = []

    def look(graph, example):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    torch.compile(gcnet.GlobalContext(16, 1 / 4), fullgraph=True, backend=look)(torch.randn(2, 16, 5, 5))
    assert any("gcnet.global_context" in target for target in seen)


def test_export_sees_aten_calls():
    program = torch.export.export(gcnet.GlobalContext(16, 1 / 4).eval(), (torch.randn(2, 16, 5, 5),))
    assert all("gcnet" not in str(node.target) for node in program.graph.nodes)


def test_the_operator_itself_can_be_exported():
    key, bias, _, tensors, *options = arguments(torch.randn(2, 16, 7, 5))[1:]
    rest = key.detach(), bias.detach(), None, [t.detach() for t in tensors], *options

    class Module(torch.nn.Module):
        def forward(self, x):
            return operator(x, *rest)[0]

    x = torch.randn(2, 16, 7, 5)
    program = torch.export.export(Module(), (x,), dynamic_shapes={"x": {0: torch.export.Dim("n", min=1)}})
    assert any("gcnet.global_context" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(x[:1]), operator(x[:1], *rest)[0])


def test_fake_tensors():
    block = gcnet.GlobalContext(16, 1 / 4)
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(2, 16, 5, 5, requires_grad=True)
        y = block(x)
        (dx,) = torch.autograd.grad(y.sum(), x)
    assert y.shape == dx.shape == (2, 16, 5, 5)


def test_a_fake_tensor_outside_its_mode():
    block = gcnet.GlobalContext(16, 1 / 4)
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(2, 16, 5, 5)
    assert block(x).shape == (2, 16, 5, 5)


def test_flops_are_those_of_the_composition():
    block, x = gcnet.GlobalContext(16, 1 / 4, fusion=("add", "scale")), torch.randn(2, 16, 7, 5, requires_grad=True)
    counts = []
    for name in ("native", "eager"):
        if name == "native" and not native.is_installed():
            pytest.skip("gcnet was installed without a C++ compiler")
        with ops.backend(name):
            for run in (lambda: block(x), lambda: block(x).sum().backward()):
                with FlopCounterMode(display=False) as counter:
                    run()
                counts.append(counter.get_total_flops())
    assert counts[:2] == counts[2:]
    assert counts[0] > 0


def test_vmap_of_the_operator():
    maps = torch.randn(4, 2, 16, 5, 5)
    key, *rest = arguments(maps[0])[1:]
    with torch.no_grad():
        mapped = torch.vmap(lambda x: operator(x, key, *rest)[0])(maps)
        torch.testing.assert_close(mapped, torch.stack([operator(x, key, *rest)[0] for x in maps]))
        keys = torch.randn(4, 1, 16)
        mapped = torch.vmap(lambda x, key: operator(x, key, *rest)[0], in_dims=(0, 0))(maps, keys)
        expected = torch.stack([operator(x, key, *rest)[0] for x, key in zip(maps, keys, strict=True)])
        torch.testing.assert_close(mapped, expected)


@pytest.mark.parametrize("epilogue", [False, True])
def test_double_backward_of_the_operator_is_that_of_the_composition(epilogue):
    x, *rest = arguments(torch.randn(2, 6, 5, 5, requires_grad=True), fusion="both", epilogue=epilogue)
    (dx,) = torch.autograd.grad(operator(x, *rest)[0].square().sum(), x, create_graph=True)
    (ours,) = torch.autograd.grad(dx.square().sum(), x)
    tensors, options = library._unpack(rest[3:])
    key, bias, residual = rest[:3]
    scale, add = (ops.Transform(*tensors[:6], *options.scale), ops.Transform(*tensors[6:], *options.add))
    with ops.backend("reference"):
        y = ops.global_context(x, key, bias, scale=scale, add=add, centred=True, residual=residual, relu=epilogue)
        (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        (judge,) = torch.autograd.grad(dx.square().sum(), x)
    assert (ours - judge).norm() <= 1e-4 * judge.norm()


def test_the_gradient_alone_cannot_be_differentiated():
    x, *rest = arguments(torch.randn(2, 6, 5, 5, requires_grad=True))
    y, context, weights = operator(x, *rest)
    key, packed = rest[0], rest[3:]
    found = torch.ops.gcnet.global_context_backward(y, x, None, key, context, weights, *packed)
    with pytest.raises(RuntimeError, match="create_graph=True"):
        found[0].sum().backward()


def test_functorch_and_forward_mode():
    block, x = gcnet.GlobalContext(8, 1 / 2), torch.randn(2, 8, 3, 3)
    torch.nn.init.normal_(block.add.expand.weight)
    parameters = dict(block.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(block, parameters, (x,)).square().sum()

    gradients = torch.func.grad(loss)(parameters, x)
    loss(parameters, x).backward()
    for name, p in parameters.items():
        torch.testing.assert_close(gradients[name], p.grad, rtol=1e-4, atol=1e-4)
    per_sample = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x.unsqueeze(1))
    for name, p in parameters.items():
        torch.testing.assert_close(per_sample[name].sum(0), p.grad, rtol=1e-4, atol=1e-4)
    tangent = torch.randn_like(x)
    _, forward = torch.func.jvp(block, (x,), (tangent,))
    jacobian = torch.func.jacrev(block)(x)
    torch.testing.assert_close(forward, torch.einsum("abcdefgh,efgh->abcd", jacobian, tangent), rtol=1e-4, atol=1e-4)


def test_several_gradients_at_once():
    block, x = gcnet.GlobalContext(8, 1 / 2), torch.randn(2, 8, 3, 3, requires_grad=True)
    y, several = block(x), torch.randn(3, 2, 8, 3, 3)
    (batched,) = torch.autograd.grad(y, x, several, is_grads_batched=True, retain_graph=True)
    for gradient, g in zip(batched, several, strict=True):
        torch.testing.assert_close(gradient, torch.autograd.grad(y, x, g, retain_graph=True)[0])


def test_one_tensor_given_twice_gets_both_gradients():
    x, key = torch.randn(2, 4, 3, 3, requires_grad=True), torch.randn(1, 4)
    weight = torch.randn(4, 4)
    for name in ("eager", "native"):
        if name == "native" and not native.is_installed():
            continue
        with ops.backend(name):
            y = ops.global_context(x, key, add=ops.Transform(weight), residual=x)
        (plain,) = torch.autograd.grad(y.square().sum(), x, retain_graph=True)
        (graphed,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        torch.testing.assert_close(plain, graphed, rtol=1e-4, atol=1e-4)


def test_autocast_changes_nothing():
    x, *rest = arguments(torch.randn(2, 16, 5, 5, requires_grad=True), fusion="both")
    expected = operator(x, *rest)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = operator(x, *rest)[0]
    assert torch.equal(y, expected)
