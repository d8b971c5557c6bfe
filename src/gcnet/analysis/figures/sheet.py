"""The paper that figures are drawn on: panels of one width, maps over pictures, scales, files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from torch import Tensor

from gcnet.analysis.figures.maps import AttentionMap
from gcnet.blocks.base import check_choice
from gcnet.files import whole_file

_UNDATED: dict[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
#: Colour maps of matplotlib: of weights from zero on, and to both sides of it.
COLOURS = {"sequential": "inferno", "diverging": "vanimo"}
TEXT = 7  # points; the size of captions in print
_INCH = 2.54
_GAP, _BAR, _SCALE, _LINE = 0.1, 0.18, 1.25, 0.32  # cm: between panels, a scale, it with its text, a line of text
_WIDEST = 4.0  # cm, of a panel
_ALPHA = 0.6  # of a map over its picture; part of the colours, as vector formats would apply that of an image twice
_CROSS = "#56b4e9"  # the sky blue of Okabe and Ito, which no colour of the maps comes near
_EDGE = [withStroke(linewidth=2.2, foreground="black")]


class Sheet:
    """A figure of panels of one width, in rows, and a place for a scale at the end of each row.

    Args:
        width: most of the figure, in cm; panels are no wider than 4 cm.
        columns: panels in a row.
        shapes: height / width of the panels of each row.
        above: lines of text over each row.
        labels: whether rows have a label at their left.
        title: of the figure.

    Attributes:
        figure: the figure.
        panels: axes [rows][columns], invisible until something is drawn.
        scales: axes at the end of each row, invisible as well.
    """

    def __init__(
        self,
        width: float,
        columns: int,
        shapes: Sequence[float],
        above: Sequence[int],
        *,
        labels: bool = False,
        title: str = "",
    ) -> None:
        left = _LINE + 0.05 if labels else 0.05
        panel = min(_WIDEST, (width - left - _SCALE) / columns - _GAP)
        if not panel >= 0.4:  # nor NaN
            raise ValueError(f"width={width:g} cm is too narrow for {columns} panels in a row")
        width = left + columns * (panel + _GAP) + _SCALE
        heading = 1.5 * _LINE if title else 0.0
        height = sum(panel * shape + _LINE * lines + _GAP for shape, lines in zip(shapes, above, strict=True)) + heading
        self.figure = Figure(figsize=(width / _INCH, height / _INCH), dpi=110)
        self.panels: list[list[Axes]] = []
        self.scales: list[Axes] = []
        if title:
            self.figure.text(0.5, 1 - 0.5 * heading / height, title, ha="center", va="center", fontsize=TEXT + 1)
        top = height - heading
        for shape, lines in zip(shapes, above, strict=True):
            tall = panel * shape
            bottom = top - _LINE * lines - tall
            lefts = [left + column * (panel + _GAP) for column in range(columns)]
            boxes = [(x, panel) for x in lefts] + [(lefts[-1] + panel + _GAP, _BAR)]
            *axes, scale = (
                self.figure.add_axes((x / width, bottom / height, wide / width, tall / height), visible=False)
                for x, wide in boxes
            )
            self.panels.append(axes)
            self.scales.append(scale)
            top = bottom - _GAP

    def label(self, row: int, text: str) -> None:
        """Write at the left of a row."""
        box = self.panels[row][0].get_position()
        self.figure.text(
            0.05 / _INCH / self.figure.get_figwidth(),
            (box.y0 + box.y1) / 2,
            text,
            rotation=90,
            va="center",
            fontsize=TEXT,
        )

    def caption(self, axes: Axes, text: str) -> None:
        """Write above a panel."""
        axes.set_title(text, fontsize=TEXT, pad=2, linespacing=1)

    def scale(self, row: int, drawn: Any) -> None:
        """Draw the scale of a row, by a map of it; over the first one stands the unit."""
        axes = self.scales[row]
        axes.set_visible(True)
        axes.set_facecolor("0.67")  # grey, as what maps lie over
        bar = self.figure.colorbar(drawn, cax=axes)
        bar.locator, bar.formatter = MaxNLocator(3), StrMethodFormatter("{x:g}")
        bar.update_ticks()
        bar.outline.set_linewidth(0.4)
        bar.ax.tick_params(labelsize=TEXT - 1, length=2, width=0.4, pad=1.5)
        if sum(scale.get_visible() for scale in self.scales) == 1:
            axes.set_title("\N{MULTIPLICATION SIGN} uniform", fontsize=TEXT, pad=2, loc="left", linespacing=1)


def show(axes: Axes, picture: Tensor, *, grey: bool = False) -> None:
    """Draw a picture, uint8 [3, H, W]."""
    axes.set_visible(True)
    axes.axis("off")
    pixels = picture.cpu().permute(1, 2, 0).numpy()
    if grey:
        axes.imshow(pixels.mean(2), cmap="gray", vmin=-128, vmax=255, aspect="auto")
    else:
        axes.imshow(pixels, aspect="auto")


def overlay(axes: Axes, picture: Tensor, weights: Tensor, reach: Sequence[float], norm: Normalize) -> Any:
    """Draw a map over its picture in grey: cell by cell, every cell over its share of the picture.

    Args:
        axes: where.
        picture: uint8 [3, H, W].
        weights: [H', W'].
        reach: share of height and width that the map covers.
        norm: of the row.
    """
    height, width = picture.shape[-2:]
    show(axes, picture, grey=True)
    drawn = axes.imshow(
        weights.numpy(),
        cmap=_colours(COLOURS["diverging" if norm.vmin else "sequential"]),
        norm=norm,
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, width * reach[1] - 0.5, height * reach[0] - 0.5, -0.5),
    )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return drawn


def _colours(name: str) -> ListedColormap:
    """A map of matplotlib's to look through."""
    colours = matplotlib.colormaps[name](np.linspace(0, 1, 256))
    colours[:, 3] = _ALPHA
    return ListedColormap(colours, name)


