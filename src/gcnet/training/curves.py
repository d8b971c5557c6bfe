"""Learning curves as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by everyone
MARKERS = "os^Dv<>"


def draw_curves(path: Path, history: Sequence[Mapping[str, float]], score: str) -> None:
    """Losses on the left, scores on the right, after every epoch; ``score`` is drawn strongest.

    Args:
        path: of the picture.
        history: a dict per epoch: ``epoch``, and values whose names say what they are (``train_loss``, ``val_top1``).
        score: the score by which the best epoch is chosen.
    """
    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    losses, scores = figure.subplots(1, 2)
    names = sorted({name for epoch in history for name in epoch if name != "epoch"}, key=lambda name: name != score)
    is_loss = {name: "loss" in name for name in names}
    for axes, drawn in ((losses, [n for n in names if is_loss[n]]), (scores, [n for n in names if not is_loss[n]])):
        for name, colour, marker in zip(drawn, COLOURS, MARKERS, strict=False):
            points = [(epoch["epoch"], epoch[name]) for epoch in history if name in epoch]
            width = 2.5 if name == score else 1.2
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, ms=4, lw=width, label=name)
        axes.set_xlim(history[0]["epoch"] - 0.5, history[-1]["epoch"] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=8)
    losses.set_ylabel("loss")
    scores.set(ylabel="validation score", ylim=(0, 1.03))
    figure.savefig(path)
