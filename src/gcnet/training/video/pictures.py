"""Frames of a clip in a row, with the attention of a block over them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from gcnet.blocks import NonLocal
from gcnet.blocks.base import Block

MOST = 8  # frames in a row


class Attention(NamedTuple):
    """Where a block looks in one clip.

    Attributes:
        weights: [T', h, w], one per position of the block's map.
        query: the position as shares (t, y, x) of the clip that a non-local block looks from; None for a block that
            looks from all positions alike.
        path: of the block.
    """

    weights: Tensor
    query: tuple[float, float, float] | None
    path: str


def attending_blocks(net: nn.Module) -> dict[str, Block]:
    """Path and module of the blocks with an attention map, in the order of the network."""
    return {
        path: module
        for path, module in net.named_modules()
        if isinstance(module, Block)
        and hasattr(module, "attention_map")
        and getattr(module, "pooling", "attention") == "attention"
    }


@torch.no_grad()
def watch(net: nn.Module, clip: Tensor) -> Attention | None:
    """Attention of a block while ``net`` sees a clip; of a non-local block that from the centre.

    It is the last block whose map is at least 4 high and wide, or else the last one.

    Args:
        net: in eval mode.
        clip: as the network takes it, [3, T, H, W].

    Returns:
        None for a network without such a block.

    Example:
        >>> import gcnet
        >>> net = nn.Sequential(nn.Conv3d(3, 16, 3), nn.ReLU())
        >>> _ = gcnet.insert(net, gcnet.GlobalContext.spec(ratio=1 / 4), match="1")
        >>> watch(net, torch.randn(3, 8, 10, 12)).weights.shape
        torch.Size([6, 8, 10])
    """
    blocks = attending_blocks(net)
    seen: dict[str, Tensor] = {}
    hooks = [
        block.register_forward_pre_hook(lambda module, inputs, path=path: seen.update({path: inputs[0]}))
        for path, block in blocks.items()
    ]
    try:
        net(clip.unsqueeze(0))
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        return None
    large = [path for path, features in seen.items() if min(features.shape[-2:]) >= 4]
    path = (large or list(seen))[-1]
    block, features = blocks[path], seen[path]
    size = features.shape[2:]
    weights = block.attention_map(features)[0].float().cpu()  # type: ignore[operator]
    if not isinstance(block, NonLocal):
        return Attention(weights.view(size), None, path)
    centre = [extent // 2 for extent in size]
    row = weights[int(np.ravel_multi_index(centre, size))]
    keys = size
    if block.subsample is not None:
        window = block.subsample_size
        windows = (window,) * len(size) if isinstance(window, int) else window
        keys = torch.Size(extent // min(extent, span) for extent, span in zip(size, windows, strict=True))
    t, y, x = ((place + 0.5) / extent for place, extent in zip(centre, size, strict=True))
    return Attention(row.view(keys), (t, y, x), path)


def strip(path: Path, clip: Tensor, attention: Attention | None, title: str) -> None:
    """Draw up to eight frames of a clip in a row, and below them the same under the attention, if any.

    Above each frame of the second row stands its share of the attention.

    Args:
        path: of the picture.
        clip: uint8 [3, T, H, W].
        attention: of a block to this clip.
        title: of the picture.
    """
    clip = clip.cpu()
    length, height, width = clip.shape[1:]
    chosen = np.linspace(0, length - 1, min(MOST, length)).round().astype(int)
    rows = 1 if attention is None else 2
    figure = Figure(
        figsize=(1.5 * len(chosen) + 0.3, 1.75 * rows * height / width + 0.6), dpi=110, layout="constrained"
    )
    axes = figure.subplots(rows, len(chosen), squeeze=False)
    for cell in axes.flat:
        cell.axis("off")
    for cell, frame in zip(axes[0], chosen, strict=True):
        cell.imshow(clip[:, frame].permute(1, 2, 0).numpy())
        cell.set_title(f"frame {frame + 1}", fontsize=8)
    if attention is not None:
        _overlay(axes[1], clip, chosen, attention)
        looks = f"attention of {attention.path}" + (" from the cross" if attention.query else "")
        title = f"{title}   ({looks})"
    figure.suptitle(title, fontsize=9)
    figure.savefig(path)


def _overlay(axes: np.ndarray, clip: Tensor, chosen: np.ndarray, attention: Attention) -> None:
    length, height, width = clip.shape[1:]
    weights = attention.weights / attention.weights.sum()
    times = [frame * len(weights) // length for frame in chosen]
    marked = min(range(len(chosen)), key=lambda i: abs((chosen[i] + 0.5) / length - (attention.query or (0,))[0]))
    for index, (cell, frame, time) in enumerate(zip(axes, chosen, times, strict=True)):
        cell.imshow(clip[:, frame].float().mean(0).numpy(), cmap="gray", vmin=0, vmax=255)
        cell.imshow(
            weights[time].numpy(),
            cmap="inferno",
            alpha=0.6,
            vmin=0,
            vmax=float(weights.max()),
            interpolation="bilinear",
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        )
        share = float(weights[time].sum()) * len(weights) / length
        cell.set_title(f"{share:.0%}", fontsize=8)
        if attention.query is not None and index == marked:
            _, y, x = attention.query
            cell.plot(x * width - 0.5, y * height - 0.5, "+", color="#56b4e9", markersize=12, markeredgewidth=2)
