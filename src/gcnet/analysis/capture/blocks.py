"""What to see in the blocks of gcnet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gcnet.analysis.capture.record import Captured
from gcnet.blocks import GlobalContext, NonLocal, SimplifiedNonLocal
from gcnet.ops import Projection
from gcnet.ops.affinity import non_local_context, queries_and_keys
from gcnet.ops.context.reference import apply_transform


def block_kind(module: nn.Module) -> str | None:
    """The kind of attention of a block; None for a module without any."""
    if isinstance(module, NonLocal):
        return "non_local"
    if isinstance(module, SimplifiedNonLocal):
        return "simplified_non_local"
    if isinstance(module, GlobalContext) and module.pooling == "attention":
        return "global_context"
    return None


def captured_block(path: str, block: Any, x: Tensor, device: torch.device) -> Captured:
    """What a block does to the features [N, C, *spatial]."""
    kind = block_kind(block)
    assert kind is not None
    size = tuple(x.shape[2:])
    if isinstance(block, NonLocal):
        return _non_local(path, block, x, device)
    weights = block.attention_map(x)
    context = torch.einsum("np,ncp->nc", weights, x.flatten(2).to(weights.dtype))
    if isinstance(block, SimplifiedNonLocal):
        output = torch.nn.functional.linear(context, block.value.weight, block.value.bias)
    else:
        output = apply_transform(context, (block.add if block.add is not None else block.scale).weights())
    return Captured(path, kind, x.to(device), output.to(device), size, size, weights=weights.to(device))


def _non_local(path: str, block: NonLocal, x: Tensor, device: torch.device) -> Captured:
    def projection(layer: nn.Linear | None) -> Projection | None:
        return None if layer is None else Projection(layer.weight, layer.bias)

    concat = None if block.concat is None else block.concat.weight
    shared: dict[str, Any] = {
        "query": projection(block.query),
        "key": projection(block.key),
        "pairwise": block.pairwise,
        "concat_weight": concat,
        "scale": block.scale,
        "subsample": block.subsample,
        "subsample_size": block.subsample_size,
    }
    size = tuple(x.shape[2:])
    query, key = queries_and_keys(x, **shared)
    context = non_local_context(x, value=projection(block.value), out=projection(block.out), **shared)  # type: ignore[arg-type]
    output = context if block.norm is None else block.norm(context)
    window = block.subsample_size
    windows = (window,) * len(size) if isinstance(window, int) else window
    keys = size if block.subsample is None else tuple(n // min(n, w) for n, w in zip(size, windows, strict=True))
    return Captured(
        path,
        "non_local",
        x.to(device),
        output.reshape(x.shape).to(device),
        size,
        keys,
        query=query[:, None].to(device),
        key=key[:, None].to(device),
        pairwise=block.pairwise,
        scale=block.scale,
        concat_weight=None if concat is None else concat.detach().to(device),
    )