def common_norm(maps: Sequence[AttentionMap]) -> Normalize:
    """One scale for several maps, from 0 on; with negative weights the same to both sides."""
    most = max((float(found.weights.abs().max()) for found in maps), default=0.0) or 1.0
    return Normalize(-most if any(found.signed for found in maps) else 0.0, most)


def mark(axes: Axes, picture: Tensor, point: Sequence[float], number: int | None = None) -> None:
    """A cross at a point (y, x), shares of a picture [3, H, W]; with a number if there is one."""
    height, width = picture.shape[-2:]
    y, x = point[0] * height - 0.5, point[1] * width - 0.5
    axes.plot(x, y, "+", color=_CROSS, markersize=6, markeredgewidth=1.2, path_effects=_EDGE)
    if number is not None:
        at_right, low = point[1] > 0.8, point[0] < 0.2
        axes.annotate(
            str(number),
            (x, y),
            xytext=(-3 if at_right else 3, -2 if low else 2),
            textcoords="offset points",
            ha="right" if at_right else "left",
            va="top" if low else "bottom",
            fontsize=TEXT,
            color="white",
            path_effects=_EDGE,
        )


def figure_paths(out: Path, formats: Sequence[str] = ()) -> list[Path]:
    """The files :func:`save_figure` writes; its arguments and errors.

    Example:
        >>> [str(path) for path in figure_paths(Path("attention.png"), ("svg", "pdf"))]
        ['attention.svg', 'attention.pdf']
    """
    if not formats:
        check_choice("suffix", out.suffix, [f".{name}" for name in _UNDATED])
        return [out]
    for name in formats:
        check_choice("format", name, _UNDATED)
    return [out.with_suffix(f".{name}") for name in formats]


def save_figure(figure: Figure, out: Path, formats: Sequence[str] = (), *, title: str = "") -> list[Path]:
    """Write a figure for a paper: 300 dots per inch, fonts embedded in PDF, text as text in SVG, no date.

    Args:
        figure: of this package.
        out: file; its suffix is the format.
        formats: of ``"png"``, ``"svg"``, ``"pdf"``, if not that of ``out``: files of the same name beside each other.
        title: for the properties of the files.

    Returns:
        What was written.

    Raises:
        ValueError: another format.
        OSError: a file that cannot be written.

    Example:
        >>> out = getfixture("tmp_path") / "empty.png"
        >>> [path.name for path in save_figure(Figure(), out, ("svg", "pdf"))]
        ['empty.svg', 'empty.pdf']
    """
    paths = figure_paths(out, formats)
    out.parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        metadata = {"Title": title, **_UNDATED[path.suffix[1:]]}
        with (
            matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "gcnet"}),
            whole_file(path) as partial,
        ):
            figure.savefig(partial, dpi=300, metadata=metadata)
    return paths


def room(width: float, panel: float) -> int:
    """How many panels of a width, in cm, fit side by side, with a label at their left."""
    return int((width - _LINE - _SCALE) / (panel + _GAP))
