"""Dot product without its map: (theta phi^T) g = theta (phi^T g)."""

from __future__ import annotations

import torch
from torch import Tensor

from gcnet.ops.shapes import surely


def prefers_map(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether the map takes fewer multiply-adds: P M (d + dv) against (P + M) d dv, both three times in training.

    Of dynamic sizes in compiled code it is not known, and the map is avoided.
    """
    (positions, width), keys, value_width = query.shape[1:], key.shape[1], value.shape[2]
    return surely(positions * keys * (width + value_width) <= (positions + keys) * width * value_width)


def aggregate(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """y_i = 1/M sum_j <query_i, key_j> value_j: [N, P, dv], linear in P and M."""
    return torch.bmm(query, torch.bmm(key.transpose(1, 2), value) / key.shape[1])
