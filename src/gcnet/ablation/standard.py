"""The six tables of the GCNet paper as differences to one plain network, for any task with a ResNet-like backbone."""

from __future__ import annotations

from typing import Any

from gcnet.ablation.table import Table, Variant

Fields = dict[str, Any]

STAGES = ("c3", "c4", "c5")


def everywhere(block: str = "gc", ratio: float | None = 1 / 16, options: tuple[str, ...] = (), **fields: Any) -> Fields:
    """In every residual block of c3, c4 and c5, before the shortcut is added, started as published.

    Example:
        >>> everywhere("se")["stages"]
        ('c3', 'c4', 'c5')
    """
    where: Fields = {"stages": STAGES, "position": "after_1x1", "init": "published"}
    return {"block": block, "ratio": ratio, "block_options": options, **where, **fields}


def single(block: str, ratio: float | None = None) -> Fields:
    """One block right before the last residual block of c4.

    Example:
        >>> single("nl")["blocks"]
        ('c4:-2',)
    """
    return {"block": block, "ratio": ratio, "blocks": ("c4:-2",), "position": "after_block", "init": "published"}


def _fusing(pooling: str, *fusion: str) -> Fields:
    return everywhere(options=(f"pooling={pooling}", f"fusion={fusion}"))


NONE: Fields = {"block": "none"}
BASELINE = Variant("none", "baseline", NONE)

BLOCK = Table(
    "block",
    "Block design",
    (
        BASELINE,
        Variant("1-nl", "+1 NL", single("nl")),
        Variant("1-snl", "+1 SNL", single("snl")),
        Variant("1-gc", "+1 GC", single("gc", 1 / 16)),
        Variant("gc", "+all GC", everywhere()),
        Variant("se", "+all SE", everywhere("se")),
        Variant("cbam", "+all CBAM", everywhere("cbam")),
        Variant("bam", "+BAM after c2, c3, c4", {**single("bam", 1 / 16), "blocks": ("c2:-1", "c3:-1", "c4:-1")}),
        Variant("scse", "+all scSE", everywhere("scse", None)),
        Variant("sk", "+all SK", everywhere("sk", position="after_3x3")),
    ),
    baseline="none",
    paper="block",
    note="SK is put after the 3x3 convolution here, where SKNet has it in its place: it adds convolutions.",
)

POSITION = Table(
    "position",
    "Position in the residual block",
    (
        BASELINE,
        Variant("after_add", "after add", everywhere(position="after_add")),
        Variant("gc", "after 1x1", everywhere()),
        Variant("after_3x3", "after 3x3, as wide inside", everywhere(ratio=1 / 4, position="after_3x3")),
    ),
    baseline="none",
    paper="position",
)

STAGE = Table(
    "stage",
    "Stages",
    (
        BASELINE,
        *(Variant(stage, stage, everywhere(stages=(stage,))) for stage in STAGES),
        Variant("gc", "c3+c4+c5", everywhere()),
    ),
    baseline="none",
    paper="stage",
)

BOTTLENECK = Table(
    "bottleneck",
    "Bottleneck design",
    (
        BASELINE,
        Variant("no-ratio", "without ratio (SNL)", everywhere("snl", None)),
        Variant("r16", "r16", everywhere(options=("norm=False", "relu=False"))),
        Variant("r16-relu", "r16 + ReLU", everywhere(options=("norm=False",))),
        Variant("gc", "r16 + LN + ReLU", everywhere()),
    ),
    baseline="none",
    paper="bottleneck",
)

RATIO = Table(
    "ratio",
    "Bottleneck ratio",
    (
        BASELINE,
        *(Variant("gc" if r == 16 else f"r{r}", f"r = {r}", everywhere(ratio=1 / r)) for r in (4, 8, 16, 32)),
    ),
    baseline="none",
    paper="ratio",
)

FUSION = Table(
    "fusion",
    "Pooling and fusion",
    (
        BASELINE,
        Variant("avg-scale", "average pooling, scale (SE-like)", _fusing("average", "scale")),
        Variant("avg-add", "average pooling, add", _fusing("average", "add")),
        Variant("avg-both", "average pooling, scale and add", _fusing("average", "add", "scale")),
        Variant("att-scale", "attention pooling, scale", _fusing("attention", "scale")),
        Variant("gc", "attention pooling, add (GC)", everywhere()),
        Variant("att-both", "attention pooling, scale and add", _fusing("attention", "add", "scale")),
    ),
    baseline="none",
    paper="fusion",
)

#: By name, in the order of the paper.
TABLES = {table.name: table for table in (BLOCK, POSITION, STAGE, BOTTLENECK, RATIO, FUSION)}
