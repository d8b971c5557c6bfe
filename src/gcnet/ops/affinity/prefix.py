"""Prefix sums as matrix products: as fast as the products are, and the same sum in every run on every device."""

from __future__ import annotations

import torch
from torch import Tensor

#: Rows summed by one triangular matrix.
BLOCK = 32


def padded_length(rows: int) -> int:
    """The smallest multiple of ``BLOCK`` beyond ``rows``."""
    return (rows // BLOCK + 1) * BLOCK


def exclusive_prefix_sums(x: Tensor) -> Tensor:
    """Row r is the sum of the rows before r: [N, rows, width] to the same, for a multiple of ``BLOCK`` rows.

    A strictly lower triangular matrix of ones sums within blocks, another one the totals of the blocks before. Sums of
    sums round less than one long sum does.
    """
    blocks = x.unflatten(1, (x.shape[1] // BLOCK, BLOCK))
    before = _triangle(x, blocks.shape[1]) @ blocks.sum(dim=2)
    within = _triangle(x, BLOCK).expand(blocks.shape[0] * blocks.shape[1], -1, -1)
    sums = torch.baddbmm(before.flatten(0, 1).unsqueeze(1), within, blocks.flatten(0, 1))
    return sums.view_as(x)


def _triangle(x: Tensor, size: int) -> Tensor:
    return x.new_ones(size, size).tril(-1)
