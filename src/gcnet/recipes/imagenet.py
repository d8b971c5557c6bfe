"""ResNet-50 on ImageNet-1k: the GCNet paper (arXiv:1904.11492), tables of ImageNet.

Settings: the author's answers in issues 10, 22 and 29 of https://github.com/xvjiarui/GCNet. Confirmed there: from
scratch 120 epochs, cosine, warm-up and the augmentation of SENet; for fine-tuning a trained baseline with inserted
blocks 40 epochs, cosine and no warm-up. Not confirmed: the rates of 0.1 and 0.02 (named by those who asked), 256 images
per step, weight decay 1e-4, the length of the warm-up (5 epochs here). Scores are of one centre crop of 224 pixels,
quoted from memory of the paper; all but the baseline's are of fine-tuning. A third party (xu-ma's CCD) trained GC from
scratch in all four stages with a recipe of its own and got 74.90 top-1, below its baseline of 75.90.

The paper counts ResNet-50 with strides in the first 1x1 convolution; torchvision's has them in the 3x3, and the same
number of parameters.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gcnet.recipes.published_blocks import GC_R16, NONE, at_places, everywhere
from gcnet.recipes.table import Recipe
from gcnet.training.classification.config import ClassificationConfig


def imagenet_scratch(data: Path, **blocks: Any) -> ClassificationConfig:
    """ResNet-50 from scratch: 120 epochs, 256 images per step.

    ``gcnet train imagenet-r50 --data IMAGENET`` on 8 GPUs with 32 images each: 76.88 top-1, 93.16 top-5; on another
    number the rate is scaled. ``gcnet train imagenet-r50-gc`` puts GC blocks in from the start.

    Args:
        data: folder with train/ and val/ of class folders, or shards.
        blocks: fields about blocks; GC of ratio 1/16 in c3 to c5 by default.

    Example:
        >>> config = imagenet_scratch(Path("imagenet"))
        >>> config.epochs, config.lr, config.lr_batch, config.ratio
        (120, 0.1, 256, 0.0625)
    """
    return ClassificationConfig(
        data=data,
        backbone="torchvision:resnet50",
        **(blocks or GC_R16),
        image_size=224,
        crop_scale=(0.08, 1.0),
        rotation=10.0,
        pixel_jitter=20.0,
        label_smoothing=0.0,
        epochs=120,
        batch_size=32,
        optimizer="sgd",
        lr=0.1,
        lr_batch=256,
        weight_decay=1e-4,
        schedule="cosine",
        warmup=5.0,
        workers=8,
        precision="32-true",
    )


def imagenet_finetune(data: Path, **blocks: Any) -> ClassificationConfig:
    """A trained ResNet-50 with blocks inserted: 40 epochs at 0.02, cosine, no warm-up.

    ``gcnet train imagenet-r50-gc-finetune --data IMAGENET`` on 8 GPUs with 32 images each: 77.70 top-1, 93.66 top-5.
    It starts from torchvision's first weights (76.13 top-1); with ``--weights RUN/checkpoints/best.ckpt`` from a
    baseline of your own, as published.

    Args:
        data: folder with train/ and val/ of class folders, or shards.
        blocks: fields about blocks; GC of ratio 1/16 in c3 to c5 by default.

    Example:
        >>> config = imagenet_finetune(Path("imagenet"))
        >>> config.epochs, config.lr, config.warmup
        (40, 0.02, 0.0)
    """
    return replace(imagenet_scratch(data, **blocks), weights="pretrained:IMAGENET1K_V1", epochs=40, lr=0.02, warmup=0.0)


_ONE_NL = at_places(1, "nl", block_options=("subsample=before",))
_AVERAGE_SCALE = everywhere("gc", ratio=1 / 16, block_options=("pooling=average", "fusion=scale"))
_AVERAGE_ADD = everywhere("gc", ratio=1 / 16, block_options=("pooling=average",))
_ATTENTION_SCALE = everywhere("gc", ratio=1 / 16, block_options=("fusion=scale",))

#: Name, what is in it, its fields, top-1 and top-5.
_FINE_TUNED: tuple[tuple[str, str, dict[str, Any], float, float], ...] = (
    ("gc", "GC r16 in c3 to c5", GC_R16, 77.70, 93.66),
    ("gc1", "one GC r16", at_places(1, "gc", ratio=1 / 16), 77.34, 93.52),
    ("snl1", "one SNL", at_places(1, "snl"), 77.28, 93.60),
    ("nl1", "one NL", _ONE_NL, 77.20, 93.51),
    ("avg-scale", "average pooling and scaling (SE-like) r16 in c3 to c5", _AVERAGE_SCALE, 77.26, 93.55),
    ("avg-add", "average pooling and addition r16 in c3 to c5", _AVERAGE_ADD, 77.40, 93.60),
    ("att-scale", "attention pooling and scaling r16 in c3 to c5", _ATTENTION_SCALE, 77.34, 93.48),
)


def _recipe(name: str, summary: str, make: Any, *scores: float) -> Recipe:
    return Recipe(
        make=make,
        name=name,
        summary=summary,
        data="ImageNet-1k",
        published=dict(zip(("top-1", "top-5"), scores, strict=False)),
        source="paper, tables of ImageNet (quoted from memory)" if scores else "",
        hardware="8 GPUs, 32 images each",
    )


RECIPES = (
    _recipe("imagenet-r50", "ResNet-50 from scratch", partial(imagenet_scratch, **NONE), 76.88, 93.16),
    _recipe("imagenet-r50-gc", "ResNet-50 with GC r16 in c3 to c5 from scratch", imagenet_scratch),
    *(
        _recipe(
            f"imagenet-r50-{name}-finetune",
            f"ResNet-50 fine-tuned with {what}",
            partial(imagenet_finetune, **blocks),
            *scores,
        )
        for name, what, blocks, *scores in _FINE_TUNED
    ),
)
