"""The article's figure: a row per picture, a column per query."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from gcnet.analysis.figures.rows import AttentionRow
from gcnet.analysis.figures.sheet import Sheet, common_norm, mark, overlay, show


def attention_figure(rows: Sequence[AttentionRow], *, width: float = 17.0, title: str = "") -> Figure:
    """Maps of several queries over each picture, next to the map for all queries (GCNet, arXiv:1904.11492, figure 1).

    A row per picture: the picture with its queries marked, a map per query, the map of the pooled block or the mean
    map. Weights are relative to uniform: weight times number of keys. A row has one scale.

    Args:
        rows: of :func:`attention_row`, of images.
        width: most of the figure, in cm: 8.5 for a column of a paper, 17 for its full width. Text is 7 points high in
            both, panels are no wider than 4 cm.
        title: above the figure.

    Raises:
        ValueError: no rows, clips among them, or too narrow for so many columns.

    Example:
        >>> import torch, gcnet
        >>> from gcnet.analysis.capture import capture
        >>> from gcnet.analysis.figures import attention_figure, attention_row, save_figure
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, stride=4), gcnet.NonLocal(8))
        >>> pictures = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
        >>> with capture(net) as maps:
        ...     _ = net(pictures / 255)
        >>> rows = [attention_row(maps["1"], picture, sample=i) for i, picture in enumerate(pictures)]
        >>> save_figure(attention_figure(rows), getfixture("tmp_path") / "attention.pdf")
        [...Path('...attention.pdf')]
    """
    if not rows or any(row.picture.dim() != 3 for row in rows):
        raise ValueError("rows: give at least one, of images; clips are for attention_strip")
    titles = [["picture", *(panel.title for panel in row.panels)] for row in rows]
    lines = [1 + max(text.count("\n") for text in texts) for texts in titles]
    above = [lines[i] if not i or titles[i] != titles[i - 1] else 0 for i in range(len(rows))]
    shapes = [row.picture.shape[1] / row.picture.shape[2] for row in rows]
    sheet = Sheet(width, max(map(len, titles)), shapes, above, title=title)
    for index, row in enumerate(rows):
        axes = sheet.panels[index]
        show(axes[0], row.picture)
        for number, point in enumerate(row.points, 1):
            mark(axes[0], row.picture, point, number)
        norm = common_norm([panel.map for panel in row.panels])
        for cell, panel in zip(axes[1:], row.panels, strict=False):
            drawn = overlay(cell, panel.picture, panel.map.weights, panel.map.reach, norm)
            if panel.point is not None:
                mark(cell, panel.picture, panel.point)
        sheet.scale(index, drawn)
        for cell, text in zip(axes, titles[index] if above[index] else (), strict=False):
            sheet.caption(cell, text)
    return sheet.figure
