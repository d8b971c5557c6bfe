"""Which axes of a program's input are free, from where on, and inputs to try it on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

DYNAMIC = ("batch", "size")
#: Least heights that are tried, one after the other: a block alone takes 1, sub-sampling 4, strides of 32 and 64 more.
_LEAST = (1, 4, 33, 65, 129)
_SPATIAL = {1: ("length",), 2: ("height", "width"), 3: ("frames", "height", "width")}


class Traced(NamedTuple):
    """A program, and by number the names of its free axes and the least that each can be."""

    program: ExportedProgram
    axes: dict[int, str]
    least: dict[int, int]


def trace(model: nn.Module, example: Tensor, dynamic: tuple[str, ...], min_size: int | None) -> Traced:
    """``torch.export`` with these axes free, from the least size that the model can have on.

    No axis has to be longer than the example's: clips have fewer frames than pixels.

    Raises:
        ValueError: the axes cannot be free; what torch says about it.
    """
    names = ("batch", "channels", *_SPATIAL[example.dim() - 2])
    free = [0] * ("batch" in dynamic) + [*range(2, example.dim())] * ("size" in dynamic)
    axes = {axis: names[axis] for axis in free}
    tried = example.new_empty([max(size, 2) if axis in axes else size for axis, size in enumerate(example.shape)])
    tried.normal_()
    candidates = [size for size in _LEAST if size <= max(example.shape[2:])] if min_size is None else [min_size]
    reasons: list[str] = []
    for candidate in candidates if "size" in dynamic else [1]:
        least = {axis: min(candidate, example.shape[axis]) if axis else 1 for axis in axes}
        shape = {axis: Dim(name, min=least[axis]) for axis, name in axes.items()}
        try:
            with torch.no_grad():
                return Traced(torch.export.export(model, (tried,), dynamic_shapes=(shape,)), axes, least)
        except torch._dynamo.exc.UserError as error:
            reasons = [line.strip(" -") for line in str(error).splitlines() if line.startswith("  - ")] or [str(error)]
    raise ValueError(
        f"dynamic={dynamic}: these axes of the example {tuple(example.shape)} cannot be free, with sizes from "
        f"{', '.join(map(str, candidates))} on tried; give a larger example, or fix the size. torch says: {reasons[0]}"
    )


def trials(example: Tensor, traced: Traced) -> list[Tensor]:
    """Random inputs: the example's shape; longer by odd numbers, so that even sizes turn odd; the least of all."""
    shape = tuple(example.shape)
    longer = tuple(size + max(1, 2 * axis - 3) if axis in traced.axes else size for axis, size in enumerate(shape))
    least = tuple(traced.least.get(axis, size) for axis, size in enumerate(shape))
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator) for size in dict.fromkeys((shape, longer, least))]


def foreign_operators(program: ExportedProgram) -> list[str]:
    """Operators of a program that plain PyTorch does not have, such as ``torchvision::nms``."""
    targets = {
        node.target
        for module in program.graph_module.modules()
        for node in getattr(getattr(module, "graph", None), "nodes", ())
        if isinstance(node.target, torch._ops.OpOverload)
    }
    return sorted(target.name() for target in targets if target.namespace not in ("aten", "prims"))


def checked_example(example: object, dynamic: tuple[str, ...], min_size: int | None) -> Tensor:
    """The example in float32 on the CPU, if it is [N, C, *spatial] in floating point and not below ``min_size``."""
    if not isinstance(example, Tensor) or not example.is_floating_point() or example.dim() - 2 not in _SPATIAL:
        shape = tuple(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise ValueError(
            f"example must be a floating-point tensor [N, C, *spatial] with 1 to 3 spatial axes, got {shape}"
        )
    if 0 in example.shape:
        raise ValueError(f"example {tuple(example.shape)} is empty")
    if min_size is not None:
        if "size" not in dynamic:
            raise ValueError(f"min_size={min_size} goes with a free size, not with dynamic={dynamic}")
        if not 1 <= min_size <= min(example.shape[2:][-2:]):
            raise ValueError(
                f"min_size={min_size} must be positive and at most the height and width of the example "
                f"{tuple(example.shape)}; give a larger example"
            )
    return example.detach().cpu().float()
