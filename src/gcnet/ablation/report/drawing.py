"""What both pictures of a report share: colours, sizes, labels that do not overlap, and files."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from gcnet.files import whole_file
from gcnet.training.curves import COLOURS, MARKERS

#: Of text, of what stands back, and of lines; a page gives them its own colours.
TEXT, SOFT, LINE = "#1b1d20", "#595f66", "#dcddd9"
WIDTH = 4.6  # inches; read on a phone, too
FONT = 8  # points
LABEL = 1.35 * FONT  # points from one label to the next
_LONGEST = 30  # letters of a label
_VARIABLES = {TEXT: "var(--text)", SOFT: "var(--soft)", LINE: "var(--line)"}


def style_of(index: int) -> dict[str, Any]:
    """Colour and marker of a variant, the first in the colour of text; no two of the first 42 are alike.

    Example:
        >>> style_of(1)["marker"], style_of(8)["marker"]
        ('s', '^')
    """
    colours = (TEXT, *COLOURS[1:])
    turn, place = divmod(index, len(colours))
    return {"color": colours[place], "marker": MARKERS[(place + turn) % len(MARKERS)]}


def short(label: str) -> str:
    """A label on one line that fits beside a picture.

    Example:
        >>> short("attention pooling, scale and add, twice over")
        'attention pooling, scale and…'
    """
    line = " ".join(label.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1].rstrip()}…"


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places so that neighbours are at least ``gap`` apart, as little as possible, and within bounds.

    Args:
        places: in any order.
        gap: least distance.
        low: lower bound; given up if there is no room.
        high: upper bound.

    Example:
        >>> spread([0.5, 0.5, 0.9], 0.2, 0, 1)
        [0.4, 0.6, 0.9]
        >>> spread([1.0, 0.95], 0.2, 0, 1)
        [1.0, 0.8]
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    blocks: list[list[float]] = []  # sums and counts of runs that touch, after Ayer's pool of adjacent violators
    for rank, index in enumerate(order):
        blocks.append([places[index] - rank * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    starts = [total / count for total, count in blocks for _ in range(int(count))]
    moved = [0.0] * len(places)
    for rank, (index, start) in enumerate(zip(order, starts, strict=True)):
        upper = high - (len(order) - 1) * gap  # of a start; every place is its start + rank * gap
        moved[index] = round(max(low, min(start, upper)) + rank * gap, 9)
    return moved


def finish(axes: Any) -> None:
    """Quiet axes."""
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(LINE)
    axes.tick_params(labelsize=FONT, color=LINE, labelcolor=TEXT)
    axes.xaxis.label.set(color=TEXT, size=FONT)
    axes.yaxis.label.set(color=TEXT, size=FONT)
    axes.grid(color=LINE, lw=0.6)
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path) -> None:
    """Write a picture that appears whole, the same bytes each time."""
    with whole_file(path) as partial, matplotlib.rc_context({"svg.hashsalt": path.stem}):
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(partial, dpi=200, facecolor="white", metadata=metadata)


def inline_svg(figure: Figure, name: str, words: str) -> str:
    """A picture as an element of a page, in the page's colours.

    Args:
        figure: drawn with the colours of this module.
        name: goes before every id, so that two pictures share none.
        words: what it shows, for who does not see it; already escaped.
    """
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{words}"', 1).strip()
