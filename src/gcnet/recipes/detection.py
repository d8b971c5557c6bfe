"""A detector on any images in COCO's format, at a size that a CPU can train."""

from __future__ import annotations

from pathlib import Path

from gcnet.recipes.table import Recipe
from gcnet.training.detection.config import DetectionConfig


def detection(data: Path) -> DetectionConfig:
    """Mask R-CNN with a narrow pyramid on ResNet-18 with GC blocks in c4 and c5, from scratch, short side 256.

    Weights of ImageNet, ``--weights pretrained --norm fixed --frozen stem,c2``, help wherever they can be downloaded.

    Args:
        data: folder with annotations/instances_train*.json, annotations/instances_val*.json and folders of images.

    Example:
        >>> detection(Path("shelves")).image_size
        (256,)
    """
    return DetectionConfig(
        data=data,
        backbone="torchvision:resnet18",
        block="gc",
        ratio=1 / 4,
        stages=("c4", "c5"),
        image_size=(256,),
        max_size=448,
        channels=64,
        proposals=200,
        rois=128,
        epochs=20,
        batch_size=4,
        lr=5e-4,
        weight_decay=0.01,
        warmup=1.0,
        clip=10.0,
    )


RECIPES = (Recipe(make=detection, data="COCO's format", hardware="2 CPU cores"),)
