"""Networks for semantic segmentation over a ResNet-like classifier: FCN and DeepLabV3."""

from __future__ import annotations

from typing import Any

from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import ResNet
from torchvision.models.segmentation import FCN, DeepLabV3
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from gcnet.blocks.base import check_choice
from gcnet.models.classifiers import output_stride_of

HEADS: dict[str, type[FCN | DeepLabV3]] = {"fcn": FCN, "deeplabv3": DeepLabV3}


def segmenter(
    classifier: ResNet, num_classes: int = 21, *, head: str = "fcn", auxiliary: bool = False
) -> FCN | DeepLabV3:
    """FCN (Long et al., 2015) or DeepLabV3 (Chen et al., 2017) over a classifier, with torchvision's heads and names.

    The stages of the classifier become ``backbone`` (shared, not copied; its last layer is left out), so a classifier
    with weights or with context blocks keeps them. Dilate it first, with ``gcnet.models.classifiers.dilate`` or
    ``resnet(..., output_stride=8)``; the rates of DeepLabV3 are the published ones for its output stride: 12, 24 and 36
    at 8, half of that at 16, a quarter at 32.

    Args:
        classifier: torchvision ResNet or ResNeXt of any depth.
        num_classes: labels per pixel, with the background where there is one.
        head: ``"fcn"`` or ``"deeplabv3"``.
        auxiliary: a second FCN head on c4, for a loss of its own in training.

    Returns:
        A model from [N, 3, H, W] to a dict of ``"out"``, and ``"aux"`` where there is an auxiliary head, logits of
        [N, num_classes, H, W] each.

    Raises:
        TypeError: ``classifier`` is not a torchvision ResNet.
        ValueError: unknown ``head``.

    Example:
        >>> import torch
        >>> from gcnet.models import segmenter
        >>> from gcnet.models.classifiers import resnet
        >>> net = segmenter(resnet((1, 1, 1, 1), block="basic", output_stride=8), 5).eval()
        >>> net(torch.rand(1, 3, 40, 56))["out"].shape
        torch.Size([1, 5, 40, 56])
    """
    if not isinstance(classifier, ResNet):
        raise TypeError(
            f"segmenter() takes a torchvision ResNet such as gcnet.models.resnet50(), got {type(classifier).__name__}"
        )
    check_choice("head", head, HEADS)
    channels = classifier.inplanes
    with classifier.conv1.weight.device:
        if head == "fcn":
            top = FCNHead(channels, num_classes)
        else:
            shrink = output_stride_of(classifier) // 8
            top = DeepLabHead(channels, num_classes, tuple(rate // shrink for rate in (12, 24, 36)))
        second = FCNHead(channels // 2, num_classes) if auxiliary else None
    stages = {"layer4": "out"} | ({"layer3": "aux"} if auxiliary else {})
    return HEADS[head](IntermediateLayerGetter(classifier, stages), top, second)


def segmenter_options(model: Any) -> dict[str, Any]:
    """The options that :func:`segmenter` built ``model`` with."""
    return {
        "num_classes": model.classifier[-1].out_channels,
        "head": "fcn" if isinstance(model, FCN) else "deeplabv3",
        "auxiliary": model.aux_classifier is not None,
    }
