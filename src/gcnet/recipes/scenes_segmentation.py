"""Segmentation of context scenes, at a size that a CPU can train."""

from __future__ import annotations

from pathlib import Path

from gcnet.recipes.table import Recipe
from gcnet.training.scenes.compose import SceneSettings
from gcnet.training.segmentation.config import SegmentationConfig
from gcnet.training.segmentation.scene_net import BLOCK_SITES, SCENE_MEAN, SCENE_STD


def scenes_segmentation(data: Path) -> SegmentationConfig:
    """The small network of the scenes with two GC blocks, 12 epochs of 2,000 scenes.

    Args:
        data: what ``gcnet data make scenes --task segmentation`` wrote.

    Example:
        >>> scenes_segmentation(Path("scenes")).block
        'gc'
    """
    return SegmentationConfig(
        data=data,
        backbone="scene_net",
        head="none",
        block="gc",
        ratio=1 / 4,
        match=BLOCK_SITES,
        mean=SCENE_MEAN,
        std=SCENE_STD,
        crop_size=(64, 64),
        epochs=12,
        batch_size=32,
        lr=0.01,
        weight_decay=0.01,
        warmup=2.0,
        threads=1,
    )


RECIPES = (
    Recipe(
        make=scenes_segmentation,
        data="context scenes",
        hardware="1 CPU core",
        scenes=SceneSettings(),
    ),
)
