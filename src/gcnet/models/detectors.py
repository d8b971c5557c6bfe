"""Mask R-CNN with a feature pyramid over a ResNet-like classifier."""

from __future__ import annotations

from typing import Any

from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import ResNet

from gcnet.blocks.base import check_choice
from gcnet.models.mmdetection import CONVENTIONS, ClampedBoxCoder, PyramidAnchors, parts

STAGES = ("layer1", "layer2", "layer3", "layer4")


def mask_rcnn(
    classifier: ResNet, num_classes: int = 81, *, conventions: str = "torchvision", **options: Any
) -> MaskRCNN:
    """Mask R-CNN with FPN (He et al., 2017; Lin et al., 2017) over a classifier, without weights of its own.

    The stages of the classifier become ``backbone.body`` (shared, not copied; its last layer is left out), so a
    classifier with ImageNet weights or with context blocks keeps them. The pyramid and the heads are torchvision's:
    256 channels, 3 anchors per position, box head of two layers of 1024, mask head of four convolutions. Every layer
    is trainable; the paper trains all but the stem and c2.

    Args:
        classifier: torchvision ResNet or ResNeXt of any depth.
        num_classes: classes with the background, 81 for COCO.
        conventions: whose anchors, RoIAlign, choice of levels and bounds of the box coder: ``"torchvision"``,
            ``"mmdetection1"`` (1.x and the official GCNet repository) or ``"mmdetection2"`` (2.x and 3.x). Weights
            trained with one lose accuracy with another; shapes and names are the same.
        options: further arguments of ``torchvision.models.detection.MaskRCNN``, such as ``min_size``.

    Raises:
        TypeError: ``classifier`` is not a torchvision ResNet.
        ValueError: unknown ``conventions``.

    Example:
        >>> import torch
        >>> from gcnet.models import mask_rcnn, resnet50
        >>> with torch.device("meta"):
        ...     detector = mask_rcnn(resnet50())
        >>> sum(p.numel() for p in detector.parameters())
        44400693
    """
    if not isinstance(classifier, ResNet):
        raise TypeError(
            f"mask_rcnn() takes a torchvision ResNet such as gcnet.models.resnet50(), got {type(classifier).__name__}"
        )
    check_choice("conventions", conventions, CONVENTIONS)
    with classifier.conv1.weight.device:
        backbone = BackboneWithFPN(
            classifier,
            return_layers={stage: str(level) for level, stage in enumerate(STAGES)},
            in_channels_list=[classifier.inplanes // 8 * 2**level for level in range(len(STAGES))],
            out_channels=256,
        )
        detector = MaskRCNN(backbone, num_classes, **{**parts(conventions), **options})
    if conventions != "torchvision":
        detector.rpn.box_coder = ClampedBoxCoder(detector.rpn.box_coder.weights)
        detector.roi_heads.box_coder = ClampedBoxCoder(detector.roi_heads.box_coder.weights)
    return detector


def conventions_of(detector: Any) -> str:
    """The ``conventions`` that :func:`mask_rcnn` built ``detector`` with."""
    anchors = detector.rpn.anchor_generator
    if not isinstance(anchors, PyramidAnchors):
        return "torchvision"
    return "mmdetection1" if anchors.legacy else "mmdetection2"
