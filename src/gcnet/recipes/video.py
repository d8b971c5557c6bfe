"""A classifier of any short videos, at a size that a CPU can train."""

from __future__ import annotations

from pathlib import Path

from gcnet.recipes.table import Recipe
from gcnet.training.video.config import VideoConfig


def video(data: Path) -> VideoConfig:
    """Slow-only ResNet-18 with GC blocks in c4 and c5, from scratch, clips of 8 frames at 64 pixels.

    Args:
        data: folder of videos in class folders, or with lists of them.

    Example:
        >>> video(Path("clips")).frames
        8
    """
    return VideoConfig(
        data=data,
        backbone="slow_only_r18",
        block="gc",
        ratio=1 / 4,
        stages=("c4", "c5"),
        frames=8,
        stride=4,
        crop=64,
        short_side=(72, 90),
        test_crop=72,
        epochs=30,
        batch_size=8,
        lr=1e-3,
        weight_decay=0.05,
        warmup=3.0,
        clip=10.0,
    )


RECIPES = (Recipe(make=video, data="a folder per class, or lists", hardware="2 CPU cores"),)
