"""Labelling the pixels of any images with PNG masks, at a size that a CPU can train."""

from __future__ import annotations

from pathlib import Path

from gcnet.recipes.table import Recipe
from gcnet.training.segmentation.config import SegmentationConfig


def segmentation(data: Path) -> SegmentationConfig:
    """FCN on ResNet-18 of output stride 16 with GC blocks in c4 and c5, from scratch, crops of 192 pixels.

    Weights of ImageNet, ``--weights pretrained``, help wherever they can be downloaded.

    Args:
        data: folder of images and masks, such as train/images, train/masks, val/images, val/masks.

    Example:
        >>> segmentation(Path("fields")).crop_size
        (192, 192)
    """
    return SegmentationConfig(
        data=data,
        backbone="torchvision:resnet18",
        head="fcn",
        output_stride=16,
        block="gc",
        ratio=1 / 4,
        stages=("c4", "c5"),
        resize=256,
        crop_size=(192, 192),
        scale=(0.75, 1.5),
        epochs=30,
        batch_size=8,
        lr=1e-3,
        weight_decay=0.01,
        warmup=1.0,
    )


RECIPES = (Recipe(make=segmentation, data="images and PNG masks", hardware="2 CPU cores"),)
