"""What to see in the blocks of gcnet: their input and weights are kept, all else follows from them when asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gcnet.analysis.capture.keep import kept, unchanged_buffers
from gcnet.analysis.capture.non_local import key_stride, non_local_source
from gcnet.analysis.capture.pooled import pooled_source
from gcnet.analysis.capture.queries import Points, position_of
from gcnet.analysis.capture.record import Captured
from gcnet.blocks import ContextBlock, GlobalContext, NonLocal, SimplifiedNonLocal


def block_kind(module: nn.Module) -> str | None:
    """The kind of attention of a block; None for a module without any, such as a block that pools by the average."""
    if isinstance(module, NonLocal):
        return "non_local"
    if isinstance(module, SimplifiedNonLocal):
        return "simplified_non_local"
    if isinstance(module, GlobalContext) and module.key is not None:
        return "global_context"
    if isinstance(module, ContextBlock) and module.conv_mask is not None:
        return "global_context"
    return None


def captured_block(path: str, block: Any, x: Tensor, points: Points, device: torch.device | None) -> Captured:
    """One call of a block with the features [N, C, *spatial]."""
    size = tuple(x.shape[2:])
    features = kept(x, device)
    kind = block_kind(block) or ""
    with torch.no_grad(), unchanged_buffers(block):
        if not isinstance(block, NonLocal):
            return Captured(path, kind, features, size, size, pooled_source(block, features, device))
        queries = None if points is None else tuple(position_of(point, size, 0, path) for point in points)
        source = non_local_source(block, features, queries, device)
    stride = key_stride(block, size)
    keys = tuple(extent // step for extent, step in zip(size, stride, strict=True))
    return Captured(path, kind, features, size, keys, source, key_stride=stride, queries=queries)
