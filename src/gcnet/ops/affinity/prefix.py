"""Prefix sums as matrix products: as fast as these are, and one order of summation in every run on every device.

Triangular matrices sum within blocks; the totals of the blocks are summed in the same way and carried into those after.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Rows that one triangular matrix sums.
BLOCK = 32


def prefix_sums(x: Tensor) -> Tensor:
    """G_r = sum_{s <= r} x_s: [N, rows, width] to the same."""
    rows = x.shape[1]
    blocks = _blocks(x)  # [N, blocks, size, width]
    sums = _product(_triangle(blocks), blocks)
    if blocks.shape[1] > 1:
        sums[:, 1:] += prefix_sums(sums[:, :-1, -1]).unsqueeze(2)
    return sums.flatten(1, 2)[:, :rows]


def prefix_moments(x: Tensor, b: Tensor, carried: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """G_r = sum_{s <= r} x_s and H_r = sum_{s <= r} (b_s - b_r) x_s: x [N, rows, width], b [N, rows] to x and x.

    For descending b all weights are at least 0 and none is a difference of larger sums, so that nothing cancels.
    ``carried`` [N, rows, width] are moments that row s brings along: H_r has their sum over s <= r as well.
    """
    rows = x.shape[1]
    blocks = _blocks(x)
    b = F.pad(b, (0, blocks.shape[1] * blocks.shape[2] - rows)).view(blocks.shape[:3])
    ones = _triangle(blocks)
    sums = _product(ones, blocks)
    moments = _product((b.unsqueeze(2) - b.unsqueeze(3)).tril(), blocks)
    if carried is not None:
        moments += _product(ones, _blocks(carried))
    if blocks.shape[1] > 1:
        last = b[:, :-1, -1]
        sums_before, moments_before = prefix_moments(sums[:, :-1, -1], last, moments[:, :-1, -1])
        sums[:, 1:] += sums_before.unsqueeze(2)
        moments[:, 1:] += moments_before.unsqueeze(2)
        moments[:, 1:].addcmul_((last.unsqueeze(2) - b[:, 1:]).unsqueeze(3), sums_before.unsqueeze(2))
    return sums.flatten(1, 2)[:, :rows], moments.flatten(1, 2)[:, :rows]


def _blocks(x: Tensor) -> Tensor:
    """[N, rows, width] to [N, blocks, size, width], with rows of zeros at the end."""
    if x.shape[1] <= 2 * BLOCK:
        return x.unsqueeze(1)
    blocks = x.shape[1] // BLOCK + 1
    return F.pad(x, (0, 0, 0, blocks * BLOCK - x.shape[1])).view(x.shape[0], blocks, BLOCK, x.shape[2])


def _triangle(blocks: Tensor) -> Tensor:
    size = blocks.shape[2]
    return blocks.new_ones(size, size).tril().expand(*blocks.shape[:2], -1, -1)


def _product(matrices: Tensor, blocks: Tensor) -> Tensor:
    return torch.bmm(matrices.flatten(0, 1), blocks.flatten(0, 1)).view(blocks.shape)
