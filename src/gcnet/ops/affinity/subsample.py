"""Max-pooling of keys and values, which cuts the pairwise work of a non-local block."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def _max_pool1d(x: Tensor, window: list[int], stride: list[int]) -> Tensor:
    """As a map of one row: torch's own 1D pooling ties an exported program to the length it was traced with."""
    return F.max_pool2d(x.unsqueeze(2), [1, *window], [1, *stride]).squeeze(2)


_MAX_POOL: dict[int, Callable[..., Tensor]] = {1: _max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def max_subsample(x: Tensor, size: int | tuple[int, ...]) -> Tensor:
    """Max-pool [N, C, *spatial] over windows of ``size``, which is also the stride; windows are clipped to the map.

    Raises:
        ValueError: ``size`` has another number of axes than the map, or more than three spatial axes.
    """
    spatial = x.shape[2:]
    if len(spatial) not in _MAX_POOL:
        raise ValueError(f"subsample works on 1 to 3 spatial axes, got an input of shape {tuple(x.shape)}")
    sizes = (size,) * len(spatial) if isinstance(size, int) else size
    if len(sizes) != len(spatial):
        raise ValueError(f"subsample_size={size} has {len(sizes)} axes, the map has {len(spatial)}: {tuple(x.shape)}")
    if any(extent < 1 for extent in sizes):
        raise ValueError(f"subsample_size={size} must be at least 1 on every axis")
    window = [s if extent >= s else extent for s, extent in zip(sizes, spatial, strict=True)]
    if torch.are_deterministic_algorithms_enabled():
        return _max_by_reshaping(x, window)
    return _MAX_POOL[len(spatial)](x, window, window)


def _max_by_reshaping(x: Tensor, window: list[int]) -> Tensor:
    """The same without the pooling kernels, whose CUDA backward adds atomically."""
    for axis, size in enumerate(window, start=2):
        windows = x.shape[axis] // size
        x = x.narrow(axis, 0, windows * size).unflatten(axis, (windows, size)).amax(dim=axis + 1)
    return x
