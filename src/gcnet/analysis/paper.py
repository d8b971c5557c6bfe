"""Build every row of the paper's tables on the meta device and count it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

import torch
from torch import nn

from gcnet.analysis.cost import cost
from gcnet.analysis.paper_tables import TABLES, PaperRow, PaperTable, Placement
from gcnet.analysis.table import format_table
from gcnet.insertion import insert, remove
from gcnet.models import mask_rcnn, resnet50, slow_only_r50


@dataclass(frozen=True)
class CountedRow:
    """A row of the paper beside what we count.

    Attributes:
        table: name of the table.
        title: what it compares.
        row: label of the row.
        paper: the paper's parameters in millions.
        params: the counted parameters.
        equal: whether ``params``, rounded to the paper's digits, is ``paper``.
        decimals: the paper's digits.
        note: why they differ, empty if equal.
        paper_gflops: the paper's 1e9 multiply-adds of the whole network.
        gmacs: the counted ones.
        paper_delta: ``paper_gflops`` over the baseline; the difference of two printed, rounded figures.
        delta: ``gmacs`` over the baseline.
    """

    table: str
    title: str
    row: str
    paper: float
    params: int
    equal: bool
    decimals: int
    note: str
    paper_gflops: float
    gmacs: float
    paper_delta: float
    delta: float


@dataclass(frozen=True)
class _Probe:
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    gflops: float
    text: str


_PROBES = {
    "coco": _Probe(
        lambda: mask_rcnn(resnet50()),
        (1, 3, 800, 1280),
        279.4,
        "Mask R-CNN R50-FPN, 81 classes, one 1280x800 image, 1000 proposals, 100 masks",
    ),
    "imagenet": _Probe(
        lambda: resnet50(stride_in_1x1=True),
        (1, 3, 224, 224),
        3.86,
        "ResNet-50 with the stride in the first 1x1 convolution, one 224x224 image",
    ),
    "kinetics": _Probe(
        slow_only_r50, (1, 3, 8, 224, 224), 39.29, "slow-only ResNet-50, 400 classes, one clip of 8 frames of 224x224"
    ),
}


@cache
def count_paper() -> tuple[CountedRow, ...]:
    """Count every row of the paper's COCO, ImageNet and Kinetics tables; takes seconds and no memory.

    One host per data set is built on the meta device; the blocks of a row are inserted, counted and removed.

    Example:
        >>> from gcnet.analysis.paper import count_paper
        >>> [row.row for row in count_paper() if not row.equal]
        ['+1 SNL', 'c5', 'avg+scale', 'avg+add', '+all GC']
    """
    with torch.device("meta"):
        hosts = {name: probe.build() for name, probe in _PROBES.items()}
    counted: dict[tuple[str, Placement | None], tuple[int, int]] = {}
    for table in TABLES:
        for placement in (None, *(row.placement for row in table.rows)):
            key = table.network, placement
            if key not in counted:
                counted[key] = _count(hosts[table.network], placement, _PROBES[table.network].shape)
    return tuple(
        _compare(table, row, *counted[table.network, row.placement], counted[table.network, None][1])
        for table in TABLES
        for row in table.rows
    )


def _count(host: nn.Module, placement: Placement | None, shape: tuple[int, ...]) -> tuple[int, int]:
    """Parameters and multiply-adds of the host with the blocks, which are removed again."""
    if placement is not None:
        blocks = dict(placement.blocks) if placement.blocks else None
        insert(host, placement.spec, stages=placement.stages, blocks=blocks, position=placement.position)
    found = cost(host, shape)
    if placement is not None:
        remove(host)
    return found.params, found.macs


def _compare(table: PaperTable, row: PaperRow, params: int, macs: int, baseline: int) -> CountedRow:
    equal = round(params / 1e6, table.decimals) == row.params
    return CountedRow(
        table=table.table,
        title=table.title,
        row=row.row,
        paper=row.params,
        params=params,
        equal=equal,
        decimals=table.decimals,
        note="" if equal else row.note,
        paper_gflops=row.gflops,
        gmacs=macs / 1e9,
        paper_delta=round(row.gflops - _PROBES[table.network].gflops, 2),
        delta=(macs - baseline) / 1e9,
    )


def format_paper(rows: Sequence[CountedRow]) -> str:
    """The rows as ``gcnet cost --paper`` prints them: each table, what differs, and what was counted."""
    tables = [_format_table(list(group)) for _, group in groupby(rows, key=lambda row: row.table)]
    differing = [row for row in rows if not row.equal]
    summary = [
        f"{len(rows) - len(differing)} of {len(rows)} rounded parameter counts are the paper's. These are not (*):",
        *(f"  {row.table} {row.row}: printed {row.paper:.{row.decimals}f}; {row.note}." for row in differing),
    ]
    return "\n\n".join([*tables, "\n".join(summary), _COUNTED])


def _format_table(rows: Sequence[CountedRow]) -> str:
    head = ("", "paper M", "counted M", "", "paper G", "counted G", "paper +G", "counted +G")
    lines = [
        (
            row.row,
            f"{row.paper:.{row.decimals}f}",
            f"{row.params / 1e6:.3f}",
            "" if row.equal else "*",
            f"{row.paper_gflops:.{row.decimals}f}",
            f"{row.gmacs:.3f}",
            f"{row.paper_delta:+.{row.decimals}f}",
            f"{row.delta:+.3f}",
        )
        for row in rows
    ]
    return f"{rows[0].table}: {rows[0].title}\n{format_table(head, lines)}"


_COUNTED = "\n".join(
    (
        "M: parameters in millions. G: multiply-adds in 1e9, one forward pass of",
        *(f"  - {probe.text}" for probe in _PROBES.values()),
        "+G: over the baseline. The paper's are differences of rounded figures, so compare them to 0.1 (COCO) or 0.01.",
        "The paper's multiply-adds are quoted second-hand and unconfirmed. Its absolute figures for COCO and Kinetics",
        "depend on its tool and are not reproduced; ImageNet's are, but for +1 NL (4.125 against 4.11).",
        "Non-local blocks pool their keys 2x2 first, without which +1 NL on COCO would cost 24.8 G. The increment of",
        "+5 NL on Kinetics is not explained.",
    )
)
