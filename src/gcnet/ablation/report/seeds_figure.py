"""Every run as a picture: a point per seed, a line through the runs of one seed, a mark at each mean."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gcnet.ablation.report.drawing import FONT, SOFT, TEXT, WIDTH, finish, short, style_of
from gcnet.ablation.report.numbers import scale_of
from gcnet.ablation.report.summary import Summary

_MANY = 7  # seeds beyond which they are not told apart by colour
_ROW = 0.3  # inches per variant


def draw_seeds(summary: Summary) -> Figure:
    """Variants from top to bottom, scores from left to right.

    Args:
        summary: to draw.

    Example:
        >>> from gcnet.ablation.report.seeds_figure import draw_seeds
        >>> draw_seeds(summary).savefig("seeds.png")  # doctest: +SKIP
    """
    variants, factor = summary.variants, scale_of(summary).factor
    figure = Figure(figsize=(WIDTH, 1.1 + _ROW * len(variants)), layout="constrained")
    axes = figure.subplots()
    seeds = sorted({seed for variant in variants for seed in variant.values})
    told = len(seeds) <= _MANY
    handles = []
    for index, seed in enumerate(seeds):
        style = style_of(index + 1) if told else {"color": SOFT, "marker": "o"}
        runs = [(factor * each.values[seed], place) for place, each in enumerate(variants) if seed in each.values]
        axes.plot(*zip(*runs, strict=True), lw=0.8, alpha=0.6, color=style["color"])
        axes.plot(*zip(*runs, strict=True), ls="none", ms=4.5, mew=0, alpha=0.9, **style)
        handles.append(Line2D([], [], ms=4.5, lw=0.8, label=f"seed {seed}", **style))
    for place, variant in enumerate(variants):
        if variant.mean is not None:
            mean = factor * variant.mean
            axes.plot([mean, mean], [place - 0.3, place + 0.3], color=TEXT, lw=2, solid_capstyle="butt")
    mean_mark = Line2D([], [], color=TEXT, lw=0, marker="|", ms=9, mew=2, label="mean")
    if not told:
        handles = [Line2D([], [], ms=4.5, lw=0.8, label=f"a seed, of {len(seeds)}", color=SOFT, marker="o")]
    axes.set_yticks(range(len(variants)), [short(variant.label) for variant in variants], parse_math=False)
    axes.set_ylim(len(variants) - 0.5, -0.5)
    axes.set_xlabel(summary.metric + (" (points)" if summary.points else ""))
    finish(axes)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=6)
    figure.legend(
        handles=[*handles, mean_mark],
        loc="outside upper center",
        ncols=4,
        frameon=False,
        fontsize=FONT,
        labelcolor=TEXT,
        handlelength=1.4,
        columnspacing=1.2,
    )
    return figure
