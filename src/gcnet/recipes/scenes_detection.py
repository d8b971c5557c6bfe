"""Detection of digits in context scenes, at a size that a CPU can train."""

from __future__ import annotations

from pathlib import Path

from gcnet.recipes.table import Recipe
from gcnet.training.detection.config import DetectionConfig
from gcnet.training.scenes.detection import DetectionScenes


def scenes_detection(data: Path) -> DetectionConfig:
    """Small Mask R-CNN on ResNet-18 with GC blocks in c3 to c5: digits darker or brighter than their scene's average.

    Args:
        data: what ``gcnet data make scenes --task detection`` wrote.

    Example:
        >>> scenes_detection(Path("scenes")).anchor_scale
        6.0
    """
    return DetectionConfig(
        data=data,
        backbone="torchvision:resnet18",
        block="gc",
        ratio=1 / 4,
        stages=("c3", "c4", "c5"),
        image_size=(96,),
        max_size=96,
        channels=32,
        anchor_scale=6.0,
        proposals=50,
        rois=32,
        max_detections=20,
        epochs=6,
        batch_size=8,
        lr=1e-3,
        weight_decay=0.05,
        warmup=0.5,
        threads=1,  # two are several times slower beside other work
        clip=10.0,
    )


RECIPES = (
    Recipe(
        make=scenes_detection,
        data="context scenes",
        hardware="2 CPU cores",
        scenes=DetectionScenes(train=1000, val=100, size=64, digits=8),
    ),
)
