"""Clips of moving digits, at a size that a CPU can train."""

from __future__ import annotations

from pathlib import Path

from gcnet.recipes.table import Recipe
from gcnet.training.scenes.video import VideoScenes
from gcnet.training.video.config import VideoConfig


def scenes_video(data: Path) -> VideoConfig:
    """I3D ResNet-10 with GC blocks in c3 to c5: which way do most digits move? 8 frames at 32 pixels, from scratch.

    Args:
        data: what ``gcnet data make scenes --task video`` wrote.

    Example:
        >>> scenes_video(Path("scenes")).mirror
        0.0
    """
    return VideoConfig(
        data=data,
        backbone="i3d_r10",
        block="gc",
        ratio=1 / 4,
        stages=("c3", "c4", "c5"),
        frames=8,
        stride=2,
        crop=32,
        short_side=(32, 36),
        mirror=0.0,  # left and right are classes
        test_crop=32,
        dropout=0.0,
        epochs=10,
        batch_size=16,
        lr=2e-3,
        weight_decay=0.01,
        warmup=1.0,
        workers=1,
        threads=1,
    )


RECIPES = (
    Recipe(
        make=scenes_video,
        data="context scenes",
        hardware="2 CPU cores",
        scenes=VideoScenes(train=1200, val=300),
    ),
)
