"""The image classifiers of the GCNet paper, without weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops.misc import FrozenBatchNorm2d

from gcnet.blocks.base import check_choice

BLOCKS: dict[str, type[BasicBlock | Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}
NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "frozen_batch": FrozenBatchNorm2d}


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
    return resnet((3, 4, 6, 3), num_classes=num_classes, stride_in_1x1=stride_in_1x1, device=device)


def resnet101(
    num_classes: int = 1000, *, stride_in_1x1: bool = False, device: torch.device | str | None = None
) -> ResNet:
    """ResNet-101 (He et al., 2016); arguments as for :func:`resnet50`.

    Example:
        >>> from gcnet.models import resnet101
        >>> sum(p.numel() for p in resnet101(device="meta").parameters())
        44549160
    """
    return resnet((3, 4, 23, 3), num_classes=num_classes, stride_in_1x1=stride_in_1x1, device=device)


def resnext101_32x4d(num_classes: int = 1000, *, device: torch.device | str | None = None) -> ResNet:
    """ResNeXt-101 with 32 groups of width 4 (Xie et al., 2017); arguments as for :func:`resnet50`.

    Example:
        >>> from gcnet.models import resnext101_32x4d
        >>> sum(p.numel() for p in resnext101_32x4d(device="meta").parameters())
        44177704
    """
    return resnet((3, 4, 23, 3), num_classes=num_classes, groups=32, width_per_group=4, device=device)


def resnet20_w16(num_classes: int = 1000, *, device: torch.device | str | None = None) -> ResNet:
    """A bottleneck ResNet of depths 1, 2, 2, 1 and a quarter of the published width, for small experiments on CPUs.

    Its stages have 64, 128, 256 and 512 channels: a block of ratio 1/32 still has a hidden layer of 4 values in c3.
    c4 has a residual block before its last, for the paper's single blocks. Arguments as for :func:`resnet50`.

    Example:
        >>> sum(p.numel() for p in resnet20_w16(10, device="meta").parameters())
        599706
    """
    return resnet((1, 2, 2, 1), width=16, num_classes=num_classes, device=device)


def resnet(
    depths: tuple[int, ...],
    *,
    block: str = "bottleneck",
    num_classes: int = 1000,
    groups: int = 1,
    width: int = 64,
    width_per_group: int = 64,
    stride_in_1x1: bool = False,
    output_stride: int = 32,
    norm: str = "batch",
    norm_eps: float = 1e-5,
    device: torch.device | str | None = None,
) -> ResNet:
    """Any ResNet, ResNeXt or Wide ResNet, with torchvision's parameter names.

    Args:
        depths: residual blocks of the four stages.
        block: ``"bottleneck"``, or ``"basic"`` as in ResNet-18 and ResNet-34.
        num_classes: outputs of the last layer; 0 leaves it out, the output being [N, features].
        groups: groups of the 3x3 convolutions.
        width: channels of the stem, and with them of everything behind it; 64 as published.
        width_per_group: channels of each group in the first stage of a network of the published ``width``.
        stride_in_1x1: as in :func:`resnet50`.
        output_stride: pixels per position of the last map; for 16 and 8, see :func:`dilate`.
        norm: ``"batch"``, or ``"frozen_batch"`` with fixed statistics and factors, as torchvision's detectors have it.
        norm_eps: epsilon of all norms.
        device: as in :func:`resnet50`.

    Raises:
        ValueError: unknown ``block`` or ``norm``, not four depths, a width below 1, an option that basic blocks do not
            have.

    Example:
        >>> from gcnet.models.classifiers import resnet
        >>> resnet((1, 1, 1, 1), block="basic", num_classes=0, device="meta").fc
        Identity()
    """
    check_choice("block", block, BLOCKS)
    check_choice("norm", norm, NORMS)
    if len(depths) != 4 or min(depths) < 1:
        raise ValueError(f"depths={depths} must be four numbers of at least 1, such as (3, 4, 6, 3)")
    if block == "basic" and stride_in_1x1:
        raise ValueError("stride_in_1x1=True goes with block='bottleneck': a basic block has no 1x1 convolution")
    if width < 1:
        raise ValueError(f"width={width} must be at least 1, such as 64")
    with torch.device(device or torch.get_default_device()):
        kind = ResNet if width == 64 else partial(_resnet_of_width, width)
        model = kind(
            BLOCKS[block],
            list(depths),
            num_classes=num_classes or 1,
            groups=groups,
            width_per_group=width_per_group,
            norm_layer=partial(NORMS[norm], eps=norm_eps),
        )
    if num_classes == 0:
        model.fc = nn.Identity()
    if stride_in_1x1:
        for module in model.modules():
            if isinstance(module, Bottleneck):
                module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
    dilate(model, output_stride)
    return model


def _resnet_of_width(width: int, block: Any, depths: list[int], *, num_classes: int, **options: Any) -> ResNet:
    """torchvision's ResNet with another number of channels in the stem, started as torchvision starts it."""
    with torch.device("meta"):
        model: Any = ResNet(block, depths, num_classes, **options)
    model.inplanes = width
    model.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
    model.bn1 = options["norm_layer"](width)
    for number, depth in enumerate(depths):
        stage = model._make_layer(block, width * 2**number, depth, stride=min(2, 1 + number))
        setattr(model, f"layer{number + 1}", stage)
    model.fc = nn.Linear(model.inplanes, num_classes)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def dilate(model: ResNet, output_stride: int) -> None:
    """Let the last stages of a ResNet keep their resolution, in place; its weights stay what they are.

    The convolutions behind a stride that is taken out are dilated, so that they reach as far as before (Chen et al.,
    2017; Yu et al., 2017): where the strided network had a position, the dilated one has the same value.

    Args:
        model: torchvision ResNet of any depth, basic or bottleneck, with or without context blocks.
        output_stride: pixels per position of the last map: 32 (nothing to do), 16 (c5 dilated) or 8 (c4 and c5).

    Raises:
        ValueError: another ``output_stride``.

    Example:
        >>> from gcnet.models.classifiers import resnet
        >>> net = resnet((1, 1, 1, 1), block="basic")
        >>> dilate(net, 8)
        >>> net.layer4[0].conv1.stride, net.layer4[0].conv1.dilation, net.layer4[0].conv2.dilation
        ((1, 1), (2, 2), (4, 4))
    """
    if output_stride not in (32, 16, 8):
        raise ValueError(f"output_stride={output_stride} must be 32, 16 or 8")
    rate = 1
    for stage in {32: (), 16: (model.layer4,), 8: (model.layer3, model.layer4)}[output_stride]:
        for block in stage:
            for conv in filter(None, (getattr(block, f"conv{number}", None) for number in (1, 2, 3))):
                if conv.kernel_size == (3, 3):
                    conv.dilation = conv.padding = (rate, rate)
                if conv.stride != (1, 1):
                    conv.stride = (1, 1)
                    rate *= 2
        stage[0].downsample[0].stride = (1, 1)
        stage[0].stride = 1


def output_stride_of(model: Any) -> int:
    """The ``output_stride`` of a ResNet, or of the body of another network.

    Example:
        >>> from gcnet.models.classifiers import resnet
        >>> output_stride_of(resnet((1, 1, 1, 1), output_stride=16))
        16
    """
    kept = sum(stage[0].downsample[0].stride[-1] == 1 for stage in (model.layer3, model.layer4))
    return 32 // 2**kept
