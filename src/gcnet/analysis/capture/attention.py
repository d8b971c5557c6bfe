"""What is kept of one softmax attention of a transformer."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from gcnet.analysis.capture.grid import Grids
from gcnet.analysis.capture.keep import kept
from gcnet.analysis.capture.multihead import Attended
from gcnet.analysis.capture.queries import Points, position_of
from gcnet.analysis.capture.record import Captured, Source
from gcnet.analysis.capture.softmax import MapSource, SoftmaxSource


@dataclass(frozen=True)
class Layer:
    """An attention layer in its network: tokens before those of the picture, and grids that are stated around it."""

    path: str
    prefix: int = 0
    grids: tuple[tuple[int, ...], ...] = ()


def captured_attention(
    layer: Layer, tokens: Tensor, attended: Attended, grids: Grids, points: Points, device: torch.device | None
) -> Captured:
    """One call of an attention that works on queries, keys and values."""
    flat, heads = attended.query.dim() == 3, _heads(tokens, attended.query)
    query, key, value = (_with_heads(layer.path, part, heads) for part in attended[:3])
    laid = _lay_out(layer, tokens, query.shape[0], query.shape[2], key.shape[2], grids)
    queries = _queries(layer.path, points, laid)
    chosen = torch.arange(query.shape[2]) if queries is None else torch.tensor(queries)
    mask, reach = attended.mask, None
    if mask is not None:
        mask = _with_heads(layer.path, mask, heads) if flat and mask.dim() == 3 else mask[(None,) * (4 - mask.dim())]
        mask = mask if queries is None or mask.shape[2] == 1 else mask[:, :, chosen.to(mask.device)]
        mask = kept(_narrowed(mask), device)
    if attended.is_causal:
        reach = kept(chosen.to(query.device), device)
    source = SoftmaxSource(
        kept(query if queries is None else query[:, :, chosen.to(query.device)], device),
        kept(key, device),
        kept(value, device),
        query.shape[-1] ** -0.5 if attended.scale is None else attended.scale,
        mask,
        reach,
    )
    return _captured(layer, tokens, source, query.shape, laid, queries, device)


def captured_map(
    layer: Layer, tokens: Tensor, weights: Tensor, value: Tensor, grids: Grids, points: Points, device: Any
) -> Captured:
    """One call of an attention that lays its map out."""
    heads = _heads(tokens, weights)
    weights, value = _with_heads(layer.path, weights, heads), _with_heads(layer.path, value, heads)
    laid = _lay_out(layer, tokens, weights.shape[0], weights.shape[2], weights.shape[3], grids)
    queries = _queries(layer.path, points, laid)
    chosen = weights if queries is None else weights[:, :, torch.tensor(queries, device=weights.device)]
    source = MapSource(kept(chosen, device), kept(value, device))
    return _captured(layer, tokens, source, weights.shape, laid, queries, device)


def _captured(
    layer: Layer, tokens: Tensor, source: Source, shape: torch.Size, laid: Any, queries: Any, device: Any
) -> Captured:
    samples, heads, positions, _ = shape
    features = kept(_tokens(tokens, samples, positions), device)
    return Captured(layer.path, "attention", features, source=source, heads=heads, queries=queries, **laid)


def _lay_out(layer: Layer, tokens: Tensor, samples: int, queries: int, keys: int, grids: Grids) -> dict[str, Any]:
    if tokens.dim() == 3 and tokens.shape[1] not in (queries, keys):  # not between tokens, but such as between channels
        return {"size": (queries,), "key_size": (keys,)}
    windows = samples // grids.pictures if grids.pictures and samples % grids.pictures == 0 else 1
    known = grids if windows == 1 else Grids()  # of a window no more is known than its size
    prefix, size = known.lay_out(queries, layer.prefix, layer.grids)
    key_prefix, key_size = known.lay_out(keys, layer.prefix, layer.grids)
    return {"size": size, "key_size": key_size, "prefix": prefix, "key_prefix": key_prefix, "windows": windows}


def _queries(path: str, points: Points, laid: dict[str, Any]) -> tuple[int, ...] | None:
    if points is None:
        return None
    return tuple(position_of(point, laid["size"], laid["prefix"], path) for point in points)


def _heads(tokens: Tensor, part: Tensor) -> int:
    """Heads that a layer has put into the batch: queries [N heads, P, d] where it was called with N samples of P."""
    if part.dim() != 3 or tokens.dim() < 3 or part.shape[0] % max(1, tokens.shape[0]):
        return 1
    positions = (prod(tokens.shape[1:-1]), prod(tokens.shape[2:])) if tokens.dim() > 3 else tokens.shape[1:2]
    return part.shape[0] // tokens.shape[0] if part.shape[1] in positions else 1


def _with_heads(path: str, tensor: Tensor, heads: int) -> Tensor:
    """[N, heads, P, d], also of [N heads, P, d]."""
    if tensor.dim() not in (3, 4) or tensor.is_nested:
        shape = "nested" if tensor.is_nested else f"of shape {list(tensor.shape)}"
        raise ValueError(f"{path!r} attends with tensors {shape}, not [N, heads, P, d]; leave it out with match=")
    if tensor.dim() == 4:
        return tensor
    return tensor[:, None] if tensor.shape[0] == 1 else tensor.unflatten(0, (-1, heads))


def _narrowed(tensor: Tensor) -> Tensor:
    """Without the repetitions of an expanded tensor."""
    for axis, stride in enumerate(tensor.stride()):
        if stride == 0 and tensor.shape[axis] > 1:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def _tokens(tensor: Tensor, samples: int, positions: int) -> Tensor:
    """Features [N, H, W, C] or [N, C, H, W] as tokens [N, P, C]; anything else as it is."""
    if tensor.dim() > 3 and tensor.shape[0] == samples:
        if prod(tensor.shape[1:-1]) == positions:
            return tensor.flatten(1, -2)
        if prod(tensor.shape[2:]) == positions:
            return tensor.flatten(2).transpose(1, 2)
    return tensor
