"""Networks by name, without weights, for counting."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import torchvision
from torch import nn

from gcnet import models

_OURS: dict[str, Callable[[], nn.Module]] = {
    "resnext101_32x4d": models.resnext101_32x4d,
    "slow_only_r50": models.slow_only_r50,
}
_DETECTION = torchvision.models.list_models(torchvision.models.detection)
_SEGMENTATION = torchvision.models.list_models(torchvision.models.segmentation)
_VIDEO = torchvision.models.list_models(torchvision.models.video)
_NAMES = [*_OURS, *torchvision.models.list_models(torchvision.models), *_DETECTION, *_SEGMENTATION, *_VIDEO]


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
        return _timm(rest)
    if name in _OURS:
        return _OURS[name](), (3, 8, 224, 224) if name.startswith("slow") else (3, 224, 224)
    if name not in _NAMES:
        raise _unknown(name, _NAMES)
    headed = {"weights_backbone": None} if name in _DETECTION + _SEGMENTATION else {}
    return torchvision.models.get_model(name, weights=None, **headed), _usual_size(name)


def _usual_size(name: str) -> tuple[int, ...]:
    if name in _VIDEO:
        return (3, 16, 224, 224) if name.startswith(("mvit", "swin", "s3d")) else (3, 16, 112, 112)
    if name.startswith("ssd"):
        return (3, 320, 320) if name.startswith("ssdlite") else (3, 300, 300)
    if name in _DETECTION:
        return (3, 800, 1280)
    if name in _SEGMENTATION:
        return (3, 512, 512)
    return (3, 299, 299) if name == "inception_v3" else (3, 224, 224)


def _timm(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('timm: names need timm: pip install "gcnet[models]"', name="timm") from error
    if not timm.is_model(name):
        raise _unknown(f"timm:{name}", [f"timm:{known}" for known in timm.list_models()])
    model = timm.create_model(name, pretrained=False)
    return model, tuple(model.pretrained_cfg["input_size"])  # type: ignore[index]


def _unknown(name: str, known: list[str]) -> ValueError:
    near = difflib.get_close_matches(name, known, n=4, cutoff=0.4)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return ValueError(f"unknown backbone {name!r}{hint} (torchvision names, timm:NAME, mask_rcnn:NAME)")
