"""What the page shows, as files: the picture, colours, and the figure for a paper."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image
from torch import Tensor

from gcnet.analysis.capture import Captured
from gcnet.analysis.figures import attention_figure, attention_row, attention_strip, save_figure
from gcnet.analysis.figures.sheet import COLOURS
from gcnet.explorer.passes import Pass

FORMS = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}


def colour_tables() -> dict[str, list[list[int]]]:
    """The 256 colours of each map, as bytes.

    Example:
        >>> colour_tables()["sequential"][0]
        [0, 0, 3]
    """
    return {
        kind: matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].tolist() for kind, name in COLOURS.items()
    }


def picture_png(picture: Tensor) -> bytes:
    """A picture [3, H, W], or the frames of a clip [3, T, H, W] below one another."""
    pixels = picture.flatten(1, -2).permute(1, 2, 0) if picture.dim() == 4 else picture.permute(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def figure_file(seen: Pass, path: str, query: int, head: int | None, form: str) -> bytes:
    """The picture with its query, the map of that query and the mean of all maps.

    Args:
        seen: a picture through a network.
        path: of a block.
        query: a position, those of the prefix included.
        head: of a transformer; None for the mean of all.
        form: ``"png"``, ``"svg"`` or ``"pdf"``.

    Raises:
        Unknown: no such block.
        ValueError: no such query or head, or a query of the prefix, which has no place in the picture.
    """
    block = seen.block(path)
    row = attention_row(block, seen.view.picture, [] if block.pooled else [_place(block, query)], head=head)
    figure = attention_strip([row]) if seen.frames > 1 else attention_figure([row], width=12)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"attention.{form}"
        save_figure(figure, out, title=f"Attention of {path}")
        return out.read_bytes()


def _place(block: Captured, query: int) -> tuple[float, ...]:
    """The middle of a position, as shares along the axes."""
    if not block.prefix <= query < block.positions:
        raise ValueError(f"query={query}: figures are of positions {block.prefix} to {block.positions - 1}")
    cell = np.unravel_index(query - block.prefix, block.size)
    return tuple((float(at) + 0.5) / extent for at, extent in zip(cell, block.size, strict=True))
