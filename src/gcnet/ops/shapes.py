"""Checks of the shapes that ops are given."""

from __future__ import annotations

from typing import Any

from torch import Tensor


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
