"""A classifier on any folder of images, at a size that a CPU can train."""

from __future__ import annotations

from pathlib import Path

from gcnet.recipes.table import Recipe
from gcnet.training.classification.config import ClassificationConfig


def classification(data: Path) -> ClassificationConfig:
    """ResNet-18 with a GC block in every residual block of c3, c4 and c5, from scratch, at 96 pixels.

    Args:
        data: folder with train/ and val/ (or test/) of class folders, or of class folders alone.

    Example:
        >>> classification(Path("photos")).backbone
        'resnet18'
    """
    return ClassificationConfig(
        data=data,
        backbone="resnet18",
        block="gc",
        stages=("c3", "c4", "c5"),
        epochs=10,
        batch_size=32,
        image_size=96,
        lr=1e-3,
        weight_decay=0.05,
        warmup=0.1,
        label_smoothing=0.1,
    )


RECIPES = (Recipe(make=classification, data="a folder per class", hardware="2 CPU cores"),)
