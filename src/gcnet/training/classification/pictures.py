"""A sheet of pictures with what they were taken for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

COLUMNS, MOST = 6, 36


def contact_sheet(path: Path, pictures: Sequence[Image.Image], captions: Sequence[str], title: str) -> None:
    """Pictures in rows of six, each below its caption.

    Args:
        path: of the sheet.
        pictures: at least one.
        captions: of the pictures.
        title: of the sheet.
    """
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(1.9 * columns + 0.4, 2.25 * rows + 0.5), dpi=110, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for cell in axes.flat:
        cell.axis("off")
    for cell, picture, caption in zip(axes.flat, pictures, captions, strict=False):
        cell.imshow(picture)
        cell.set_title(caption, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)
