"""The image classifiers of the GCNet paper, without weights."""

from __future__ import annotations

import torch
from torchvision.models.resnet import Bottleneck, ResNet


def resnet50(
    num_classes: int = 1000, *, stride_in_1x1: bool = False, device: torch.device | str | None = None
) -> ResNet:
    """ResNet-50 (He et al., 2016), with torchvision's parameter names.

    Args:
        num_classes: outputs of the last layer.
        stride_in_1x1: let the first 1x1 convolution of a stage take its stride, as published and as the GCNet paper
            counts ImageNet costs (3.86 G multiply-adds at 224); torchvision's place is the 3x3 convolution (4.09 G).
            The weights have the same shapes either way.
        device: where the parameters are made, ``"meta"`` for none; by default the current default device.

    Returns:
        A model from [N, 3, H, W] to [N, num_classes].

    Example:
        >>> from gcnet.models import resnet50
        >>> sum(p.numel() for p in resnet50(device="meta").parameters())
        25557032
    """
    return _resnet((3, 4, 6, 3), num_classes, stride_in_1x1=stride_in_1x1, device=device)


def resnet101(
    num_classes: int = 1000, *, stride_in_1x1: bool = False, device: torch.device | str | None = None
) -> ResNet:
    """ResNet-101 (He et al., 2016); arguments as for :func:`resnet50`.

    Example:
        >>> from gcnet.models import resnet101
        >>> sum(p.numel() for p in resnet101(device="meta").parameters())
        44549160
    """
    return _resnet((3, 4, 23, 3), num_classes, stride_in_1x1=stride_in_1x1, device=device)


def resnext101_32x4d(num_classes: int = 1000, *, device: torch.device | str | None = None) -> ResNet:
    """ResNeXt-101 with 32 groups of width 4 (Xie et al., 2017); arguments as for :func:`resnet50`.

    Example:
        >>> from gcnet.models import resnext101_32x4d
        >>> sum(p.numel() for p in resnext101_32x4d(device="meta").parameters())
        44177704
    """
    return _resnet((3, 4, 23, 3), num_classes, groups=32, width_per_group=4, device=device)


def _resnet(
    depths: tuple[int, ...],
    num_classes: int,
    *,
    groups: int = 1,
    width_per_group: int = 64,
    stride_in_1x1: bool = False,
    device: torch.device | str | None,
) -> ResNet:
    with torch.device(device or torch.get_default_device()):
        model = ResNet(
            Bottleneck, list(depths), num_classes=num_classes, groups=groups, width_per_group=width_per_group
        )
    if stride_in_1x1:
        for block in model.modules():
            if isinstance(block, Bottleneck):
                block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    return model
