"""Shapes: checks of what ops are given, and decisions on sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor


def check_features(x: Any) -> None:
    """Raise unless ``x`` is a tensor [N, C, *spatial] with at least one spatial axis."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x: expected a tensor [N, C, *spatial], got {type(x).__name__}")
    if x.dim() < 3:
        raise ValueError(f"x: expected [N, C, *spatial] with at least one spatial axis, got shape {tuple(x.shape)}")


def check_shape(name: str, weight: Tensor, shape: tuple[int, ...], x: Tensor) -> None:
    """Raise ValueError unless ``weight`` has ``shape``, which follows from the channels of ``x``."""
    if tuple(weight.shape) != shape:
        raise ValueError(
            f"{name}: expected {list(shape)} for x {list(x.shape)}, which has {x.shape[1]} channels, got "
            f"{list(weight.shape)}"
        )


def has_data(tensor: Tensor) -> bool:
    """Whether there are values in memory: not on the meta device, nor in a fake tensor that only tells shapes."""
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))


def surely(condition: Any) -> bool:
    """Whether a condition on sizes holds; in compiled and exported code, whether it holds for all sizes.

    A dynamic size is not asked, so that no guard on it ends up in the graph.
    """
    if not torch.compiler.is_compiling():
        return bool(condition)
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # slow to import

    return statically_known_true(condition)
