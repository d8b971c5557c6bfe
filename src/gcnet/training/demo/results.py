"""Scores of the demonstration: one per training, and their mean and spread per variant."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Result:
    """One training.

    Attributes:
        block: name of the variant.
        seed: its seed.
        miou: mean of ``iou``, after the last epoch.
        iou: intersection over union per class, over all validation pixels.
        parameters: of the network with its blocks.
        seconds: wall-clock time of the training with its validation.
        history: mIoU after each epoch.
    """

    block: str
    seed: int
    miou: float
    iou: dict[str, float]
    parameters: int
    seconds: float
    history: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All trainings of one variant; spreads are sample standard deviations, None for a single seed."""

    block: str
    seeds: int
    parameters: int
    miou: float
    miou_spread: float | None
    iou: dict[str, float]
    seconds: float


def summarise(results: Sequence[Result]) -> list[Summary]:
    """One summary per variant, in the order in which variants first appear.

    Example:
        >>> runs = [
        ...     Result(block="gc", seed=s, miou=m, iou={"digit": m}, parameters=1, seconds=1.0, history=(m,))
        ...     for s, m in enumerate((0.5, 0.7))
        ... ]
        >>> summarise(runs)[0].miou, round(summarise(runs)[0].miou_spread, 3)
        (0.6, 0.141)
    """
    summaries = []
    for name in dict.fromkeys(result.block for result in results):
        runs = [result for result in results if result.block == name]
        summaries.append(
            Summary(
                block=name,
                seeds=len(runs),
                parameters=runs[0].parameters,
                miou=statistics.mean(run.miou for run in runs),
                miou_spread=statistics.stdev(run.miou for run in runs) if len(runs) > 1 else None,
                iou={key: statistics.mean(run.iou[key] for run in runs) for key in runs[0].iou},
                seconds=statistics.mean(run.seconds for run in runs),
            )
        )
    return summaries


def table_rows(summaries: Sequence[Summary]) -> list[list[str]]:
    """Header and rows of the table of scores, as text."""
    header = ["block", "parameters", "mIoU", *(f"IoU {name}" for name in summaries[0].iou), "seconds"]
    rows = [header]
    for summary in summaries:
        spread = "" if summary.miou_spread is None else f" ± {summary.miou_spread:.3f}"
        scores = (f"{value:.3f}" for value in summary.iou.values())
        rows.append(
            [summary.block, f"{summary.parameters:,}", f"{summary.miou:.3f}{spread}", *scores, f"{summary.seconds:.0f}"]
        )
    return rows


def print_table(summaries: Sequence[Summary]) -> None:
    """Print the scores side by side."""
    rows = table_rows(summaries)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print()
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    if summaries[0].seeds > 1:
        print(f"Means over {summaries[0].seeds} seeds, ± sample standard deviation.")
    print()
