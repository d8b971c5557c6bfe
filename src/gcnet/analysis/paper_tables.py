"""The cost columns of the tables of the GCNet paper (arXiv:1904.11492), as data.

Quoted second-hand: the parameters are borne out by counting, the multiply-adds are unconfirmed.
"""

from __future__ import annotations

from dataclasses import dataclass

from gcnet.blocks import BlockSpec, GlobalContext, NonLocal, SimplifiedNonLocal


@dataclass(frozen=True)
class Placement:
    """The blocks of a row: in every residual block of ``stages``, or in those of ``blocks``, (stage, indices) each."""

    spec: BlockSpec
    stages: tuple[str, ...] = ("c3", "c4", "c5")
    blocks: tuple[tuple[str, tuple[int, ...]], ...] | None = None
    position: str = "after_1x1"


@dataclass(frozen=True)
class PaperRow:
    """One printed row.

    Attributes:
        row: its label.
        params: millions of parameters.
        gflops: 1e9 multiply-adds of the whole network, as printed.
        placement: the blocks; None for the baseline.
        note: why ``params`` is not the counted figure, empty where it is.
    """

    row: str
    params: float
    gflops: float
    placement: Placement | None = None
    note: str = ""


@dataclass(frozen=True)
class PaperTable:
    """One printed table.

    Attributes:
        table: its name here.
        title: what it compares.
        network: ``"coco"`` (Mask R-CNN R50-FPN), ``"imagenet"`` (R50) or ``"kinetics"`` (slow-only R50).
        decimals: printed digits of ``params``.
        rows: from top to bottom.
    """

    table: str
    title: str
    network: str
    decimals: int
    rows: tuple[PaperRow, ...]


def _gc(ratio: float = 1 / 16, *, position: str = "after_1x1", **options: object) -> Placement:
    """GC in every residual block of c3 to c5."""
    return Placement(GlobalContext.spec(ratio=ratio, init="published", **options), position=position)


def _in(stage: str) -> Placement:
    return Placement(_gc().spec, (stage,))


def _one(spec: BlockSpec) -> Placement:
    """Right before the last residual block of c4."""
    return Placement(spec, ("c4",), (("c4", (-2,)),), "after_block")


def _five(spec: BlockSpec) -> Placement:
    """Behind every second residual block of c3 and c4."""
    return Placement(spec, ("c3", "c4"), (("c3", (1, 3)), ("c4", (1, 3, 5))), "after_block")


_NL = NonLocal.spec(init="published", subsample="before")
_NL_VIDEO = NonLocal.spec(init="published", subsample="before", subsample_size=(1, 2, 2), norm=True)
_SNL = SimplifiedNonLocal.spec(init="published")
_AVERAGE = "counted 28.064 (28.063 without LayerNorm), as an average needs no key layer"

TABLES = (
    PaperTable(
        "COCO (a)",
        "block design",
        "coco",
        1,
        (
            PaperRow("baseline", 44.4, 279.4),
            PaperRow("+1 NL", 46.5, 288.7, _one(_NL)),
            PaperRow("+1 SNL", 45.4, 279.4, _one(_SNL), "counted 45.451, which rounds to 45.5 and cuts off to 45.4"),
            PaperRow("+1 GC", 44.5, 279.4, _one(_gc().spec)),
            PaperRow("+all GC", 46.9, 279.6, _gc()),
        ),
    ),
    PaperTable(
        "COCO (b)",
        "positions",
        "coco",
        1,
        (
            PaperRow("afterAdd", 46.9, 279.6, _gc(position="after_add")),
            PaperRow("after1x1", 46.9, 279.6, _gc()),
        ),
    ),
    PaperTable(
        "COCO (c)",
        "stages",
        "coco",
        1,
        (
            PaperRow("c3", 44.5, 279.5, _in("c3")),
            PaperRow("c4", 45.2, 279.5, _in("c4")),
            PaperRow("c5", 45.9, 279.4, _in("c5"), "counted 45.987, which rounds to 46.0 and cuts off to 45.9"),
            PaperRow("c3+c4+c5", 46.9, 279.6, _gc()),
        ),
    ),
    PaperTable(
        "COCO (d)",
        "bottleneck design",
        "coco",
        1,
        (
            PaperRow("w/o ratio", 64.4, 279.6, Placement(GlobalContext.spec(ratio=None, init="published"))),
            PaperRow("r16", 46.9, 279.6, _gc(norm=False, relu=False)),
            PaperRow("r16+ReLU", 46.9, 279.6, _gc(norm=False)),
            PaperRow("r16+LN+ReLU", 46.9, 279.6, _gc()),
        ),
    ),
    PaperTable(
        "COCO (e)",
        "bottleneck ratio",
        "coco",
        1,
        (
            PaperRow("r4", 54.4, 279.6, _gc(1 / 4)),
            PaperRow("r8", 49.4, 279.6, _gc(1 / 8)),
            PaperRow("r16", 46.9, 279.6, _gc()),
            PaperRow("r32", 45.7, 279.5, _gc(1 / 32)),
        ),
    ),
    PaperTable(
        "COCO (f)",
        "pooling and fusion",
        "coco",
        1,
        (
            PaperRow("avg+scale", 46.9, 279.5, _gc(pooling="average", fusion=("scale",))),
            PaperRow("avg+add", 46.9, 279.5, _gc(pooling="average")),
            PaperRow("att+scale", 46.9, 279.6, _gc(fusion=("scale",))),
            PaperRow("att+add", 46.9, 279.6, _gc()),
        ),
    ),
    PaperTable(
        "ImageNet (a)",
        "block design",
        "imagenet",
        2,
        (
            PaperRow("baseline", 25.56, 3.86),
            PaperRow("+1 NL", 27.66, 4.11, _one(_NL)),
            PaperRow("+1 SNL", 26.61, 3.86, _one(_SNL)),
            PaperRow("+1 GC", 25.69, 3.86, _one(_gc().spec)),
            PaperRow("+all GC", 28.08, 3.87, _gc()),
        ),
    ),
    PaperTable(
        "ImageNet (b)",
        "pooling and fusion",
        "imagenet",
        2,
        (
            PaperRow("baseline", 25.56, 3.86),
            PaperRow("avg+scale", 28.07, 3.87, _gc(pooling="average", fusion=("scale",)), _AVERAGE),
            PaperRow("avg+add", 28.07, 3.87, _gc(pooling="average"), _AVERAGE),
            PaperRow("att+scale", 28.08, 3.87, _gc(fusion=("scale",))),
            PaperRow("att+add", 28.08, 3.87, _gc()),
        ),
    ),
    PaperTable(
        "Kinetics",
        "block design",
        "kinetics",
        2,
        (
            PaperRow("baseline", 32.45, 39.29),
            PaperRow("+5 NL", 39.81, 59.60, _five(_NL_VIDEO)),
            PaperRow("+5 SNL", 36.13, 39.32, _five(_SNL)),
            PaperRow("+5 GC", 34.30, 39.31, _five(_gc(1 / 4).spec)),
            PaperRow(
                "+all GC", 42.45, 39.35, _gc(1 / 4), "counted 42.455, which rounds to 42.46 and cuts off to 42.45"
            ),
        ),
    ),
)
