"""Slow-only ResNet-50 on Kinetics-400 (GCNet, arXiv:1904.11492) and I3D with non-local blocks (arXiv:1711.07971).

The GCNet paper starts from inflated ImageNet weights and otherwise follows SlowFast (both quoted from memory, as its
scores are). SlowFast's settings are confirmed in configs/Kinetics/SLOW_8x8_R50.yaml of
https://github.com/facebookresearch/SlowFast; that file trains from scratch. Left out here are the zero start of the
last norm of every residual block and the precise statistics of norms; the cosine begins after the warm-up. A shorter
schedule from ImageNet weights is confirmed in https://github.com/open-mmlab/mmaction2 and scores higher. I3D is that of
https://github.com/facebookresearch/video-nonlocal-net, confirmed there. Its NL blocks have scaled logits, keys pooled
1x2x2 before their projection and a norm at the end, and so have those of the slow-only network here. No 3D code of GC
was released.

All scores are of ``gcnet evaluate RUN --views 10x3``; while training, one view of each video is scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gcnet.recipes.published_blocks import GC_R4, NONE, at_places
from gcnet.recipes.table import Recipe
from gcnet.training.video.config import VideoConfig

_NL_OPTIONS = ("scale=inverse_sqrt", "subsample=before", "subsample_size=(1, 2, 2)", "norm=True")


def kinetics_slow_only(data: Path, **blocks: Any) -> VideoConfig:
    """Slow-only ResNet-50, 8 frames one in 8, from ImageNet weights: 196 epochs, 64 clips per step.

    ``gcnet train kinetics-slow-only-gc --data KINETICS`` on 8 GPUs with 8 clips each: 76.00 top-1, 92.34 top-5, and
    74.94 and 91.90 without blocks. SlowFast's own network, ``kinetics-slow-only-plain --weights None``: 74.8 and 91.6.

    Args:
        data: folder with train/ and val/ of class folders, or with lists.
        blocks: fields about blocks; GC of ratio 1/4 in c3 to c5 by default.

    Example:
        >>> config = kinetics_slow_only(Path("kinetics"))
        >>> config.frames, config.stride, config.epochs, config.lr, config.lr_batch
        (8, 8, 196, 0.1, 64)
    """
    return VideoConfig(
        data=data,
        backbone="slow_only_r50",
        weights="pretrained:IMAGENET1K_V1",
        **(blocks or GC_R4),
        frames=8,
        stride=8,
        frame_rate=30.0,
        crop=224,
        short_side=(256, 320),
        test_crop=256,
        dropout=0.5,
        epochs=196,
        batch_size=8,
        optimizer="sgd",
        nesterov=True,
        lr=0.1,
        lr_batch=64,
        weight_decay=1e-4,
        schedule="cosine",
        warmup=34.0,
        warmup_start=0.1,
        workers=8,
        precision="32-true",
    )


def kinetics_slow_only_150(data: Path, **blocks: Any) -> VideoConfig:
    """Slow-only ResNet-50, 8 frames one in 8, from ImageNet weights: 150 epochs at 0.01 with drops after 90 and 130.

    ``gcnet train kinetics-slow-only-plain-150 --data KINETICS`` on 8 GPUs with 8 clips each: 76.45 top-1, 92.55 top-5,
    and 76.65 and 92.47 with 5 NL, which stand behind the other blocks of c3 and c4 there.

    Args:
        data: folder with train/ and val/ of class folders, or with lists.
        blocks: fields about blocks; GC of ratio 1/4 in c3 to c5 by default.

    Example:
        >>> config = kinetics_slow_only_150(Path("kinetics"))
        >>> config.lr, config.milestones, config.clip
        (0.01, (90, 130), 40.0)
    """
    return replace(
        kinetics_slow_only(data, **blocks),
        epochs=150,
        nesterov=False,
        lr=0.01,
        schedule="steps",
        milestones=(90, 130),
        warmup=10.0,
        clip=40.0,
    )


def kinetics_i3d(data: Path, **blocks: Any) -> VideoConfig:
    """I3D ResNet-50, 32 frames one in 2, from ImageNet weights: 107 epochs (400,000 steps of 64 clips).

    ``gcnet train kinetics-i3d-nl5 --data KINETICS`` on 8 GPUs with 8 clips each: 74.9 top-1, 91.6 top-5, and 73.6 and
    90.8 without blocks. The rate drops after 150,000 and 300,000 steps.

    Args:
        data: folder with train/ and val/ of class folders, or with lists.
        blocks: fields about blocks; GC of ratio 1/4 in c3 to c5 by default.

    Example:
        >>> kinetics_i3d(Path("kinetics")).milestones
        (40, 80)
    """
    return replace(
        kinetics_slow_only(data, **blocks),
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


_NL5 = at_places(5, "nl", block_options=_NL_OPTIONS)
_PAPER = "GCNet paper (quoted from memory)"
_MMACTION = "README of open-mmlab/mmaction2 (confirmed)"
_NON_LOCAL = "README of video-nonlocal-net (confirmed)"

#: Name, what is in it, function, fields, top-1, top-5 and their source.
_SCORES: tuple[tuple[str, str, Callable[..., VideoConfig], dict[str, Any], float, float, str], ...] = (
    ("slow-only-plain", "no blocks", kinetics_slow_only, NONE, 74.94, 91.90, _PAPER),
    ("slow-only-nl5", "5 NL", kinetics_slow_only, _NL5, 75.95, 92.29, _PAPER),
    ("slow-only-snl5", "5 SNL", kinetics_slow_only, at_places(5, "snl"), 75.76, 92.44, _PAPER),
    ("slow-only-gc5", "5 GC r4", kinetics_slow_only, at_places(5, "gc", ratio=1 / 4), 75.85, 92.25, _PAPER),
    ("slow-only-gc", "GC r4 in c3 to c5", kinetics_slow_only, GC_R4, 76.00, 92.34, _PAPER),
    ("slow-only-plain-150", "no blocks", kinetics_slow_only_150, NONE, 76.45, 92.55, _MMACTION),
    ("slow-only-nl5-150", "5 NL", kinetics_slow_only_150, _NL5, 76.65, 92.47, _MMACTION),
    ("i3d-plain", "no blocks", kinetics_i3d, NONE, 73.6, 90.8, _NON_LOCAL),
    ("i3d-nl5", "5 NL", kinetics_i3d, _NL5, 74.9, 91.6, _NON_LOCAL),
)
_NETWORKS = {"slow_only_r50": "Slow-only ResNet-50 8x8", "i3d_r50": "I3D ResNet-50 32x2"}


def _recipe(
    name: str,
    what: str,
    make: Callable[..., VideoConfig],
    blocks: dict[str, Any],
    top1: float,
    top5: float,
    source: str,
) -> Recipe:
    config = make(Path(), **blocks)
    return Recipe(
        make=partial(make, **blocks),
        name=f"kinetics-{name}",
        summary=f"{_NETWORKS[config.backbone]}, {what}, {config.epochs} epochs",
        data="Kinetics-400",
        published={"top-1": top1, "top-5": top5},
        source=source,
        hardware="8 GPUs, 8 clips each",
    )


RECIPES = tuple(_recipe(*row) for row in _SCORES)
