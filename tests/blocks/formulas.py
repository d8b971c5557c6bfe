"""Blocks with spatial kernels against formulas written out once more, in float64: output and all gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.judges.parity import randomise

each_dims = pytest.mark.parametrize("dims", [1, 2, 3])
each_form = pytest.mark.parametrize("form", ["paper", "code"])
each_mode = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])

#: x, state dict by name, training -> y
Formula = Callable[[Tensor, dict[str, Tensor], bool], Tensor]


def features(dims: int, channels: int, *, batch: int = 3, small: bool = False) -> Tensor:
    spatial = {1: (3,), 2: (2, 3), 3: (2, 1, 2)} if small else {1: (13,), 2: (6, 5), 3: (4, 3, 5)}
    return torch.randn(batch, channels, *spatial[dims], dtype=torch.float64)


def everywhere(v: Tensor, x: Tensor) -> Tensor:
    """[N, C] at every position of ``x``."""
    return v.reshape(*v.shape, *[1] * (x.dim() - 2)).expand(*v.shape, *x.shape[2:])


def mlp(v: Tensor, w: dict[str, Tensor], name: str, training: bool = False) -> Tensor:
    hidden = v @ w[f"{name}.reduce.weight"].T + w.get(f"{name}.reduce.bias", 0)
    if f"{name}.norm.weight" in w:
        hidden = batch_norm(hidden, w, f"{name}.norm", training)
    return hidden.relu() @ w[f"{name}.expand.weight"].T + w.get(f"{name}.expand.bias", 0)


def conv(x: Tensor, w: dict[str, Tensor], name: str, dilation: int = 1, groups: int = 1) -> Tensor:
    weight = w[f"{name}.weight"]
    function = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.dim()]
    reach = dilation * (weight.shape[-1] // 2)
    padded = F.pad(x, [reach, reach] * (x.dim() - 2))
    return function(padded, weight, w.get(f"{name}.bias"), dilation=dilation, groups=groups)


def batch_norm(x: Tensor, w: dict[str, Tensor], name: str, training: bool) -> Tensor:
    axes = [axis for axis in range(x.dim()) if axis != 1]
    mean, var = x.mean(axes), x.var(axes, unbiased=False)
    if not training:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    shape = [1, -1] + [1] * (x.dim() - 2)
    normalised = (x - mean.reshape(shape)) / (var.reshape(shape) + 1e-5).sqrt()
    return normalised * w[f"{name}.weight"].reshape(shape) + w[f"{name}.bias"].reshape(shape)


def assert_same_as_formula(block: nn.Module, formula: Formula, x: Tensor, training: bool) -> None:
    randomise(block)
    block.double().train(training)
    # clones: training moves the running statistics
    state = {name: value.detach().clone() for name, value in block.state_dict().items()}
    parameters = {name: state[name].requires_grad_() for name, _ in block.named_parameters()}
    g = torch.randn_like(x)
    x, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = block(x), formula(twin, state, training)
    y.backward(g)
    expected.backward(g)
    assert_close("output", y, expected)
    assert_close("input", x.grad, twin.grad)
    for name, p in block.named_parameters():
        assert_close(name, p.grad, parameters[name].grad, absolute=1e-12 * float(g.norm()))


def assert_close(name: str, value: Tensor, expected: Tensor, absolute: float = 0.0) -> None:
    assert (value - expected).norm() <= max(1e-12 * expected.norm(), absolute), name


def assert_gradients(block: nn.Module, x: Tensor) -> None:
    """First and second derivatives, of everything, by finite differences."""
    randomise(block)
    block.double()
    parameters = dict(block.named_parameters())

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(block, dict(zip(parameters, values, strict=True)), (x,))

    inputs = (x.requires_grad_(), *(p.detach().clone().requires_grad_() for p in parameters.values()))
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


def gradient_history(block: nn.Module, x: Tensor, steps: int = 3) -> list[set[str]]:
    """Names of the parameters with a non-zero gradient, step by step; a missing gradient fails."""
    optimizer = torch.optim.SGD(block.parameters(), lr=1.0)
    target, history = torch.randn_like(x), []
    for _ in range(steps):
        optimizer.zero_grad()
        (block(x) * target).mean().backward()
        assert all(p.grad is not None for p in block.parameters())
        history.append({name for name, p in block.named_parameters() if p.grad.count_nonzero()})
        optimizer.step()
    return history


def parameter_total(block_counts: list[tuple[nn.Module, int]], host: int = 25_557_032) -> int:
    """Parameters of a host, ResNet-50 by default, with so many of each block."""
    return host + sum(count * sum(p.numel() for p in block.parameters()) for block, count in block_counts)
