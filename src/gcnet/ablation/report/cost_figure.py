"""Score against cost as a picture: multiply-adds above, measured latency below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from gcnet.ablation.report.drawing import FONT, LABEL, SOFT, TEXT, WIDTH, finish, short, spread, style_of
from gcnet.ablation.report.numbers import scale_of
from gcnet.ablation.report.summary import Costs, Summary, VariantSummary

_KEYS, _LABELS = 9, 16  # points from the axes to the marks that go with labels, and to labels
_EDGE = 0.035  # of the height of the axes that labels keep free
_Point = tuple[int, VariantSummary, float, Costs]


def draw_cost(summary: Summary) -> Figure:
    """A mark per variant that has a score, with its standard deviation and the quartiles of its latency.

    Labels stand to the right, each joined to its mark.

    Args:
        summary: to draw.

    Example:
        >>> from gcnet.ablation.report.cost_figure import draw_cost
        >>> draw_cost(summary).savefig("cost.png")  # doctest: +SKIP
    """
    points = [
        (index, variant, variant.mean, variant.costs)
        for index, variant in enumerate(summary.variants)
        if variant.mean is not None and variant.costs is not None
    ]
    panel = max(2.2, (len(points) + 1) * LABEL / 72)
    figure = Figure(figsize=(WIDTH, 2 * (panel + 0.55)), layout="constrained")
    above, below = figure.subplots(2, 1)
    unit, size = ("G", 1e9) if max(costs.macs for *_, costs in points) >= 1e9 else ("M", 1e6)
    for index, variant, mean, costs in points:
        ratio = costs.latency_ratio
        _mark(above, summary, index, variant, mean, costs.macs / size, None)
        _mark(below, summary, index, variant, mean, ratio.median, (ratio.median - ratio.low, ratio.high - ratio.median))
    above.set_xlabel(f"multiply-adds ({unit})")
    below.set_xlabel("latency / plain network's")
    below.axvline(1, color=SOFT, lw=0.8, ls=(0, (4, 3)), zorder=0)
    for axes in (above, below):
        axes.set_ylabel(summary.metric + (" (points)" if summary.points else ""))
        axes.margins(0.08, 0.1)
        finish(axes)
    above.ticklabel_format(axis="x", useOffset=False)
    _label(figure, above, summary, points, [costs.macs / size for *_, costs in points])
    _label(figure, below, summary, points, [costs.latency_ratio.median for *_, costs in points])
    return figure


def _mark(
    axes: Any,
    summary: Summary,
    index: int,
    variant: VariantSummary,
    mean: float,
    at: float,
    quartiles: tuple[float, float] | None,
) -> None:
    factor, style = scale_of(summary).factor, style_of(index)
    axes.errorbar(
        at,
        factor * mean,
        yerr=None if variant.deviation is None else factor * variant.deviation,
        xerr=None if quartiles is None else [[quartiles[0]], [quartiles[1]]],
        fmt="none",
        ecolor=style["color"],
        elinewidth=0.9,
        alpha=0.75,
    )
    axes.plot(at, factor * mean, ls="none", ms=6, mec=TEXT, mew=0.5, **style)


def _label(figure: Figure, axes: Any, summary: Summary, points: Sequence[_Point], at: Sequence[float]) -> None:
    """Names in a column to the right of the axes, as near to their marks as they fit."""
    factor = scale_of(summary).factor
    notes = [
        axes.annotate(
            short(variant.label),
            (place, factor * mean),
            xytext=(1.1, 0.5),
            textcoords="axes fraction",
            va="center",
            fontsize=FONT,
            color=TEXT,
            parse_math=False,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "lw": 0.7, "alpha": 0.5, "shrinkA": _KEYS + 2, "shrinkB": 4, "zorder": 0}
            | {"color": style_of(index)["color"]},
        )
        for (index, variant, mean, _), place in zip(points, at, strict=True)
    ]
    figure.draw_without_rendering()
    extent = axes.get_window_extent()
    width, height = (72 * size / figure.dpi for size in (extent.width, extent.height))
    low, high = axes.get_ylim()
    heights = [(factor * mean - low) / (high - low) for _, _, mean, _ in points]
    places = spread(heights, LABEL / height, _EDGE, 1 - _EDGE)
    for (index, *_), note, place in zip(points, notes, places, strict=True):
        note.set_position((1 + _LABELS / width, place))
        key = {"transform": axes.transAxes, "clip_on": False, "ls": "none", "ms": 4.5, "mec": TEXT, "mew": 0.4}
        axes.plot(1 + _KEYS / width, place, **key, **style_of(index))
