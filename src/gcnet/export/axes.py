"""Which axes of a program's input are free, from where on, and inputs to try it on."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

DYNAMIC = ("batch", "size")
#: Least heights that are tried, one after the other: a block alone takes 1, sub-sampling 4, strides of 32 and 64 more.
_LEAST = (1, 4, 33, 65, 129)
_SPATIAL = {1: ("length",), 2: ("height", "width"), 3: ("frames", "height", "width")}


class Traced(NamedTuple):
    """A program, names of its free axes by number, and the least of its free sizes."""

    program: ExportedProgram
    axes: dict[int, str]
    least: int


def trace(model: nn.Module, example: Tensor, dynamic: tuple[str, ...], min_size: int | None) -> Traced:
    """``torch.export`` with these axes free, from the least size that the model can have on.

    Raises:
        ValueError: the axes cannot be free; what torch says about it.
    """
    names = ("batch", "channels", *_SPATIAL[example.dim() - 2])
    free = [0] * ("batch" in dynamic) + [*range(2, example.dim())] * ("size" in dynamic)
    axes = {axis: names[axis] for axis in free}
    tried = example.new_empty([max(size, 2) if axis in axes else size for axis, size in enumerate(example.shape)])
    tried.normal_()
    candidates = (1,) if "size" not in dynamic else _LEAST if min_size is None else (min_size,)
    smallest = min(example.shape[2:], default=1)
    refusal: Exception | None = None
    for least in candidates:
        if least > smallest:
            break
        shape = {axis: Dim(name, min=1 if axis == 0 else least) for axis, name in axes.items()}
        try:
            with torch.no_grad():
                return Traced(torch.export.export(model, (tried,), dynamic_shapes=(shape,)), axes, least)
        except torch._dynamo.exc.UserError as error:
            refusal = error
    reason = "the example is smaller than that" if refusal is None else "\n".join(str(refusal).splitlines()[:3])
    raise ValueError(
        f"dynamic={dynamic}: no free size from {candidates[-1]} or less on with the example {tuple(example.shape)}; "
        f"give a larger example or min_size, or fix the size. torch says: {reason}"
    )


def trials(example: Tensor, traced: Traced) -> list[Tensor]:
    """Random inputs: the example's shape; one more of everything, so that even sizes turn odd; the least of all."""
    shapes = [tuple(example.shape)]
    if traced.axes:
        shapes.append(
            tuple(size + axis + 1 if axis in traced.axes else size for axis, size in enumerate(example.shape))
        )
        shapes.append(
            tuple(
                (1 if axis == 0 else traced.least) if axis in traced.axes else size
                for axis, size in enumerate(example.shape)
            )
        )
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in dict.fromkeys(shapes)]


def foreign_operators(program: ExportedProgram) -> list[str]:
    """Operators of a program that plain PyTorch does not have, such as ``torchvision::nms``."""
    found: dict[str, Any] = {}
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace not in ("aten", "prims"):
                found[node.target.name()] = node
    return sorted(found)


def has_one_input(model: nn.Module, example: object) -> Tensor:
    """The example, if it is [N, C, *spatial] in floating point."""
    if not isinstance(example, Tensor) or not example.is_floating_point() or example.dim() - 2 not in _SPATIAL:
        shape = tuple(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise ValueError(
            f"example must be a floating-point tensor [N, C, *spatial] with 1 to 3 spatial axes, got {shape}"
        )
    if operator.contains(example.shape, 0):
        raise ValueError(f"example {tuple(example.shape)} is empty")
    return example
