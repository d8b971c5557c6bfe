"""What ``FlopCounterMode`` counts for the operator: the matrix products that the composition of ATen calls has."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any

import torch

Shape = Sequence[int]


@functools.cache
def register_flop_formulas() -> None:
    """Register the formulas. Called when a block is built: importing the counter is slow."""
    from torch.utils.flop_counter import register_flop_formula

    register_flop_formula(torch.ops.gcnet.global_context)(_forward)
    register_flop_formula(torch.ops.gcnet.global_context_backward)(_backward)


def _forward(
    x: Shape,
    key: Shape | None,
    key_bias: Shape | None,
    residual: Shape | None,
    tensors: Sequence[Shape],
    *_: Any,
    **__: Any,
) -> int:
    pooling = 0 if key is None else 4 * prod(x)  # logits, context
    return pooling + _mixing(x, tensors)


def _backward(
    g: Shape,
    x: Shape,
    y: Shape | None,
    key: Shape | None,
    context: Shape,
    weights: Shape,
    tensors: Sequence[Shape],
    *_: Any,
    **__: Any,
) -> int:
    pooling = 0 if key is None else 8 * prod(x)  # of logits and of key, and two terms of the gradient of x
    return pooling + 2 * _mixing(x, tensors)


def _mixing(x: Shape, tensors: Sequence[Shape]) -> int:
    return sum(2 * x[0] * prod(shape) for shape in tensors if len(shape) == 2)
