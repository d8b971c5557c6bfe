"""Kinetics-400: slow-only ResNet-50 with and without blocks (GCNet paper), I3D with non-local blocks.

The GCNet paper takes the settings of SlowFast for its slow-only network and starts from ImageNet weights. Those are
https://github.com/facebookresearch/SlowFast (configs/Kinetics/SLOW_8x8_R50.yaml): 8 GPUs with 8 clips each, SGD at 0.1
per 64 clips with Nesterov's momentum, half a cosine over 196 epochs, of which the rate rises from 0.01 over the first
34, weight decay 1e-4 but on norms, dropout 0.5, short side 256 to 320, crops of 224, tested in 10x3 views of 256. Here
the cosine begins after the warm-up. Results are of ``gcnet evaluate RUN --views 10x3``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gcnet.models.video import non_local_places
from gcnet.recipes.table import Recipe
from gcnet.training.video.config import VideoConfig


def kinetics_slow_only(data: Path) -> VideoConfig:
    """Slow-only ResNet-50, 8 frames one in 8, 196 epochs from ImageNet weights, 8 GPUs with 8 clips each.

    Args:
        data: train/ and val/ of 400 class folders, or train.txt and val.txt.

    Example:
        >>> config = kinetics_slow_only(Path("kinetics400"))
        >>> config.batch_size * config.devices == config.lr_batch
        True
    """
    return VideoConfig(
        data=data,
        backbone="slow_only_r50",
        weights="pretrained",
        block="none",
        frames=8,
        stride=8,
        frame_rate=30.0,
        epochs=196,
        batch_size=8,
        devices=8,
        optimizer="sgd",
        nesterov=True,
        lr=0.1,
        lr_batch=64,
        weight_decay=1e-4,
        warmup=34.0,
        warmup_start=0.1,
        workers=8,
    )


def kinetics_slow_only_nl5(data: Path) -> VideoConfig:
    """The same with 5 non-local blocks at the places of the non-local networks.

    Example:
        >>> kinetics_slow_only_nl5(Path("kinetics400")).match
        ('layer2.1', 'layer2.3', 'layer3.1', 'layer3.3', 'layer3.5')
    """
    return _at_five_places(kinetics_slow_only(data), "nl")


def kinetics_slow_only_snl5(data: Path) -> VideoConfig:
    """The same with 5 simplified non-local blocks.

    Example:
        >>> kinetics_slow_only_snl5(Path("kinetics400")).block
        'snl'
    """
    return _at_five_places(kinetics_slow_only(data), "snl")


def kinetics_slow_only_gc5(data: Path) -> VideoConfig:
    """The same with 5 GC blocks of ratio 1/4.

    Example:
        >>> kinetics_slow_only_gc5(Path("kinetics400")).ratio
        0.25
    """
    return replace(_at_five_places(kinetics_slow_only(data), "gc"), ratio=1 / 4)


def kinetics_slow_only_gc(data: Path) -> VideoConfig:
    """The same with a GC block of ratio 1/4 in every residual block of c3, c4 and c5.

    Example:
        >>> kinetics_slow_only_gc(Path("kinetics400")).stages
        ('c3', 'c4', 'c5')
    """
    plain = kinetics_slow_only(data)
    return replace(plain, block="gc", ratio=1 / 4, stages=("c3", "c4", "c5"), init="published")


def kinetics_i3d(data: Path) -> VideoConfig:
    """I3D ResNet-50 of the non-local networks, 32 frames one in 2, 107 epochs (400k steps) from ImageNet weights.

    The rate is divided by 10 after 150k and 300k of 400k steps of 64 clips, with 240k training videos
    (https://github.com/facebookresearch/video-nonlocal-net).

    Args:
        data: train/ and val/ of 400 class folders, or train.txt and val.txt.

    Example:
        >>> kinetics_i3d(Path("kinetics400")).milestones
        (40, 80)
    """
    return replace(
        kinetics_slow_only(data),
        backbone="i3d_r50",
        frames=32,
        stride=2,
        epochs=107,
        lr=0.01,
        schedule="steps",
        milestones=(40, 80),
        warmup=0.0,
        warmup_start=0.0,
    )


def kinetics_i3d_nl5(data: Path) -> VideoConfig:
    """The same with 5 non-local blocks; without the sub-sampling and the norms of the original.

    Example:
        >>> kinetics_i3d_nl5(Path("kinetics400")).position
        'after_block'
    """
    return _at_five_places(kinetics_i3d(data), "nl")


def _at_five_places(config: VideoConfig, block: str) -> VideoConfig:
    return replace(config, block=block, match=non_local_places(5), position="after_block", init="published")


_PUBLISHED = {
    kinetics_slow_only: "top-1 74.94, top-5 91.90 (GCNet paper)",
    kinetics_slow_only_nl5: "top-1 75.95, top-5 92.29 (GCNet paper)",
    kinetics_slow_only_snl5: "top-1 75.76, top-5 92.44 (GCNet paper)",
    kinetics_slow_only_gc5: "top-1 75.85, top-5 92.25 (GCNet paper)",
    kinetics_slow_only_gc: "top-1 76.00, top-5 92.34 (GCNet paper)",
    kinetics_i3d: "top-1 73.6, top-5 90.8 (video-nonlocal-net)",
    kinetics_i3d_nl5: "top-1 74.9, top-5 91.6 (video-nonlocal-net)",
}
RECIPES = tuple(
    Recipe(make=make, data="Kinetics-400", published=figures, hardware="8 GPUs") for make, figures in _PUBLISHED.items()
)
