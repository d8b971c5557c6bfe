"""Cityscapes: FCN on dilated ResNets with GC blocks, for 40,000 and 80,000 steps at 512x1024.

The settings are those of https://github.com/open-mmlab/mmsegmentation (configs/_base_, configs/gcnet) for 8 images per
step: SGD at 0.01, weight decay 5e-4 on every parameter, a polynomial of power 0.9, crops of 512x1024 from images scaled
by 0.5 to 2, in which no class has over 75 % of the pixels, mirror and photometric distortion, an auxiliary FCN head of
weight 0.4, output stride 8, synchronised norms, weights of ImageNet. Scores are of whole validation images.

Its GC results are of a GC *head* on a plain ResNet: 77.69 mIoU with R50 after 40k steps, 78.48 after 80k, 78.28 and
79.03 with R101. For blocks in the backbone, as the GCNet paper has them, there is no published figure. Further
differences: torchvision's ResNet and FCN head (one 3x3 convolution) stand in for a ResNet with a deeper stem and a head
of two; the rate ends at 0 rather than at 1e-4.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gcnet.recipes.table import Recipe
from gcnet.training.segmentation.config import SegmentationConfig

TRAINING_IMAGES = 2975
IMAGES_PER_STEP = 8


def cityscapes_fcn_r50_gc_40k(data: Path) -> SegmentationConfig:
    """FCN on ResNet-50 with GC blocks of ratio 1/4 in c3 to c5, 108 epochs (40,068 steps), 4 GPUs with 2 images each.

    Args:
        data: folder with leftImg8bit/ and gtFine/ as published.

    Example:
        >>> config = cityscapes_fcn_r50_gc_40k(Path("cityscapes"))
        >>> config.epochs * (TRAINING_IMAGES // IMAGES_PER_STEP)
        40068
    """
    return SegmentationConfig(
        data=data,
        labels="cityscapes_ids",
        backbone="torchvision:resnet50",
        weights="pretrained:IMAGENET1K_V1",
        head="fcn",
        output_stride=8,
        auxiliary=0.4,
        block="gc",
        ratio=1 / 4,
        stages=("c3", "c4", "c5"),
        norm="sync",
        crop_size=(512, 1024),
        max_class_share=0.75,
        scale=(0.5, 2.0),
        mirror=0.5,
        colour_jitter=True,
        epochs=108,
        batch_size=2,
        devices=4,
        optimizer="sgd",
        lr=0.01,
        lr_batch=IMAGES_PER_STEP,
        momentum=0.9,
        weight_decay=5e-4,
        decay_all=True,
        schedule="poly",
    )


def cityscapes_fcn_r50_gc_80k(data: Path) -> SegmentationConfig:
    """FCN on ResNet-50 with GC blocks of ratio 1/4 in c3 to c5, 216 epochs (80,136 steps).

    Example:
        >>> cityscapes_fcn_r50_gc_80k(Path("cityscapes")).epochs
        216
    """
    return replace(cityscapes_fcn_r50_gc_40k(data), epochs=216)


def cityscapes_fcn_r101_gc_40k(data: Path) -> SegmentationConfig:
    """FCN on ResNet-101 with GC blocks of ratio 1/4 in c3 to c5, 108 epochs.

    Example:
        >>> cityscapes_fcn_r101_gc_40k(Path("cityscapes")).backbone
        'torchvision:resnet101'
    """
    return replace(cityscapes_fcn_r50_gc_40k(data), backbone="torchvision:resnet101")


def cityscapes_fcn_r101_gc_80k(data: Path) -> SegmentationConfig:
    """FCN on ResNet-101 with GC blocks of ratio 1/4 in c3 to c5, 216 epochs.

    Example:
        >>> cityscapes_fcn_r101_gc_80k(Path("cityscapes")).epochs
        216
    """
    return replace(cityscapes_fcn_r101_gc_40k(data), epochs=216)


RECIPES = tuple(
    Recipe(
        make=make,
        data="Cityscapes",
        published={"mIoU": miou},
        source="README of open-mmlab/mmsegmentation (confirmed), of a GC head; none for blocks in the backbone",
        hardware="4 GPUs, 2 images each",
    )
    for make, miou in (
        (cityscapes_fcn_r50_gc_40k, 77.69),
        (cityscapes_fcn_r50_gc_80k, 78.48),
        (cityscapes_fcn_r101_gc_40k, 78.28),
        (cityscapes_fcn_r101_gc_80k, 79.03),
    )
)
