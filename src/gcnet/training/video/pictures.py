"""Frames of a clip in a row, with the attention of a block over them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gcnet.analysis.capture import capture
from gcnet.analysis.capture.blocks import block_kind
from gcnet.analysis.figures import AttentionRow, attention_row, attention_strip, choose_block, save_figure

CENTRE = (0.5, 0.5, 0.5)


@torch.no_grad()
def watch(net: nn.Module, inputs: Tensor, clip: Tensor) -> tuple[str, AttentionRow] | None:
    """Attention of a block while ``net`` sees a clip; of a non-local block that from the centre.

    Args:
        net: in eval mode.
        inputs: the clip as the network takes it, [3, T, H, W].
        clip: the same to look at, uint8.

    Returns:
        Path of the block (:func:`gcnet.analysis.figures.choose_block`) and its maps; None for a network without any.

    Example:
        >>> import gcnet
        >>> net = nn.Sequential(nn.Conv3d(3, 16, 3), nn.ReLU())
        >>> _ = gcnet.insert(net, gcnet.GlobalContext.spec(ratio=1 / 4), match="1")
        >>> path, row = watch(net, torch.randn(3, 8, 10, 12), torch.zeros(3, 8, 10, 12, dtype=torch.uint8))
        >>> path, row.mean.weights.shape
        ('1.context_block', torch.Size([6, 8, 10]))
    """
    if not any(block_kind(module) for module in net.modules()):
        return None
    with capture(net) as maps:
        net(inputs.unsqueeze(0))
    path = choose_block(maps)
    return path, attention_row(maps[path], clip.cpu(), "auto" if maps[path].pooled else [CENTRE])


def strip(path: Path, net: nn.Module, inputs: Tensor, clip: Tensor, title: str) -> None:
    """Draw frames of a clip in a row, and below them the attention of ``net`` to it, if it has any.

    Args:
        path: of the picture.
        net: in eval mode.
        inputs: the clip as the network takes it, [3, T, H, W].
        clip: the same to look at, uint8.
        title: of the picture.
    """
    seen = watch(net, inputs, clip)
    if seen is None:
        figure = attention_strip([clip], title=title)
    else:
        figure = attention_strip([seen[1]], title=f"{title}   (attention of {seen[0]})")
    save_figure(figure, path)
