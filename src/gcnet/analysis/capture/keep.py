"""Copies of what a network computes, cut off from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def kept(tensor: Tensor, device: torch.device | None) -> Tensor:
    """A copy without a graph, on ``device`` or, if None, where the tensor is; a normal tensor in inference mode too."""
    with torch.inference_mode(False), torch.no_grad():
        return tensor.to(tensor.device if device is None else device, copy=True)


def kept_all(values: Any, device: torch.device | None) -> Any:
    """The same for the tensors of a named tuple; what is no tensor stays as it is."""
    if values is None:
        return None
    return type(values)(*(kept(value, device) if isinstance(value, Tensor) else value for value in values))


@contextmanager
def apart() -> Iterator[None]:
    """Inside, nothing is recorded for gradients, also not through the copies of weights that autocast keeps."""
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_autocast_cache_enabled(cached)


@contextmanager
def unchanged_buffers(module: nn.Module) -> Iterator[None]:
    """Inside, copies stand in for the buffers, such as running statistics; the buffers themselves are not touched."""
    owners = [owner for owner in module.modules() if owner._buffers]
    held = [dict(owner._buffers) for owner in owners]
    for owner in owners:
        for name, buffer in owner._buffers.items():
            owner._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for owner, buffers in zip(owners, held, strict=True):
            owner._buffers.update(buffers)
