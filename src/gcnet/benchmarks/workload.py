"""What a case runs: our block or network, its inputs, and one call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gcnet.benchmarks.cases import FORWARD, TRAINING, Case
from gcnet.blocks import GlobalContext, NonLocal, SqueezeExcite
from gcnet.insertion import insert
from gcnet.insertion.attach import added_blocks

_BLOCKS = {"global_context": GlobalContext, "squeeze_excite": SqueezeExcite, "non_local": NonLocal}
_MEMORY_FORMAT = {4: torch.channels_last, 5: torch.channels_last_3d}


class Inputs(NamedTuple):
    """Input [N, C, *spatial] and the gradient of the output."""

    x: Tensor
    upstream: Tensor


def build(case: Case, device: str) -> nn.Module:
    """Our block or network with weights that are the same in every run, none of them zero."""
    with _seeded(0):
        if case.op == "network":
            module = _network(case)
            blocks = [block for _, _, _, block in added_blocks(module)]
        else:
            module = _BLOCKS[case.op](case.shape[1], **case.options)
            blocks = [module]
        for block in blocks:
            _randomise(block)
    module.train(case.mode == TRAINING).to(device, case.dtype)
    if case.layout == "channels_last" and case.op == "network":
        module.to(memory_format=torch.channels_last)
    return module


def inputs(case: Case, device: str, copies: int = 1) -> list[Inputs]:
    """``copies`` of different inputs of one case, the same in every run."""
    with _seeded(1):
        return [_input(case, device) for _ in range(copies)]


def call(module: nn.Module, case: Case, given: Inputs) -> tuple[Tensor, ...]:
    """One call: the output; in training also the gradients of the input, but for networks, and of the parameters.

    Gradients are returned and dropped, not accumulated. No optimiser steps.
    """
    if case.mode == FORWARD:
        with torch.no_grad():
            return (module(given.x),)
    y = module(given.x)
    leaves = [*([given.x] if given.x.requires_grad else []), *module.parameters()]
    return (y.detach(), *torch.autograd.grad(y, leaves, given.upstream))


def result_names(module: nn.Module, case: Case) -> list[str]:
    """What :func:`call` returns, by name."""
    if case.mode == FORWARD:
        return ["output"]
    of_input = [] if case.op == "network" else ["input"]
    return ["output", *of_input, *(name for name, _ in module.named_parameters())]


def _network(case: Case) -> nn.Module:
    from torchvision.models.resnet import Bottleneck, ResNet

    model = ResNet(Bottleneck, list(case.depths))
    insert(model, GlobalContext.spec(**case.options), stages=("c3", "c4", "c5"), position="after_1x1")
    return model


def _input(case: Case, device: str) -> Inputs:
    x = torch.randn(case.shape)
    upstream = torch.randn(case.shape[0], 1000) if case.op == "network" else torch.randn(case.shape)
    moved = []
    for tensor in (x, upstream):
        tensor = tensor.to(device, case.dtype)
        if case.layout == "channels_last" and tensor.dim() in _MEMORY_FORMAT:
            tensor = tensor.contiguous(memory_format=_MEMORY_FORMAT[tensor.dim()])
        moved.append(tensor)
    moved[0].requires_grad_(case.mode == TRAINING and case.op != "network")
    return Inputs(*moved)


@torch.no_grad()
def _randomise(block: nn.Module) -> None:
    """Projections that keep the scale of their input, norms and biases near their start."""
    for name, parameter in block.named_parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=parameter[0].numel() ** -0.5)
        else:
            parameter.normal_(mean=float(name.endswith("norm.weight")), std=0.1)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
