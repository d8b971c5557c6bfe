"""Learning curves as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def classification_curves(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Losses on the left, top-1 (and top-5) on the right, after every epoch."""
    figure = Figure(figsize=(9, 3.4), dpi=110, layout="constrained")
    losses, scores = figure.subplots(1, 2)
    epochs = [epoch["epoch"] for epoch in history]
    for axes, name, label, colour, marker in (
        (losses, "train_loss", "training (augmented, smoothed labels)", "#000000", "o"),
        (losses, "val_loss", "validation", "#d55e00", "s"),
        (scores, "val_top1", "top-1", "#d55e00", "s"),
        (scores, "val_top5", "top-5", "#0072b2", "^"),
    ):
        if name in history[0]:
            values = [epoch[name] for epoch in history]
            axes.plot(epochs, values, color=colour, marker=marker, markersize=4, label=label)
    losses.set(xlabel="epoch", ylabel="cross-entropy")
    scores.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
    scores.yaxis.set_major_formatter("{x:.0%}")
    for axes in (losses, scores):
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    figure.savefig(path)
