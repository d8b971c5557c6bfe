"""The part of a torchvision detector whose cost does not depend on what it finds."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor, nn

PROPOSALS = 1000
DETECTIONS = 100


def fixed_part(model: nn.Module) -> nn.Module | None:
    """A module that runs the dense part of ``model`` and its heads on fixed numbers of boxes; None for no detector.

    It shares the children of ``model`` under their names, so module paths are those of the model. Its input is
    [N, 3, H, W] without normalisation and resizing.
    """
    detection = sys.modules.get("torchvision.models.detection")
    if detection is None:
        return None
    from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

    if isinstance(model, GeneralizedRCNN):
        return _TwoStage(model)
    if isinstance(model, detection.RetinaNet | detection.FCOS) or type(model).__name__ == "SSD":
        return _OneStage(model)
    return None


class _OneStage(nn.Module):
    backbone: Any
    head: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head

    def forward(self, images: Tensor) -> None:
        self.head(_levels(self.backbone(images)))


class _TwoStage(nn.Module):
    """Region proposals on every level, then the heads on so many boxes per image as at test time."""

    backbone: Any
    rpn: Any
    roi_heads: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone, self.rpn, self.roi_heads = model.backbone, model.rpn, model.roi_heads

    def forward(self, images: Tensor) -> None:
        levels, heads = _levels(self.backbone(images)), self.roi_heads
        self.rpn.head(levels)
        found = images.shape[0] * DETECTIONS
        boxes = heads.box_head(_regions(levels[0], images.shape[0] * PROPOSALS, heads.box_roi_pool))
        heads.box_predictor(boxes)
        if heads.has_mask():
            heads.mask_predictor(heads.mask_head(_regions(levels[0], found, heads.mask_roi_pool)))
        if heads.has_keypoint():
            heads.keypoint_predictor(heads.keypoint_head(_regions(levels[0], found, heads.keypoint_roi_pool)))


def _levels(features: Tensor | dict[str, Tensor]) -> list[Tensor]:
    return [features] if isinstance(features, Tensor) else list(features.values())


def _regions(level: Tensor, count: int, pool: Any) -> Tensor:
    return level.new_empty(count, level.shape[1], *pool.output_size)
