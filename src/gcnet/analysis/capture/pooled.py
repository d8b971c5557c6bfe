"""Pooled blocks, GC and SNL: one map for all queries, from the features and the weights of the block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gcnet.analysis.capture.keep import kept_all
from gcnet.blocks import ContextBlock, SimplifiedNonLocal
from gcnet.blocks.context_block import transform_weights
from gcnet.ops import Projection, Transform, attention_map
from gcnet.ops.context.composition import GATES, apply_transform
from gcnet.ops.precision import full_precision, working_dtype


@dataclass(frozen=True, eq=False)
class PooledSource:
    """One map for all queries, and a context made of it; with ``gate`` its transform is turned into a factor."""

    features: Tensor
    key_weights: Projection
    transform: Transform
    gate: str | None = None
    query: None = None
    key: None = None
    softmax: bool = True

    @torch.no_grad()
    def rows(self, queries: Tensor | None) -> Tensor:
        """[N, 1, 1, M]."""
        return attention_map(self.features, *self.key_weights)[:, None, None]

    @torch.no_grad()
    def output(self) -> Tensor:
        """[N, C]."""
        with full_precision(self.features):
            dtype = working_dtype(self.features, self.key_weights.weight, self.transform.expand_weight)
            weights = self.rows(None).flatten(1).to(dtype)
            context = torch.einsum("np,ncp->nc", weights, self.features.flatten(2).to(dtype))
            term = apply_transform(context, self.transform)
            if self.gate is None:
                return term
            return GATES["sigmoid"](term) * (2 if self.gate == "centred" else 1)


def pooled_source(block: Any, features: Tensor, device: torch.device | None) -> PooledSource:
    """Features that are kept already, and copies of the weights of a GC or SNL block."""
    key, add, scale = _weights(block)
    transform = scale if add is None else add
    gate = block.gate if add is None else None
    return PooledSource(features, kept_all(key, device), kept_all(transform, device), gate)


def _weights(block: Any) -> tuple[Projection, Transform | None, Transform | None]:
    """The key, and the transforms whose results are added and multiplied."""
    if isinstance(block, SimplifiedNonLocal):
        return Projection(block.key.weight, block.key.bias), Transform(block.value.weight, block.value.bias), None
    if isinstance(block, ContextBlock):
        mask: Any = block.conv_mask
        key = Projection(mask.weight.flatten(1), mask.bias)
        return key, transform_weights(block.channel_add_conv), transform_weights(block.channel_mul_conv)
    add, scale = (None if part is None else part.weights() for part in (block.add, block.scale))
    return Projection(block.key.weight, block.key.bias), add, scale
