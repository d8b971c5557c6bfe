"""Video classifiers, inflated from image classifiers."""

from __future__ import annotations

import torch
from torchvision.models.resnet import ResNet

from gcnet.models.classifiers import resnet50
from gcnet.models.inflate import inflate


def slow_only_r50(num_classes: int = 400, *, device: torch.device | str | None = None) -> ResNet:
    """Slow-only ResNet-50: the slow pathway of SlowFast (Feichtenhofer et al., 2019) alone.

    A ResNet-50 whose bottlenecks of c4 and c5 start with a 3x1x1 convolution; no stride or pooling along time. Start
    it from an image classifier by inflating that one: ``inflate(classifier, {"layer[34].*.conv1": 3})``.

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
    return inflate(resnet50(num_classes, device=device), {"layer[34].*.conv1": 3})
