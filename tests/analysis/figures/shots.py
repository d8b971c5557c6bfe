"""Figures as pixels, and maps that are known."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg

from gcnet.analysis.figures import AttentionMap, AttentionRow, Panel


def pixels(figure, axes=None):
    """What is drawn in axes, or in all of the figure, [H, W, 3] from 0 to 255."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(200)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    if axes is None:
        return drawn
    box = axes.get_window_extent()
    height = len(drawn)
    return drawn[round(height - box.y1) : round(height - box.y0), round(box.x0) : round(box.x1)]


def one_hot(size, cell, reach=None):
    weights = torch.zeros(size, dtype=torch.float64)
    weights[cell] = weights.numel()
    return AttentionMap(weights, weights.numel(), reach or (1.0,) * len(size))


class Known:
    """Where rows come from that are known, [N, heads, Q, M]."""

    query = key = None

    def __init__(self, rows, softmax=True):
        self.known, self.softmax = rows, softmax

    def rows(self, queries):
        return self.known if queries is None else self.known[:, :, queries]

    def output(self):
        return self.known


def row_of(picture, found, point=None):
    """A row of one query."""
    points = () if point is None else (point,)
    return AttentionRow(picture, points, (Panel("query 1", picture, found, point),), found)


def panels(figure):
    """Axes with pictures, in the order of rows."""
    return [axes for axes in figure.axes if axes.get_visible() and axes.images]
