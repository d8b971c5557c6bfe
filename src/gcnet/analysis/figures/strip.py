"""Clips: frames in a row, and the attention over them below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from gcnet.analysis.capture.queries import cell_of
from gcnet.analysis.figures.maps import AttentionMap
from gcnet.analysis.figures.rows import AttentionRow, Panel
from gcnet.analysis.figures.sheet import Sheet, common_norm, mark, overlay, room, show

MOST, LEAST = 8, 1.1  # frames in a row, and their width in cm


def attention_strip(rows: Sequence[AttentionRow | Tensor], *, width: float = 17.0, title: str = "") -> Figure:
    """Frames of each clip in a row, and below them a row of maps per query and one for all queries.

    There are up to eight frames, as many as the width has room for, numbered from 0. Above each frame with a map stands
    its share of the attention, where weights are shares. The query is marked on the frame nearest to it. Weights are
    relative to uniform: weight times number of keys. A clip has one scale.

    Args:
        rows: of :func:`attention_row`, of clips; or a clip alone, uint8 [3, T, H, W].
        width: most of the figure, in cm.
        title: above the figure.

    Raises:
        ValueError: no rows, images among them, or too narrow.

    Example:
        >>> import torch, gcnet
        >>> from gcnet.analysis.capture import capture
        >>> from gcnet.analysis.figures import attention_row, attention_strip
        >>> net = torch.nn.Sequential(torch.nn.Conv3d(3, 8, (1, 4, 4), stride=(1, 4, 4)), gcnet.NonLocal(8))
        >>> clip = torch.randint(0, 256, (3, 4, 32, 32), dtype=torch.uint8)
        >>> with capture(net) as maps:
        ...     _ = net(clip[None] / 255)
        >>> attention_strip([attention_row(maps["1"], clip, "2,16,16")], width=8.5)
        <Figure size ...>
    """
    clips = [row if isinstance(row, Tensor) else row.picture for row in rows]
    if not rows or any(clip.dim() != 4 for clip in clips):
        raise ValueError("rows: give at least one, of clips; images are for attention_figure")
    panels = [() if isinstance(row, Tensor) else row.panels for row in rows]
    shapes = [clip.shape[2] / clip.shape[3] for clip, maps in zip(clips, panels, strict=True) for _ in (clip, *maps)]
    most = min(MOST, max(1, room(width, LEAST)))
    columns = max(min(most, clip.shape[1]) for clip in clips)
    sheet = Sheet(width, columns, shapes, [1] * len(shapes), labels=True, title=title)
    line = 0
    for clip, maps in zip(clips, panels, strict=True):
        sheet.label(line, "frame")
        for cell, frame in zip(sheet.panels[line], _frames(clip, most), strict=False):
            show(cell, clip[:, frame])
            sheet.caption(cell, str(frame))
        norm = common_norm([panel.map for panel in maps])
        for panel in maps:
            line += 1
            sheet.label(line, panel.title)
            sheet.scale(line, _maps(sheet, line, panel, _frames(panel.picture, most), norm))
        line += 1
    return sheet.figure


def _frames(clip: Tensor, most: int) -> list[int]:
    """Of those of a clip, evenly spaced."""
    length = clip.shape[1]
    return np.linspace(0, length - 1, min(most, length)).round().astype(int).tolist()


def _maps(sheet: Sheet, line: int, panel: Panel, frames: Sequence[int], norm: Normalize) -> Any:
    length = panel.picture.shape[1]
    time, *place = panel.point or (0.0,)
    (asked,) = cell_of((time,), (length,))
    marked = min(frames, key=lambda frame: abs(frame - asked))
    for cell, frame in zip(sheet.panels[line], frames, strict=False):
        picture = panel.picture[:, frame]
        step = int((frame + 0.5) / length / panel.map.reach[0] * len(panel.map.weights))
        if step >= len(panel.map.weights):  # beyond the keys
            show(cell, picture, grey=True)
            continue
        drawn = overlay(cell, picture, panel.map.weights[step], panel.map.reach[1:], norm)
        if panel.map.softmax:
            sheet.caption(cell, f"{_share(panel.map, step, length):.0%}")
        if place and frame == marked:
            mark(cell, picture, place)
    return drawn


def _share(seen: AttentionMap, step: int, length: int) -> float:
    """Of the attention, of one of ``length`` frames; those that share a step of the map share its attention."""
    share = float(seen.weights[step].sum() / seen.weights.sum())
    return share * len(seen.weights) / (length * seen.reach[0])
