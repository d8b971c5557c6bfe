"""A classifier on any folder of images, at a size that a CPU can train."""

from __future__ import annotations

from pathlib import Path

from gcnet.recipes.table import Recipe
from gcnet.training.classification.config import ClassificationConfig


def classification(data: Path) -> ClassificationConfig:
    """ResNet-18 with a GC block in every residual block of c3, c4 and c5, from scratch, at 96 pixels.

    Args:
        data: folder of images in class folders, of WebDataset shards, or of a Hugging Face data set.

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
        lr=1e-3,
        weight_decay=0.05,
        warmup=1.0,
    )


RECIPES = (
    Recipe(make=classification, data="folders, shards or Hugging Face data set of images", hardware="2 CPU cores"),
)
