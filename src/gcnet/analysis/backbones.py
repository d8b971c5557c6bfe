"""Networks by name, without weights, for counting."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from gcnet import models
from gcnet.models.factories import (
    DETECTION,
    SEGMENTATION,
    TORCHVISION,
    VIDEO,
    timm_network,
    torchvision_network,
    unknown,
)

_OURS: dict[str, Callable[[], nn.Module]] = {
    "resnext101_32x4d": models.resnext101_32x4d,
    "slow_only_r50": models.slow_only_r50,
}
_NAMES = [*_OURS, *TORCHVISION]


def backbone(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A network and the size of one input, [C, *spatial], that it is usually given.

    Args:
        name: one of ours (``resnext101_32x4d``, ``slow_only_r50``), of torchvision's classifiers, detectors,
            segmentation and video networks, ``timm:NAME``, or ``mask_rcnn:NAME`` for Mask R-CNN with FPN and 81 classes
            over a ResNet.

    Raises:
        ValueError: no such name, with the nearest ones.

    Example:
        >>> import torch
        >>> from gcnet.analysis.backbones import backbone
        >>> with torch.device("meta"):
        ...     net, size = backbone("resnet50")
        >>> type(net).__name__, size
        ('ResNet', (3, 224, 224))
    """
    family, _, rest = name.rpartition(":")
    if family == "mask_rcnn":
        return models.mask_rcnn(backbone(rest)[0]), (3, 800, 1280)
    if family == "timm":
        model = timm_network(rest)
        return model, tuple(model.pretrained_cfg["input_size"])  # type: ignore[index]
    if name in _OURS:
        return _OURS[name](), (3, 8, 224, 224) if name.startswith("slow") else (3, 224, 224)
    if name not in _NAMES:
        raise unknown(name, _NAMES)
    return torchvision_network(name), _usual_size(name)


def _usual_size(name: str) -> tuple[int, ...]:
    if name in VIDEO:
        return (3, 16, 224, 224) if name.startswith(("mvit", "swin", "s3d")) else (3, 16, 112, 112)
    if name.startswith("ssd"):
        return (3, 320, 320) if name.startswith("ssdlite") else (3, 300, 300)
    if name in DETECTION:
        return (3, 800, 1280)
    if name in SEGMENTATION:
        return (3, 512, 512)
    return (3, 299, 299) if name == "inception_v3" else (3, 224, 224)
