"""Mask R-CNN with a feature pyramid on COCO 2017: the GCNet paper (arXiv:1904.11492) and its README.

Settings and scores are confirmed in https://github.com/xvjiarui/GCNet (configs/gcnet, README.md): 8 V100 with 2 images
each, SGD at 0.02, drops after 8 and 11 epochs of 12 (1x) or 16 and 22 of 24 (2x), 500 steps of warm-up from a third,
gradients clipped at 35, images of 1333x800, stem and c2 frozen, ImageNet weights without blocks, mmdetection 1.x. The
tables of the paper are of synchronised norms, 1x. The README warns that these runs can drop to zero AP in the middle
and recover late.

What differs: torchvision's loss of the boxes of the second stage has beta 1/9 (there 1), and anchors that reach beyond
the image train as well (there not).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from gcnet.blocks.base import check_choice
from gcnet.recipes.published_blocks import GC_R4, GC_R16, NONE
from gcnet.recipes.table import Recipe
from gcnet.training.detection.config import DetectionConfig

_RESNEXT = "https://download.openmmlab.com/pretrain/third_party/resnext101_32x4d-a5af3160.pth"
_BACKBONES = {
    "r50": ("ResNet-50", "torchvision:resnet50", "pretrained:IMAGENET1K_V1"),
    "r101": ("ResNet-101", "torchvision:resnet101", "pretrained:IMAGENET1K_V1"),
    "x101": ("ResNeXt-101 32x4d", "gcnet:resnext101_32x4d", _RESNEXT),
}


def coco(data: Path, *, backbone: str = "r50", norm: str = "sync", epochs: int = 12, **blocks: Any) -> DetectionConfig:
    """Mask R-CNN FPN with GC blocks in c3 to c5, as published.

    ``gcnet train coco-r50-gc-r16-sync-1x --data COCO`` on 8 GPUs with 2 images each: 39.4 box AP, 35.7 mask AP, and
    37.2 and 33.8 without blocks. On another number of GPUs the rate is scaled.

    Args:
        data: folder with annotations/, train2017/ and val2017/.
        backbone: r50, r101 or x101.
        norm: fixed or sync.
        epochs: 12 (1x) or 24 (2x).
        blocks: fields about blocks; GC of ratio 1/16 by default.

    Example:
        >>> config = coco(Path("coco"), epochs=24)
        >>> config.milestones, config.norm, config.frozen, config.ratio
        ((16, 22), 'sync', ('stem', 'c2'), 0.0625)
    """
    check_choice("backbone", backbone, _BACKBONES)
    _, name, weights = _BACKBONES[backbone]
    return DetectionConfig(
        data=data,
        backbone=name,
        weights=weights,
        **(blocks or GC_R16),
        norm=norm,
        frozen=("stem", "c2"),
        conventions="mmdetection1",
        image_size=(800,),
        max_size=1333,
        on_broken="skip",  # train2017 has two boxes without height, of the images 200365 and 550395
        keep_empty=False,
        epochs=epochs,
        batch_size=2,
        optimizer="sgd",
        lr=0.02,
        lr_batch=16,
        weight_decay=1e-4,
        decay_all=True,
        schedule="steps",
        milestones=(epochs * 2 // 3, epochs * 11 // 12),
        warmup_steps=500,
        warmup_start=1 / 3,
        clip=35.0,
        workers=4,
        precision="32-true",
    )


#: Backbone, norm, epochs -> box and mask AP without blocks, with r16 and with r4.
_SCORES: dict[tuple[str, str, int], tuple[tuple[float, float], ...]] = {
    ("r50", "fixed", 12): ((37.3, 34.2), (38.5, 35.1), (38.9, 35.5)),
    ("r50", "fixed", 24): ((38.2, 34.9), (39.7, 36.1), (40.0, 36.2)),
    ("r50", "sync", 12): ((37.2, 33.8), (39.4, 35.7), (39.9, 36.2)),
    ("r50", "sync", 24): ((37.7, 34.3), (39.7, 36.0), (40.2, 36.3)),
    ("r101", "fixed", 12): ((39.4, 35.9), (40.8, 37.0), (40.8, 36.9)),
    ("r101", "sync", 12): ((39.8, 36.0), (41.1, 37.4), (41.7, 37.6)),
    ("x101", "sync", 12): ((41.2, 37.3), (42.4, 38.0), (42.9, 38.5)),
}
_BLOCKS = {
    "plain": ("no blocks", NONE),
    "gc-r16": ("GC r16 in c3 to c5", GC_R16),
    "gc-r4": ("GC r4 in c3 to c5", GC_R4),
}

RECIPES = tuple(
    Recipe(
        make=partial(coco, backbone=backbone, norm=norm, epochs=epochs, **blocks),
        name=f"coco-{backbone}-{name}-{norm}-{epochs // 12}x",
        summary=f"Mask R-CNN {_BACKBONES[backbone][0]} FPN, {what}, {norm} norms, {epochs} epochs",
        data="COCO 2017",
        published={"box AP": box, "mask AP": mask},
        source="README of xvjiarui/GCNet (confirmed)",
        hardware="8 GPUs, 2 images each",
    )
    for (backbone, norm, epochs), scores in _SCORES.items()
    for (name, (what, blocks)), (box, mask) in zip(_BLOCKS.items(), scores, strict=True)
)
