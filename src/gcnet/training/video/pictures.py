"""Frames in a row with the attention of a block over them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from gcnet.blocks import NonLocal
from gcnet.blocks.base import Block
from gcnet.insertion.attach import host_modules


class Attention(NamedTuple):
    """Where a block looks in one clip.

    Attributes:
        weights: [T', h, w] over the positions of its map; their sum is 1 for softmax.
        query: position (t, y, x) of the map that is looked from; None for a block that looks from all alike.
        path: of the block.
    """

    weights: Tensor
    query: tuple[int, int, int] | None
    path: str


def attending_block(net: nn.Module) -> tuple[str, Block] | None:
    """Path and module of the last block that has an attention map; None if there is none."""
    found = [
        (path, module)
        for path, module in net.named_modules()
        if isinstance(module, Block) and hasattr(module, "attention_map") and getattr(module, "key", self) is not None
    ]
    return found[-1] if found else None


@torch.no_grad()
def watch(net: nn.Module, clip: Tensor) -> Attention | None:
    """Attention of the last attending block while ``net`` sees a clip; of a non-local block from the centre.

    Args:
        net: in eval mode.
        clip: normalised, [3, T, H, W].

    Returns:
        None for a network without such a block.
    """
    found = attending_block(net)
    if found is None:
        return None
    path, block = found
    seen: list[Tensor] = []
    hook = block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        net(clip.unsqueeze(0))
    finally:
        hook.remove()
    features = seen[0]
    weights = block.attention_map(features)[0].float()
    spatial = features.shape[2:]
    if not isinstance(block, NonLocal):
        return Attention(weights.view(spatial), None, path)
