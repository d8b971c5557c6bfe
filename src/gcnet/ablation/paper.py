"""The tables of the GCNet paper (arXiv:1904.11492) as data, by the names of our variants.

Scores are here; parameters and multiply-adds come from :mod:`gcnet.analysis.paper_tables`. Every figure has its status:
"C" read in the authors' public repository, "A" counted from the architecture, "P" listed alike by a third party, "M"
quoted from memory, a target and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gcnet.analysis.paper_tables import TABLES as COSTS
from gcnet.analysis.paper_tables import PaperRow as CostRow


class Figure(NamedTuple):
    """A printed figure and how sure it is."""

    value: float
    status: str

    @property
    def sure(self) -> bool:
        """Whether it is confirmed or counted."""
        return self.status in ("C", "A")


@dataclass(frozen=True)
class PublishedRow:
    """One row.

    Attributes:
        variant: name of our variant.
        label: printed label.
        scores: name of the score -> points.
        params: millions of parameters.
        gflops: 1e9 multiply-adds of the whole network.
    """

    variant: str
    label: str
    scores: Mapping[str, Figure]
    params: Figure
    gflops: Figure


@dataclass(frozen=True)
class PublishedTable:
    """One table.

    Attributes:
        name: of the table that it stands beside, such as "block".
        printed: the paper's own, such as "COCO (a)".
        data: what it was measured on, with the network.
        scores: names of its scores; the first is the main one.
        decimals: printed digits of scores, parameters and multiply-adds.
        rows: by our variant, the baseline first.
        note: how it differs from ours; empty for nothing.
    """

    name: str
    printed: str
    data: str
    scores: tuple[str, ...]
    decimals: int
    rows: Mapping[str, PublishedRow]
    note: str = ""


_SCORES = {
    "coco": ("box AP", "mask AP"),
    "imagenet": ("top-1", "top-5"),
    "kinetics": ("top-1", "top-5"),
}
_DATA = {
    "coco": "COCO, Mask R-CNN R50-FPN",
    "imagenet": "ImageNet, ResNet-50",
    "kinetics": "Kinetics-400, slow-only R50",
}
_COCO_BASE = ("none", "baseline", 37.2, 33.8, "C")
_COCO_GC = (39.4, 35.7, "C")
_IMAGENET_BASE = ("none", "baseline", 76.88, 93.16, "M")

_Row = tuple[str, str, float, float, str]

#: Name of our table -> network -> the printed table, and per row: variant, printed label, two scores, their status.
_PRINTED: dict[str, dict[str, tuple[str, tuple[_Row, ...]]]] = {
    "block": {
        "coco": (
            "COCO (a)",
            (
                _COCO_BASE,
                ("1-nl", "+1 NL", 38.0, 34.7, "M"),
                ("1-snl", "+1 SNL", 38.1, 35.0, "M"),
                ("1-gc", "+1 GC", 38.1, 34.9, "M"),
                ("gc", "+all GC", *_COCO_GC),
            ),
        ),
        "imagenet": (
            "ImageNet (a)",
            (
                _IMAGENET_BASE,
                ("1-nl", "+1 NL", 77.20, 93.51, "M"),
                ("1-snl", "+1 SNL", 77.28, 93.60, "M"),
                ("1-gc", "+1 GC", 77.34, 93.52, "M"),
                ("gc", "+all GC", 77.70, 93.66, "P"),
            ),
        ),
        "kinetics": (
            "Kinetics",
            (
                ("none", "baseline", 74.94, 91.90, "M"),
                ("1-nl", "+5 NL", 75.95, 92.29, "M"),
                ("1-snl", "+5 SNL", 75.76, 92.44, "M"),
                ("1-gc", "+5 GC", 75.85, 92.25, "M"),
                ("gc", "+all GC", 76.00, 92.34, "M"),
            ),
        ),
    },
    "position": {
        "coco": (
            "COCO (b)",
            (
                _COCO_BASE,
                ("after_add", "afterAdd", 39.4, 35.8, "M"),
                ("gc", "after1x1", *_COCO_GC),
            ),
        ),
    },
    "stage": {
        "coco": (
            "COCO (c)",
            (
                _COCO_BASE,
                ("c3", "c3", 37.9, 34.5, "M"),
                ("c4", "c4", 38.9, 35.5, "M"),
                ("c5", "c5", 38.7, 35.2, "M"),
                ("gc", "c3+c4+c5", *_COCO_GC),
            ),
        ),
    },
    "bottleneck": {
        "coco": (
            "COCO (d)",
            (
                _COCO_BASE,
                ("no-ratio", "w/o ratio", 39.4, 35.9, "M"),
                ("r16", "r16", 38.8, 35.3, "M"),
                ("r16-relu", "r16+ReLU", 38.8, 35.4, "M"),
                ("gc", "r16+LN+ReLU", *_COCO_GC),
            ),
        ),
    },
    "ratio": {
        "coco": (
            "COCO (e)",
            (
                _COCO_BASE,
                ("r4", "r4", 39.9, 36.2, "C"),
                ("r8", "r8", 39.5, 35.9, "M"),
                ("gc", "r16", *_COCO_GC),
                ("r32", "r32", 39.1, 35.7, "M"),
            ),
        ),
    },
    "fusion": {
        "coco": (
            "COCO (f)",
            (
                _COCO_BASE,
                ("avg-scale", "avg+scale", 38.2, 34.9, "M"),
                ("avg-add", "avg+add", 39.1, 35.6, "M"),
                ("att-scale", "att+scale", 38.3, 35.2, "M"),
                ("gc", "att+add", *_COCO_GC),
            ),
        ),
        "imagenet": (
            "ImageNet (b)",
            (
                _IMAGENET_BASE,
                ("avg-scale", "avg+scale", 77.26, 93.55, "M"),
                ("avg-add", "avg+add", 77.40, 93.60, "M"),
                ("att-scale", "att+scale", 77.34, 93.48, "M"),
                ("gc", "att+add", 77.70, 93.66, "P"),
            ),
        ),
    },
}

_KINETICS_NOTE = (
    "Where one block is put here, the paper's video networks have five, behind every second residual block of c3 and "
    "c4; its GC has ratio 1/4 there."
)

#: Network whose table is compared first with a task, where the paper has one.
_NETWORKS = {"classification": "imagenet", "video": "kinetics"}


def published(table: str, task: str) -> PublishedTable | None:
    """The paper's table that stands beside one of ours.

    Classification is compared with ImageNet and video with Kinetics where the paper has the table on them, and
    everything else with COCO, Mask R-CNN on a SyncBN backbone.

    Args:
        table: ``paper`` of the table: block, position, stage, bottleneck, ratio or fusion; empty for none.
        task: classification, detection, segmentation or video.

    Raises:
        ValueError: a table that the paper does not have.

    Example:
        >>> found = published("fusion", "classification")
        >>> found.printed, found.rows["gc"].scores["top-1"]
        ('ImageNet (b)', Figure(value=77.7, status='P'))
        >>> published("ratio", "classification").rows["r4"].params
        Figure(value=54.4, status='A')
    """
    if not table:
        return None
    if table not in _PRINTED:
        raise ValueError(f"paper={table!r}: the paper has the tables {', '.join(_PRINTED)}; leave it empty for none")
    networks = _PRINTED[table]
    network = _NETWORKS.get(task, "coco")
    network = network if network in networks else "coco"
    printed, rows = networks[network]
    scores = _SCORES[network]
    return PublishedTable(
        table,
        printed,
        _DATA[network],
        scores,
        1 if network == "coco" else 2,
        {row[0]: _published_row(printed, network, row) for row in rows},
        _KINETICS_NOTE if network == "kinetics" else "",
    )


def _published_row(printed: str, network: str, row: _Row) -> PublishedRow:
    variant, label, first, second, status = row
    # A third party lists the main score alone.
    statuses = (status, "M" if status == "P" else status)
    scores = {
        name: Figure(value, each) for name, value, each in zip(_SCORES[network], (first, second), statuses, strict=True)
    }
    costs = _cost_row(printed, network, label)
    params = Figure(costs.params, "M" if costs.note else "A")
    counted = network == "imagenet" and variant != "1-nl"  # which counts to 4.12 or 4.13, not the quoted 4.11
    return PublishedRow(variant, label, scores, params, Figure(costs.gflops, "A" if counted else "M"))


def _cost_row(printed: str, network: str, label: str) -> CostRow:
    """The row of that label; a baseline that the table does not repeat is in the network's first one."""
    tables = [table for table in COSTS if table.table == printed or table.network == network]
    tables.sort(key=lambda table: table.table != printed)
    return next(row for table in tables for row in table.rows if row.row == label)
