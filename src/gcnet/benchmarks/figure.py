"""Results as a picture: one panel per contestant, one bar per case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gcnet.benchmarks.peers import FLOORS
from gcnet.benchmarks.report import contestant_names, verdict
from gcnet.benchmarks.results import CaseResult, Run

#: Colour, hatch and words of a verdict; the colours are Okabe and Ito's, which colour-blind readers can tell apart.
_STYLES = {
    "win": ("#0072b2", "", "gcnet is faster"),
    "tie": ("#999999", "", "tie: the quartiles enclose 1"),
    "loss": ("#d55e00", "////", "gcnet is slower"),
}
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_FINE_TICKS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3)


def draw(run: Run, path: Path) -> None:
    """Write a picture of how many times longer each contestant takes than ours, with whiskers at the quartiles.

    Raises:
        ValueError: ours ran alone.
        ModuleNotFoundError: matplotlib is missing.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    results = run.results
    names = [name for name in contestant_names(results) if name not in FLOORS or name == "plain"]
    shares = any(result.share_of_copy for result in results)
    if not names and not shares:
        raise ValueError("gcnet ran alone; name contestants with --vs")
    panels = len(names) + shares
    figure = Figure(figsize=(2.6 + 2.7 * panels, 1.9 + 0.27 * len(results)), dpi=110, layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    limits = _limits(results, names)
    for axis, name in zip(axes, names, strict=False):
        _speed_ups(axis, results, name, limits)
    if shares:
        _shares(axes[-1], results)
    axes[0].set_yticks(range(len(results)), [result.name for result in results], fontsize=8)
    axes[0].set_ylim(len(results) - 0.4, -0.6)
    figure.suptitle(_title(run), fontsize=10)
    patches = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=words)
        for colour, hatch, words in _STYLES.values()
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path)


def _title(run: Run) -> str:
    made = run.environment
    where = f"{made.gpu or f'{made.processor}, {made.cores} cores'}, torch {made.versions['torch']}"
    how = f"driver {made.driver}" if made.gpu else f"{made.threads} threads, {made.allocator} allocator"
    quick = "; QUICK: a look, not a measurement" if run.settings["quick"] else ""
    return f"{where}, gcnet {made.versions['gcnet']}\n{how}, {made.date[:10]}{quick}"


def _limits(results: Sequence[CaseResult], names: Sequence[str]) -> tuple[float, float]:
    """One axis for all panels, with room for the numbers."""
    found = [result.ratio(name) for result in results for name in names if name in result.timings]
    low, high = min((r.low for r in found), default=1.0), max((r.high for r in found), default=1.0)
    room = max(high / low, 1.5) ** 0.28
    return min(low, 0.9) / room, max(high, 1.1) * room


def _speed_ups(axis: Any, results: Sequence[CaseResult], name: str, limits: tuple[float, float]) -> None:
    """Bars from 1, to the right where ours is faster, on a logarithmic axis."""
    axis.set_xscale("log")
    axis.set_xlim(limits)
    for row, result in enumerate(results):
        if name not in result.timings:
            axis.text(1, row, "  not run", va="center", fontsize=7, color="#777777")
            continue
        ratio = result.ratio(name)
        colour, hatch, _ = _STYLES[verdict(ratio)]
        axis.barh(row, ratio.median - 1, left=1, height=0.72, color=colour, hatch=hatch, edgecolor="white", lw=0)
        _whisker(axis, row, ratio.low, ratio.high)
        if ratio.median >= 1:
            _number(axis, row, max(1, ratio.high), f"{ratio.median:.2f}")
        else:
            _number(axis, row, min(1, ratio.low), f"{ratio.median:.2f}", left=True)
    shown = [tick for tick in (_FINE_TICKS if limits[1] / limits[0] < 4 else _TICKS) if limits[0] <= tick <= limits[1]]
    axis.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axis.set_xticks([], minor=True)
    _finish(axis, f"{name} / gcnet", "times gcnet's time")


def _shares(axis: Any, results: Sequence[CaseResult]) -> None:
    """Bandwidth of ours as a share of a copy's."""
    shares = [result.share_of_copy for result in results]
    for row, share in enumerate(shares):
        if share is not None:
            axis.barh(row, share.median, height=0.72, color="#009e73")
            _whisker(axis, row, share.low, share.high)
            _number(axis, row, share.high, f"{share.median:.0%}")
    axis.set_xlim(0, 1.25 * max(1.0, *(share.high for share in shares if share is not None)))
    axis.locator_params(axis="x", nbins=4)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _finish(axis, "bandwidth of gcnet", "share of a copy's, least traffic")


def _whisker(axis: Any, row: int, low: float, high: float) -> None:
    axis.plot([low, high], [row, row], color="black", lw=1.2, solid_capstyle="butt")


def _number(axis: Any, row: int, end: float, text: str, *, left: bool = False) -> None:
    offset, side = ((-3, 0), "right") if left else ((3, 0), "left")
    axis.annotate(text, (end, row), xytext=offset, textcoords="offset points", va="center", ha=side, fontsize=7)


def _finish(axis: Any, title: str, label: str) -> None:
    axis.axvline(1, color="black", lw=1)
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(label, fontsize=8)
