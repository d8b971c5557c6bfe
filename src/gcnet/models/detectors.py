"""Mask R-CNN and Faster R-CNN with a feature pyramid over a classifier."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from gcnet.blocks.base import check_choice
from gcnet.models.mmdetection import CONVENTIONS, ClampedBoxCoder, PyramidAnchors, parts
from gcnet.models.pyramid import STAGES, feature_pyramid

__all__ = ["STAGES", "conventions_of", "faster_rcnn", "mask_rcnn"]


def mask_rcnn(
    classifier: nn.Module,
    num_classes: int = 81,
    *,
    conventions: str = "torchvision",
    channels: int = 256,
    anchor_scale: float = 8,
    **options: Any,
) -> MaskRCNN:
    """Mask R-CNN with FPN (He et al., 2017; Lin et al., 2017) over a classifier, without weights of its own.

    The stages of the classifier become ``backbone.body`` (shared, not copied; its last layer is left out), so a
    classifier with ImageNet weights or with context blocks keeps them. The pyramid and the heads are torchvision's:
    256 channels, 3 anchors per position, box head of two layers of 1024, mask head of four convolutions. Every layer
    is trainable; the paper trains all but the stem and c2.

    Args:
        classifier: torchvision ResNet or ResNeXt of any depth; or a network of timm with maps of strides 4 to 32.
        num_classes: classes with the background, 81 for COCO.
        conventions: whose anchors, RoIAlign, choice of levels and bounds of the box coder: ``"torchvision"``,
            ``"mmdetection1"`` (1.x and the official GCNet repository) or ``"mmdetection2"`` (2.x and 3.x). Weights
            trained with one lose accuracy with another; shapes and names are the same.
        channels: of the pyramid and the mask head; the box head has four times as many.
        anchor_scale: side of a square anchor in strides of its level, which are 4 to 64 pixels.
        options: further arguments of ``torchvision.models.detection.MaskRCNN``, such as ``min_size``.

    Raises:
        TypeError: ``classifier`` is neither a torchvision ResNet nor such a network of timm.
        ValueError: unknown ``conventions``.

    Example:
        >>> import torch
        >>> from gcnet.models import mask_rcnn, resnet50
        >>> with torch.device("meta"):
        ...     detector = mask_rcnn(resnet50())
        >>> sum(p.numel() for p in detector.parameters())
        44400693
    """
    return _detector(MaskRCNN, classifier, num_classes, conventions, channels, anchor_scale, options)


def faster_rcnn(
    classifier: nn.Module,
    num_classes: int = 81,
    *,
    conventions: str = "torchvision",
    channels: int = 256,
    anchor_scale: float = 8,
    **options: Any,
) -> FasterRCNN:
    """Faster R-CNN with FPN (Ren et al., 2015; Lin et al., 2017): :func:`mask_rcnn` without masks.

    Example:
        >>> import torch
        >>> from gcnet.models import faster_rcnn, resnet50
        >>> with torch.device("meta"):
        ...     detector = faster_rcnn(resnet50())
        >>> sum(p.numel() for p in detector.parameters())
        41757156
    """
    return _detector(FasterRCNN, classifier, num_classes, conventions, channels, anchor_scale, options)


def _detector(
    kind: type[FasterRCNN],
    classifier: nn.Module,
    num_classes: int,
    conventions: str,
    channels: int,
    anchor_scale: float,
    options: dict[str, Any],
) -> Any:
    check_choice("conventions", conventions, CONVENTIONS)
    chosen = parts(conventions, anchor_scale)
    if kind is not MaskRCNN:
        chosen.pop("mask_roi_pool", None)
    with next(classifier.parameters()).device:
        backbone = feature_pyramid(classifier, channels)
        if channels != 256:
            chosen |= _heads(channels, num_classes, masks=kind is MaskRCNN)
        detector = kind(backbone, None if channels != 256 else num_classes, **{**chosen, **options})
    if conventions != "torchvision":
        detector.rpn.box_coder = ClampedBoxCoder(detector.rpn.box_coder.weights)
        detector.roi_heads.box_coder = ClampedBoxCoder(detector.roi_heads.box_coder.weights)
    return detector


def _heads(channels: int, num_classes: int, *, masks: bool) -> dict[str, nn.Module]:
    """torchvision's heads for another width of the pyramid."""
    heads: dict[str, nn.Module] = {
        "box_head": TwoMLPHead(channels * 7**2, 4 * channels),
        "box_predictor": FastRCNNPredictor(4 * channels, num_classes),
    }
    if masks:
        heads["mask_head"] = MaskRCNNHeads(channels, (channels,) * 4, 1)
        heads["mask_predictor"] = MaskRCNNPredictor(channels, channels, num_classes)
    return heads


def conventions_of(detector: Any) -> str:
    """The ``conventions`` that :func:`mask_rcnn` built ``detector`` with."""
    anchors = detector.rpn.anchor_generator
    if not isinstance(anchors, PyramidAnchors):
        return "torchvision"
    return "mmdetection1" if anchors.legacy else "mmdetection2"
