"""The Triton kernels on a GPU; `make bench-gpu` runs these first. No machine of ours has one: they skip elsewhere."""

import pytest
import torch

import gcnet
from gcnet import ops
from gcnet.ops.context import implementations

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or implementations.triton_passes() is None, reason="needs a CUDA GPU and triton"
)

#: Rounding of the result in the dtype of the map; sums over positions are float32.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}
SHAPES = [(2, 256, 56, 56), (3, 512, 28, 28), (2, 1024, 14, 14), (2, 2048, 7, 7), (1, 33, 1, 1), (2, 48, 4, 9, 7)]


def block(channels, fusion=("add",), **options):
    made = gcnet.GlobalContext(channels, hidden=max(4, channels // 16), fusion=fusion, device="cuda", **options)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=channels**-0.5)
    return made


def results(module, x, g):
    x = x.detach().requires_grad_()
    y = module(x)
    return [y, *torch.autograd.grad(y, [x, *module.parameters()], g)]


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("fusion", [("add",), ("scale",), ("add", "scale")], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_parity_on_cuda(shape, fusion, dtype, last):
    module = block(shape[1], fusion)
    x, g = (torch.randn(shape, device="cuda").to(dtype) for _ in range(2))
    if last:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    with ops.backend("triton"):
        ours = results(module, x, g)
    assert ours[0].stride() == x.stride()
    with ops.backend("reference"):
        judge = results(module.double(), x.double(), g.double())
    whole = judge[1].norm()
    for a, b in zip(ours, judge, strict=True):
        assert (a.double() - b).norm() <= TOLERANCE[dtype] * b.norm() + 1e-5 * whole


def test_bitwise_equal_from_run_to_run_on_cuda():
    module, x = block(512), torch.randn(8, 512, 28, 28, device="cuda")
    first = results(module, x, x)
    for _ in range(20):
        assert all(torch.equal(a, b) for a, b in zip(results(module, x, x), first, strict=True))


def test_cuda_graphs_and_streams_on_cuda():
    module, x = block(256), torch.randn(4, 256, 56, 56, device="cuda")
    with torch.no_grad():
        expected = module(x)
        streams = [torch.cuda.Stream() for _ in range(3)]
        outputs = []
        torch.cuda.synchronize()
        for stream in streams:
            with torch.cuda.stream(stream):
                outputs.append(module(x))
        torch.cuda.synchronize()
        assert all(torch.equal(y, expected) for y in outputs)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = module(x)
        x.mul_(2)
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(y, module(x))


def test_one_launch_equals_three_on_cuda(monkeypatch):
    from gcnet.ops.context.triton import ticket

    module, x = block(256), torch.randn(64, 256, 56, 56, device="cuda", dtype=torch.bfloat16)
    with torch.no_grad():
        expected = module(x)
        monkeypatch.setattr(ticket, "ENABLED", True)
        for _ in range(200):
            torch.testing.assert_close(module(x), expected, rtol=2**-7, atol=2**-7)
