"""The precision policy of every op: at least float32 inside, the input's dtype outside, autocast or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def working_dtype(x: Tensor, *others: Tensor | None) -> torch.dtype:
    """The widest dtype among the tensors, and at least float32.

    Raises:
        TypeError: ``x`` is not a floating-point tensor.
    """
    if not x.is_floating_point():
        raise TypeError(f"expected a floating-point input, got {x.dtype}; convert it first, for example with x.float()")
    dtype = torch.promote_types(x.dtype, torch.float32)
    for other in others:
        if other is not None:
            dtype = torch.promote_types(dtype, other.dtype)
    return dtype


@contextmanager
def full_precision(x: Tensor) -> Iterator[None]:
    """Suspend autocast on the device of ``x``: inside, dtypes are what the op says they are."""
    if not x.is_meta and torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):
            yield
    else:
        yield


def saturate(x: Tensor, like: Tensor | None = None) -> Tensor:
    """``x`` in the dtype of ``like``; what float16 cannot hold becomes its largest value instead of inf.

    A normalisation turns inf into NaN.
    """
    dtype = x.dtype if like is None else like.dtype
    if dtype == torch.float16:
        limit = torch.finfo(dtype).max
        x = x.clamp(-limit, limit)
    return x.to(dtype)


def range_divisor(hidden: Tensor) -> Tensor:
    """What to divide ``hidden`` [N, width] by before a LayerNorm so that its variance is finite: [N, 1].

    Exactly 1 up to magnitudes of 1e15; rows beyond are scaled down to that, where the epsilon is nothing.
    """
    return (hidden.detach().abs().amax(dim=1, keepdim=True) / 1e15).clamp(min=1)


def within_range(hidden: Tensor) -> Tensor:
    """``hidden`` [N, width] for a LayerNorm, which does not see the scale of rows that are scaled down."""
    return hidden / range_divisor(hidden)
