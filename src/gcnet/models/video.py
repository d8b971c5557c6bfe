"""Video classifiers, inflated from image classifiers."""

from __future__ import annotations

import torch
from torchvision.models.resnet import ResNet

from gcnet.models.classifiers import resnet50
from gcnet.models.inflate import inflate

_I3D = {
    "conv1": 5,
    "layer1.*.conv1": 3,
    "layer[23].*[02468].conv1": 3,  # every other block
    "layer4.*[13579].conv1": 3,
}
_NON_LOCAL = {
    1: ("layer3.4",),
    5: ("layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5"),
    10: ("layer2.*", "layer3.*"),
}


def slow_only(classifier: ResNet) -> ResNet:
    """Slow-only network: the slow pathway of SlowFast (Feichtenhofer et al., 2019) alone, from an image classifier.

    The residual blocks of c4 and c5 start with a convolution over 3 frames; no stride or pooling along time.

    Args:
        classifier: of any depth, with or without ImageNet weights; it is left as it is.

    Returns:
        A model from [N, 3, T, H, W] to the outputs of ``classifier``.

    Example:
        >>> from torchvision.models import resnet18
        >>> slow_only(resnet18(num_classes=10)).layer3[0].conv1.weight.shape
        torch.Size([256, 128, 3, 3, 3])
    """
    return inflate(classifier, {"layer[34].*.conv1": 3})


def slow_only_r50(num_classes: int = 400, *, device: torch.device | str | None = None) -> ResNet:
    """Slow-only ResNet-50 without weights; see :func:`slow_only` for a start from an image classifier.

    Args:
        num_classes: outputs of the last layer, 400 for Kinetics-400.
        device: where the parameters are made; by default the current default device.

    Returns:
        A model from [N, 3, T, H, W] to [N, num_classes]; the paper samples T = 8 frames, one in 8.

    Example:
        >>> from gcnet.models import slow_only_r50
        >>> sum(p.numel() for p in slow_only_r50(device="meta").parameters())
        32454096
    """
    return slow_only(resnet50(num_classes, device=device))


def i3d(classifier: ResNet) -> ResNet:
    """I3D (Carreira and Zisserman, 2017) as the non-local networks use it, from an image classifier.

    The first convolution spans 5 frames, the first of every block of c2, of the even blocks of c3 and c4 and of the odd
    blocks of c5 (counted from 0) spans 3; frames are max-pooled in pairs after c2 (Wang et al., 2018, and their code).

    Args:
        classifier: of any depth, with or without ImageNet weights; it is left as it is.

    Returns:
        A model from [N, 3, T, H, W], T at least 2, to the outputs of ``classifier``.

    Example:
        >>> from torchvision.models import resnet18
        >>> i3d(resnet18(num_classes=10)).conv1.weight.shape
        torch.Size([64, 3, 5, 7, 7])
    """
    last = "layer4.*[13579].conv1"  # a stage of one block has no odd one
    kernels = {pattern: frames for pattern, frames in _I3D.items() if pattern != last or len(classifier.layer4) > 1}
    return inflate(classifier, kernels, time_pool={"layer1": 2})


def i3d_r50(num_classes: int = 400, *, device: torch.device | str | None = None) -> ResNet:
    """I3D ResNet-50 without weights; see :func:`i3d` for a start from an image classifier.

    Args:
        num_classes: outputs of the last layer, 400 for Kinetics-400.
        device: where the parameters are made; by default the current default device.

    Example:
        >>> from gcnet.models import i3d_r50
        >>> sum(p.numel() for p in i3d_r50(device="meta").parameters())
        28043472
    """
    return i3d(resnet50(num_classes, device=device))


def non_local_places(blocks: int = 5) -> tuple[str, ...]:
    """Where the non-local networks (Wang et al., 2018) put blocks into a ResNet-50, as patterns for ``match=``.

    They stand after whole residual blocks, ``position="after_block"``: 5 and 10 in every other and in every residual
    block of c3 and c4, 1 right before the last residual block of c4.

    Raises:
        ValueError: another number than 1, 5 or 10.

    Example:
        >>> import gcnet
        >>> from gcnet.models import i3d_r50
        >>> net = i3d_r50(device="meta")
        >>> report = gcnet.insert(net, gcnet.NonLocal.spec(), match=non_local_places(), position="after_block")
        >>> len(report)
        5
    """
    if blocks not in _NON_LOCAL:
        raise ValueError(f"blocks={blocks}: published are {', '.join(map(str, _NON_LOCAL))}")
    return _NON_LOCAL[blocks]
